/** K07: an order that every shim dies over is given up, in words, and the workers beside it do not notice. */
import { expect, test } from 'vitest';
import { WorkerdError } from '../../../src/shared/client.ts';
import { command, part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

test.each(['shim.spawn.ordered', 'shim.spawn.piped'])('each shim dies at %s', async (at) => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  const before = await client.call('start', { name: 'counts', spec: part('command', 'counts') });
  await client.call('start', { name: 'sleeps', spec: command('sleep', '1000') });
  client.close();
  // Shims of the next daemon die of the first order that they are given, which is no order to read on.
  await first.kill();
  const old = box.shimPid;
  const daemon = await box.daemon(`${at}=1*kill`);
  process.kill(old, 'SIGKILL');
  await eventually(() => box.shimPid !== old && box.shimPid !== 0);
  const again = await box.client();
  const spec = { ...command('sleep', '1000'), restart: { policy: 'always' as const } };
  const error = await again.call('start', { name: 'deadly', spec }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(WorkerdError);
  expect((error as WorkerdError).message).toContain('3 shims died when they were asked to start it');
  expect(await box.status('deadly')).toMatchObject({
    phase: 'failed',
    generation: 1,
    exit: { kind: 'lost' },
    reason: '3 shims died when they were asked to start it',
  });
  expect(box.livingRuns('deadly')).toEqual([]);
  expect(box.said().match(/lost the connection to the shim/g)).toHaveLength(1 + 3);

  const count = async () => Number((await box.status('counts')).state?.['counter']);
  const counted = await count();
  await eventually(async () => (await count()) > counted, { what: 'the counter goes on' });
  expect(await box.status('counts')).toMatchObject({ phase: 'running', pid: before.worker.pid, generation: 1 });
  const { worker } = await again.call('stop', { name: 'sleeps' });
  expect([worker.phase, worker.generation]).toEqual(['stopped', 1]);
  again.close();

  // With shims that live it starts, as anything does.
  await daemon.kill();
  const armed = box.shimPid;
  await box.daemon();
  process.kill(armed, 'SIGKILL');
  await eventually(() => box.shimPid !== armed && box.shimPid !== 0);
  const last = await box.client();
  expect((await last.call('start', { name: 'deadly' })).worker).toMatchObject({ phase: 'running', generation: 2 });
}, 120_000);
