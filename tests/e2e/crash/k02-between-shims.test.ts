/**
 * K01, K02: what happens while there is no shim, or with one that had heard something and died with it: ends, output,
 * state, readiness, and verbs on their way.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import { command, module } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { takeShimAway } from '../../helpers/without-shim.ts';

const kinds = ['process', 'thread'] as const;

/** A module that goes on when files appear in the sandbox: `go`, `end`; so that its steps are the test's. */
const gated = (box: CrashBox, kind: (typeof kinds)[number]): SpecInput => {
  const path = join(box.directory, 'gated.mjs');
  writeFileSync(
    path,
    `import { existsSync, writeFileSync } from 'node:fs';
     import { setTimeout as sleep } from 'node:timers/promises';
     export default async (ctx) => {
       const { directory } = ctx.params;
       const until = async (name) => {
         while (!existsSync(directory + '/' + name) && !ctx.shouldStop()) await sleep(5);
       };
       ctx.publish({ early: 1 });
       await until('go');
       ctx.publish({ late: 2 });
       console.log('published');
       ctx.ready();
       await until('end');
       if (ctx.shouldStop()) return { stopped: ctx.stop.reason };
       for (let n = 1; n <= 500; n += 1) console.log('last ' + n);
       ctx.publish({ last: 3 });
       return { lines: 500 };
     };`,
  );
  return { ...(module(kind, path) as SpecInput & object), params: { directory: box.directory } } as SpecInput;
};
const open = (box: CrashBox, name: string) => writeFileSync(join(box.directory, name), '');
const log = (box: CrashBox, name: string): string => {
  try {
    return readFileSync(join(box.home, 'logs', name, '1.log'), 'utf8');
  } catch {
    return '';
  }
};
const gone = (pid: number) =>
  eventually(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });

const withoutShim = async (box: CrashBox, act: () => Promise<void>): Promise<void> => {
  const giveBack = await takeShimAway(box);
  try {
    await act();
  } finally {
    giveBack();
  }
};

describe.each(kinds)('a %s', (kind) => {
  test('ends by itself while no shim is there: its last lines, state, result and end are all there', async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    open(box, 'go');
    await client.call('start', { name: 'w', spec: gated(box, kind) });
    await eventually(() => log(box, 'w').includes('published'));
    const { pid } = await box.status('w');
    await withoutShim(box, async () => {
      open(box, 'end');
      if (kind === 'process') await gone(pid ?? 0);
      // A thread that has ended leaves its host alive.
      else await eventually(() => box.processes().every(({ command: words }) => !words.includes('shim.cjs')));
    });
    await eventually(async () => (await box.status('w')).phase === 'exited', {
      what: 'it has ended',
      withinMs: 20_000,
    });
    expect(await box.status('w')).toMatchObject({
      exit: { kind: 'returned' },
      result: { lines: 500 },
      state: { early: 1, late: 2, last: 3 },
    });
    const lines = log(box, 'w').trimEnd().split('\n');
    expect(lines).toEqual(['published', ...Array.from({ length: 500 }, (_, index) => `last ${index + 1}`)]);
  });

  test('publishes and is ready, shim and daemon die before that is on disk: a start that waits, and its state, know it', async () => {
    await using box = new CrashBox();
    const first = await box.daemon();
    const client = await box.client();
    const spec = { ...(gated(box, kind) as object), ready: { by: 'worker' } } as SpecInput;
    await client.call('start', { name: 'w', spec, wait: 'running' });
    client.close();
    // Told to the shim, and to nobody else.
    first.child.kill('SIGSTOP');
    open(box, 'go');
    await eventually(() => log(box, 'w').includes('published'));
    process.kill(box.shimPid, 'SIGKILL');
    await first.kill();
    await box.daemon();
    const again = await box.client();
    await again.call('wait', { name: 'w', for: 'ready', timeoutMs: 10_000 });
    await eventually(async () => (await box.status('w')).state?.['late'] === 2, { what: 'what it published once' });
    expect(await box.status('w')).toMatchObject({ phase: 'running', ready: true, state: { early: 1, late: 2 } });
    open(box, 'end');
    await again.call('wait', { name: 'w', for: 'exit', timeoutMs: 10_000 });
    expect(await box.status('w')).toMatchObject({ phase: 'exited', result: { lines: 500 } });
  });

  test('is asked to stop while no shim is there: it stops by itself, long before its grace is over', async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: gated(box, kind) });
    let stopping: Promise<{ worker: { exit: unknown; result: unknown } }> | null = null;
    await withoutShim(box, async () => {
      stopping = client.call('stop', { name: 'w', graceMs: 25_000 });
      await eventually(async () => (await box.status('w')).phase === 'stopping');
    });
    const { worker } = await (stopping as unknown as Promise<{ worker: { exit: unknown; result: unknown } }>);
    expect(worker).toMatchObject({ exit: { kind: 'returned' }, result: { stopped: 'stop' } });
  });

  test('its host is killed while no shim is there: it is lost, and runs again by its policy', async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    const spec = { ...(gated(box, kind) as object), restart: { policy: 'on-failure' } } as SpecInput;
    await client.call('start', { name: 'w', spec });
    await client.call('start', { name: 'once', spec: gated(box, kind) });
    const pids = await Promise.all(['w', 'once'].map(async (name) => (await box.status(name)).pid ?? 0));
    await withoutShim(box, async () => {
      for (const pid of new Set(pids)) process.kill(pid, 'SIGKILL');
    });
    const lost = { kind: 'lost', reason: kind === 'thread' ? 'thread host died' : 'the shim died' };
    await eventually(
      async () => (await box.status('w')).phase === 'running' && (await box.status('w')).generation === 2,
    );
    await eventually(async () => (await box.status('once')).phase === 'failed');
    expect(await box.status('w')).toMatchObject({ restarts: 0 });
    expect(await box.status('once')).toMatchObject({ exit: lost, state: { early: 1 } });
  });
});

test('what is asked while no shim is there is done when one is, and answered truthfully', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  const hears = module('process', 'collects-messages.mjs');
  await client.call('start', { name: 'hears', spec: hears });
  const trapping = command('sh', '-c', 'trap "echo heard" USR1; echo set; while :; do sleep 0.05; done');
  for (const name of ['signalled', 'stopped', 'restarted', 'removed', 'removed-thread', 'restarted-thread']) {
    const spec = name.endsWith('thread') ? gated(box, 'thread') : trapping;
    await client.call('start', { name, spec });
  }
  await eventually(() => log(box, 'signalled').includes('set'));
  const before = await box.status('restarted');
  let asked: Promise<readonly unknown[]> | null = null;
  await withoutShim(box, async () => {
    asked = Promise.all([
      client.call('send', { name: 'hears', text: 'hello' }),
      client.call('publish', { name: 'hears', state: { told: 7 } }),
      client.call('signal', { name: 'signalled', signal: 'SIGUSR1' }),
      client.call('stop', { name: 'stopped' }),
      client.call('restart', { name: 'restarted' }),
      client.call('restart', { name: 'restarted-thread' }),
      client.call('remove', { name: 'removed', force: true }),
      client.call('remove', { name: 'removed-thread', force: true }),
      client.call('start', { name: 'new', spec: command('sleep', '1000') }),
      client.call('start', { name: 'new-module', spec: hears }),
      client.call('start', { name: 'new-thread', spec: gated(box, 'thread') }),
    ]);
    asked.catch(() => {});
    // All of it has been read, and waits.
    await (await box.client()).call('status', {});
  });
  await asked;
  await eventually(() => log(box, 'signalled').includes('heard'));
  expect(await box.status('hears')).toMatchObject({ phase: 'running', state: { told: 7 } });
  const restarted = await box.status('restarted');
  expect([restarted.phase, restarted.generation, restarted.pid === before.pid]).toEqual(['running', 2, false]);
  const { workers } = await client.call('status', {});
  expect(workers.map(({ name, phase }) => `${name} ${phase}`).sort()).toEqual(
    [
      'hears running',
      'new running',
      'new-module running',
      'new-thread running',
      'restarted running',
      'restarted-thread running',
      'signalled running',
      'stopped stopped',
    ].sort(),
  );
  for (const name of ['stopped', 'removed']) expect(box.livingRuns(name), name).toEqual([]);
});

test('starts on their way while shims die: each runs, and no process is twice', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  for (const name of ['a', 'b', 'c']) await client.call('start', { name, spec: command('sleep', '1000') });
  for (let round = 0; round < 8; round += 1) {
    const spec = round % 2 === 0 ? command('sleep', '1000') : gated(box, 'thread');
    const names = Array.from({ length: 6 }, (_, index) => `w${round}-${index}`);
    const starting = names.map((name) => client.call('start', { name, spec }).catch((error: Error) => error.message));
    const shim = box.shimPid;
    if (shim !== 0) process.kill(shim, 'SIGKILL');
    for (const [index, answer] of (await Promise.all(starting)).entries()) {
      const name = names[index] ?? '';
      const { phase, leftovers } = await box.status(name);
      if (typeof answer === 'string') {
        // Between fork and report: nobody knows who leads what there is.
        expect(answer, name).toContain('it was lost: the shim died while starting it');
        continue;
      }
      expect([phase, leftovers], name).toEqual(['running', []]);
      if (round % 2 === 0) expect(box.livingRuns(name), name).toEqual([(await box.status(name)).pid]);
    }
  }
  expect(box.processes().filter(({ command: words }) => words.includes('thread-host.js'))).toHaveLength(1);
}, 60_000);

test('shim and daemon die right after a state was seen: its revision never falls back', async () => {
  await using box = new CrashBox();
  let daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: gated(box, 'process') });
  client.close();
  for (let round = 0; round < 3; round += 1) {
    // Answered by the shim, and not on disk for up to a second.
    const publisher = await box.client();
    const { worker } = await publisher.call('publish', { name: 'w', state: { round } });
    publisher.close();
    process.kill(box.shimPid, 'SIGKILL');
    await daemon.kill();
    daemon = await box.daemon();
    expect((await box.status('w')).stateRevision, `round ${round}`).toBeGreaterThan(worker.stateRevision);
    // The worker had heard of it, and says it again.
    await eventually(async () => (await box.status('w')).state?.['round'] === round, { what: 'what was published' });
  }
});
