/** D01, D02, D09: the daemon is killed, or stands still, while many work: same processes, every line once, every end exact. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { command, module, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { isFull, rounds, roundsTimeoutMs } from '../../helpers/rounds.ts';
import { fixtures } from '../../helpers/sandbox.ts';

const file = 'prints-a-sequence.mjs';
const specs: readonly (readonly [string, SpecInput])[] = [
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
  all.map(({ name, phase, pid, startedAt, generation, restarts }) => ({
    name,
    phase,
    pid,
    startedAt,
    generation,
    restarts,
  }));
const counters = (all: readonly WorkerView[]) =>
  new Map(all.map(({ name, state }) => [name, Number(state?.['counter'])]));

/** Every line once, in order and whole; how many. */
const checkLines = (box: CrashBox, name: string): number => {
  const lines = readFileSync(join(box.home, 'logs', name, '1.log'), 'utf8').split('\n');
  expect(lines.pop(), `${name}: its last line is whole`).toBe('');
  const wrong = lines.findIndex((line, index) => line !== `${index + 1} ${((index + 1) * 7919) % 10_007}`);
  expect(wrong === -1 ? 'in order' : `line ${wrong + 1} is ${lines[wrong]}`, name).toBe('in order');
  return lines.length;
};

const startAll = async (box: CrashBox) => {
  const client = await box.client();
  await Promise.all(specs.map(([name, spec]) => client.call('start', { name, spec })));
  client.close();
  await eventually(async () => [...counters(await list(box)).values()].every((counter) => counter > 0));
};

test('D01: killed again and again under 20 workers of all kinds: adopted within 2 s (asserted: 10), no line lost or doubled', async () => {
  await using box = new CrashBox();
  let daemon = await box.daemon();
  await startAll(box);
  const startedMono = performance.now();
  let total = 0;
  for (let round = 0; round < rounds(3, 10); round += 1) {
    const before = await list(box);
    await daemon.kill();
    const began = performance.now();
    daemon = await box.daemon();
    expect(identities(await list(box)), `round ${round}`).toEqual(identities(before));
    const tookMs = performance.now() - began;
    expect(tookMs).toBeLessThan(10_000);
    console.log(`adopted 20 workers within ${Math.round(tookMs)} ms of the daemon's start`);
    for (const [name, counter] of counters(before)) {
      const goesOn = async () => (counters(await list(box)).get(name) ?? 0) > counter;
      await eventually(goesOn, { what: `the counter of ${name} goes on`, withinMs: 20_000 });
    }
  }
  const client = await box.client();
  const ended = await Promise.all(specs.map(([name]) => client.call('stop', { name })));
  for (const { worker } of ended) {
    expect(worker.phase, worker.name).toBe('stopped');
    // All that it wrote is there before its end is told; it prints before it publishes.
    const lines = checkLines(box, worker.name);
    expect(lines, worker.name).toBeGreaterThanOrEqual(Number(worker.state?.['counter']));
    total += lines;
  }
  const perSecond = Math.round((1000 * total) / (performance.now() - startedMono));
  console.log(`${total} lines of ${ended.length} workers, about ${perSecond} a second, each once and in order`);
}, 120_000);

test('D09: the daemon stands still (SIGSTOP), and goes on: no false end, no restart, events and lines complete', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  await startAll(box);
  const watching = box.spawn('workerctl', ['watch', 'command-0', '--json'], { withinMs: roundsTimeoutMs });
  await eventually(() => watching.stdout().includes('"snapshot"'));
  const before = await list(box);
  const log = () => readFileSync(join(box.home, 'logs', 'command-1', '1.log'), 'utf8').length;
  const length = log();
  process.kill(daemon.pid, 'SIGSTOP');
  // What is written meanwhile is in the files without it: some seconds' worth, or the row's 60 s.
  const until = performance.now() + (isFull ? 60_000 : 0);
  await eventually(() => log() > length + 30_000 && performance.now() > until, {
    withinMs: 120_000,
    what: 'logs grow while the daemon stands still',
  });
  process.kill(daemon.pid, 'SIGCONT');
  expect(identities(await list(box))).toEqual(identities(before));
  const client = await box.client();
  const ended = await Promise.all(specs.map(([name]) => client.call('stop', { name })));
  for (const { worker } of ended) {
    expect(worker, worker.name).toMatchObject({ phase: 'stopped', restarts: 0, generation: 1 });
    checkLines(box, worker.name);
  }
  expect((await watching.finished).code).toBe(0);
  expect(watching.stdout()).not.toContain('"type":"gap"');
  expect(box.said()).not.toMatch(/was lost|the shim is gone/);
}, 120_000);

test('D02: 50 workers leave with codes 0..49 while the daemon is dead: codes and times exact, each policy applied once', async () => {
  await using box = new CrashBox();
  let daemon = await box.daemon();
  const gate = join(box.directory, 'gate');
  spawnSync('mkfifo', [gate]);
  const client = await box.client();
  const policies = ['no', 'on-failure', 'always'] as const;
  const all = Array.from({ length: 50 }, (_, code) => ({ name: `w${code}`, code, policy: policies[code % 3] ?? 'no' }));
  for (const { name, code, policy } of all) {
    const spec = { ...shell('read line < "$1"; exit "$2"', gate, String(code)), restart: { policy } };
    await client.call('start', { name, spec });
  }
  client.close();
  await daemon.kill();
  const opened = Date.now();
  // Whoever waits in an open of the gate goes on now, and finds it at its end; those of the next generation wait again.
  closeSync(openSync(gate, 'w'));
  await eventually(() => !box.processes().some(({ command: words }) => words.includes('read line')), {
    withinMs: 30_000,
  });
  const gone = Date.now();
  await eventually(() => Date.now() > gone + 2500, { what: 'the daemon stays away for longer than times may be off' });
  daemon = await box.daemon();
  const isAgain = ({ code, policy }: (typeof all)[number]) =>
    policy === 'always' || (policy === 'on-failure' && code !== 0);
  const again = await box.client();
  for (const each of all) {
    const { name, code } = each;
    const wanted = isAgain(each)
      ? { phase: 'running', generation: 2, restarts: 1 }
      : { phase: code === 0 ? 'exited' : 'failed', generation: 1, restarts: 0 };
    await eventually(async () => (await box.status(name)).phase === wanted.phase, { what: name, withinMs: 20_000 });
    expect(await box.status(name), name).toMatchObject(wanted);
    const { runs } = await again.call('history', { name });
    const run = runs.find(({ generation }) => generation === 1);
    expect(run?.exit, name).toEqual({ kind: 'code', code });
    const endedAt = Date.parse(run?.endedAt ?? '');
    expect(endedAt, name).toBeGreaterThanOrEqual(opened - 1000);
    expect(endedAt, name).toBeLessThanOrEqual(gone + 1000);
  }
}, 120_000);
