/**
 * K01, K02, K04: the shim is killed, also with the daemon, in either order: workers live on as they were, what they
 * write is read on, an end that nobody saw is `lost`, and stop works on them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { command, deaf, module } from '../../fixtures/workers/behaviours.ts';
import { CrashBox, type Daemon } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { checkGaps } from '../../helpers/gaps.ts';
import { fixtures } from '../../helpers/sandbox.ts';

const file = 'prints-a-sequence.mjs';
const sequences: readonly (readonly [string, SpecInput])[] = [
  ...Array.from(
    { length: 8 },
    (_, index) => [`command-${index}`, command(process.execPath, join(fixtures, file))] as const,
  ),
  ...Array.from({ length: 6 }, (_, index) => [`process-${index}`, module('process', file)] as const),
  ...Array.from({ length: 6 }, (_, index) => [`thread-${index}`, module('thread', file)] as const),
];

const list = async (box: CrashBox): Promise<readonly WorkerView[]> => {
  const client = await box.client();
  try {
    return (await client.call('status', {})).workers;
  } finally {
    client.close();
  }
};
const identities = (all: readonly WorkerView[]) =>
  all.map(({ name, phase, pid, startedAt, generation, restarts, ready }) => ({
    name,
    phase,
    pid,
    startedAt,
    generation,
    restarts,
    ready,
  }));
const counters = (all: readonly WorkerView[]) =>
  new Map(all.map(({ name, state }) => [name, Number(state?.['counter'] ?? 0)]));

const killShim = async (box: CrashBox): Promise<void> => {
  const shim = box.shimPid;
  process.kill(shim, 'SIGKILL');
  await eventually(() => box.shimPid !== shim && box.shimPid !== 0, { what: 'a new shim', withinMs: 20_000 });
};

/** Each gives back the daemon that is there at the end. */
const kills: readonly (readonly [string, (box: CrashBox, daemon: Daemon) => Promise<Daemon>])[] = [
  [
    'the shim',
    async (box, daemon) => {
      await killShim(box);
      return daemon;
    },
  ],
  [
    'the shim, and then the daemon',
    async (box, daemon) => {
      await killShim(box);
      await daemon.kill();
      return box.daemon();
    },
  ],
  [
    'the daemon, and then the shim',
    async (box, daemon) => {
      await daemon.kill();
      process.kill(box.shimPid, 'SIGKILL');
      return box.daemon();
    },
  ],
  [
    'both at once, twice',
    async (box, daemon) => {
      let there = daemon;
      for (let round = 0; round < 2; round += 1) {
        process.kill(box.shimPid, 'SIGKILL');
        await there.kill();
        there = await box.daemon();
      }
      return there;
    },
  ],
];

test.each(kills)(
  'K01, K02: %s is killed under 20 workers of all kinds: the same processes, their output and state go on, stop ends them',
  async (_, kill) => {
    await using box = new CrashBox();
    const first = await box.daemon();
    const client = await box.client();
    await Promise.all(sequences.map(([name, spec]) => client.call('start', { name, spec })));
    client.close();
    await eventually(async () => [...counters(await list(box)).values()].every((counter) => counter > 0));
    const before = await list(box);
    await kill(box, first);
    const after = await eventually(
      async () => {
        const all = await list(box);
        return [...counters(before)].every(([name, counter]) => (counters(all).get(name) ?? 0) > counter + 50) && all;
      },
      { what: 'all counters go on', withinMs: 30_000 },
    );
    expect(identities(after)).toEqual(identities(before));
    const again = await box.client();
    const ended = await Promise.all(sequences.map(([name]) => again.call('stop', { name })));
    let missing = 0;
    for (const { worker } of ended) {
      expect([worker.phase, worker.leftovers], worker.name).toEqual(['stopped', []]);
      const text = readFileSync(join(box.home, 'logs', worker.name, '1.log'), 'utf8');
      const { last, bytes } = checkGaps(worker.name, text, 2);
      expect(last, worker.name).toBeGreaterThanOrEqual(Number(worker.state?.['counter']));
      missing += bytes;
      // A module says itself how it ended, whoever its parent was.
      if (worker.kind !== 'command') expect(worker.exit, worker.name).toEqual({ kind: 'returned' });
      else expect(worker.exit, worker.name).toEqual({ kind: 'lost', reason: 'the shim died' });
    }
    console.log(`${missing} bytes of 20 workers missing in their logs`);
    await eventually(
      () =>
        readdirSync(join(box.home, 'run'))
          .filter((name) => !name.startsWith('_host'))
          .join() === 'pool',
      {
        what: 'no directory of a run is left',
      },
    );
  },
  120_000,
);

test('K01: said within 1 s (asserted: 5), a new start works within 2 s (asserted: 10); an end that nobody saw is lost, and policies hold', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  const policies = ['no', 'on-failure', 'always'] as const;
  for (const policy of policies) {
    await client.call('start', { name: policy, spec: { ...command('sleep', '1000'), restart: { policy } } });
    await client.call('start', { name: `${policy}-lives`, spec: { ...command('sleep', '1000'), restart: { policy } } });
  }
  const before = await list(box);
  const shim = box.shimPid;
  // Stopped, it sees no end before it is killed.
  process.kill(shim, 'SIGSTOP');
  for (const name of policies) process.kill((await box.status(name)).pid ?? 0, 'SIGKILL');
  const began = performance.now();
  process.kill(shim, 'SIGKILL');
  await eventually(() => box.said().includes('the shim is gone'));
  expect(performance.now() - began).toBeLessThan(5000);
  expect((await client.call('start', { name: 'new', spec: command('sleep', '1000') })).worker.phase).toBe('running');
  expect(performance.now() - began).toBeLessThan(10_000);
  const lost = { kind: 'lost', reason: 'the shim died' };
  await eventually(async () => (await box.status('always')).generation === 2);
  await eventually(async () => (await box.status('on-failure')).generation === 2);
  await eventually(async () => (await box.status('no')).phase === 'failed');
  for (const name of policies) {
    const { runs } = await client.call('history', { name });
    expect(runs.find(({ generation }) => generation === 1)?.exit, name).toEqual(lost);
    // Through no fault of its own.
    expect((await box.status(name)).restarts, name).toBe(0);
    const { pid } = await box.status(`${name}-lives`);
    expect(pid, name).toBe(before.find((worker) => worker.name === `${name}-lives`)?.pid);
  }
  expect(await box.status('no')).toMatchObject({ exit: lost, reason: 'the shim died', restarts: 0 });
  const shown = await box.workerctl(['status', 'no']);
  expect(shown.stdout).toContain('the shim died');
});

test('K04: the daemon is down, the shim is killed, the daemon started: stop ends what ignores it within grace + 1 s (asserted: grace + 5)', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  const stubborn: SpecInput = { ...deaf, graceMs: 1000 };
  await client.call('start', { name: 'stubborn', spec: stubborn });
  await client.call('start', { name: 'sleeper', spec: command('sleep', '1000') });
  client.close();
  await first.kill();
  process.kill(box.shimPid, 'SIGKILL');
  await box.daemon();
  const again = await box.client();
  for (const [name, graceMs] of [
    ['sleeper', 0],
    ['stubborn', 1000],
  ] as const) {
    const began = performance.now();
    const { worker } = await again.call('stop', { name });
    const tookMs = performance.now() - began;
    console.log(`${name}: stopped after ${Math.round(tookMs)} ms`);
    expect(tookMs, name).toBeLessThan(graceMs + 5000);
    expect([worker.phase, worker.exit?.kind, worker.leftovers], name).toEqual(['stopped', 'lost', []]);
    expect(box.livingRuns(name), name).toEqual([]);
  }
});

test('K01, K02: whoever reads its stdin meets no end of file when the shim, or both, are killed, and is sent to as before', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'reads', spec: { kind: 'command', command: ['cat'], stdin: true } });
  client.close();
  const { pid } = await box.status('reads');
  const sent: string[] = [];
  const send = async (text: string): Promise<void> => {
    const asking = await box.client();
    await asking.call('send', { name: 'reads', text });
    sent.push(`${text}\n`);
    const read = () => readFileSync(join(box.home, 'logs', 'reads', '1.log'), 'utf8');
    await eventually(() => read() === sent.join(''), { what: `"${text}" is read` });
  };
  await send('before');
  await killShim(box);
  await send('by the second shim');
  process.kill(box.shimPid, 'SIGKILL');
  await first.kill();
  await box.daemon();
  await send('by the third');
  expect(await box.status('reads')).toMatchObject({ phase: 'running', pid, generation: 1 });
});

test('K01: modules that are asked to say again what holds, and have published nothing, publish nothing', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  const kinds = ['process', 'thread'] as const;
  for (const kind of kinds)
    await client.call('start', { name: kind, spec: module(kind, 'waits-for-the-signal.mjs', 'sleeping') });
  await killShim(box);
  // What they said by then is read before their end is told.
  for (const name of kinds) {
    const { worker } = await client.call('stop', { name });
    expect([worker.exit?.kind, worker.state, worker.stateRevision], name).toEqual(['returned', null, 0]);
  }
});
