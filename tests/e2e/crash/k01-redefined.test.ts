/**
 * K01: the shim dies under a run whose worker has been redefined as something else meanwhile. The next shim takes it for
 * what it is: reads on what it writes, signals it, and ends it, so that the run that replaces it can come.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import { module, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const next: readonly (readonly [string, SpecInput])[] = [
  ['a thread', module('thread', 'busy-until-stopped.mjs')],
  ['a command with an input', { ...shell('cat'), stdin: true }],
];

test.concurrent.each(next)('a command that is replaced by %s', async (_what, spec) => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  const counts = shell('trap "" TERM; n=0; while :; do n=$((n + 1)); echo $n; sleep 0.05; done');
  await client.call('start', { name: 'w', spec: { ...counts, graceMs: 60_000 } });
  const lines = () => readFileSync(join(box.home, 'logs', 'w', '1.log'), 'utf8').split('\n').length;
  await eventually(() => lines() > 3);
  const { pid } = await box.status('w');
  const replaced = client.call('start', { name: 'w', spec, ifRunning: 'replace' });
  replaced.catch(() => {});
  await eventually(async () => (await box.status('w')).phase === 'stopping');
  const shim = box.shimPid;
  process.kill(shim, 'SIGKILL');
  await eventually(() => box.shimPid !== 0 && box.shimPid !== shim, { what: 'a new shim' });
  const before = lines();
  await eventually(() => lines() > before + 3, { what: 'what it writes is read on' });
  expect(await box.status('w')).toMatchObject({ phase: 'stopping', pid, generation: 1 });
  await client.call('stop', { name: 'w', force: true });
  expect(box.processes().filter((each) => each.pid === pid)).toEqual([]);
  const { worker } = await client.call('start', { name: 'w' });
  expect(worker).toMatchObject({ phase: 'running', generation: 2, kind: spec.kind });
});
