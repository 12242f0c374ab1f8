/** The scenario of design.md ("What it is"), row by row, through the built programs, as a thread and as a process. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { WorkerEvent } from '../../src/shared/client.ts';
import type { StartResult, StatusResult, StopResult } from '../../src/shared/protocol.ts';
import type { WorkerView } from '../../src/shared/worker.ts';
import { eventually } from '../helpers/eventually.ts';
import { fixtures, type Running, root, Sandbox } from '../helpers/sandbox.ts';

const example = join(root, 'examples', 'counter.ts');

const eventsOf = (watch: Running): WorkerEvent[] =>
  watch
    .stdout()
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as WorkerEvent);

/** What a watcher saw of the counter, by revision: from state events and from the state in whole views. */
const countersOf = (watch: Running): ReadonlyMap<number, unknown> => {
  const seen = new Map<number, unknown>();
  for (const event of eventsOf(watch)) {
    if (event.type === 'state') seen.set(event.stateRevision, event.state['counter']);
    else if ((event.type === 'snapshot' || event.type === 'phase') && event.worker.state !== null) {
      seen.set(event.worker.stateRevision, event.worker.state['counter']);
    }
  }
  return seen;
};

const json = async <T>(box: Sandbox, args: readonly string[]): Promise<T> => {
  const { stdout, stderr } = await box.workerctl([...args, '--json']);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as T;
};
const statusOf = async (box: Sandbox): Promise<WorkerView> => {
  const { workers } = await json<StatusResult>(box, ['status', 'counter']);
  const [worker] = workers;
  if (worker === undefined) throw new Error('no counter');
  return worker;
};
const counter = ({ state }: Pick<WorkerView, 'state'>): number => Number(state?.['counter']);
/** What stays the same of a worker that goes on counting. */
const identity = ({ pid, threadId, generation, phase, startedAt, startedBy, spec, restarts }: WorkerView) => ({
  ...{ pid, threadId, generation, phase, startedAt, startedBy, spec, restarts },
});

describe.each(['thread', 'process'] as const)('the counter as a %s', (kind) => {
  const start = [`--${kind}`, '-p', 'stepMs=20', example];
  const begin = async (box: Sandbox) => {
    await box.startDaemon();
    const started = await box.workerctl(['start', ...start]);
    expect(started).toMatchObject({ code: 0, stdout: 'counter\n', stderr: '' });
    await eventually(async () => counter(await statusOf(box)) > 0);
  };

  test('is seen with the same values by every watcher, and any shell stops it', async () => {
    await using box = new Sandbox();
    await begin(box);
    const watchers = [0, 1, 2].map(() => box.spawn('workerctl', ['watch', 'counter', '--json']));
    await eventually(() => watchers.every((watch) => countersOf(watch).size >= 10), { what: 'all watchers see it' });
    const { code, stdout } = await box.workerctl(['stop', 'counter']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^counter: stopped \(returned, ran .+\)\n$/);
    // The end is what ends them, each by itself.
    for (const watch of watchers) expect(await watch.finished).toMatchObject({ code: 0, stderr: '' });
    const last = await statusOf(box);
    const seen = watchers.map(countersOf);
    for (const [revision, value] of seen[0] ?? []) {
      for (const other of seen) if (other.has(revision)) expect(other.get(revision)).toBe(value);
    }
    const shared = [...(seen[0] ?? [])].filter(([revision]) => seen.every((other) => other.has(revision)));
    expect(shared.length).toBeGreaterThanOrEqual(5);
    for (const watch of watchers) {
      const events = eventsOf(watch);
      expect(events[0]?.type).toBe('snapshot');
      const values = [...countersOf(watch).values()].map(Number);
      expect(values).toEqual([...values].sort((a, b) => a - b));
      expect(events.at(-1)).toMatchObject({ type: 'phase', worker: { phase: 'stopped', state: last.state } });
    }
  });

  test('is shown by status for as long as it lives, and its last state and its result after that', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const none = await box.workerctl(['status']);
    expect(none).toMatchObject({ code: 0 });
    expect(`${none.stdout}${none.stderr}`).toMatch(/no workers?/i);
    await box.workerctl(['start', ...start]);
    const running = await eventually(async () => {
      const now = await statusOf(box);
      return counter(now) > 2 && now;
    });
    expect(running).toMatchObject({ kind, phase: 'running', exit: null, result: null, endedAt: null });
    expect(running.pid).toBeGreaterThan(0);
    expect(running.threadId !== null).toBe(kind === 'thread');
    const block = await box.workerctl(['status', 'counter']);
    expect(block.code).toBe(0);
    expect(block.stdout).toContain('running');
    expect(block.stdout).toMatch(/counter = \d+/);
    expect(block.stdout).toContain(String(running.pid));
    expect((await box.workerctl(['status'])).stdout).toMatch(/counter +running +counter=\d+/);

    await box.workerctl(['stop', 'counter']);
    const ended = await statusOf(box);
    expect(ended).toMatchObject({ phase: 'stopped', pid: null, exit: { kind: 'returned' } });
    expect(ended.result).toEqual(ended.state);
    expect(counter(ended)).toBeGreaterThanOrEqual(counter(running));
    const after = await box.workerctl(['status', 'counter']);
    expect(after.code).toBe(3);
    expect(after.stdout).toContain(`counter = ${counter(ended)}`);
    expect(after.stdout).toContain(`{"counter":${counter(ended)}}`);
    expect(after.stdout).not.toContain(String(running.pid));
  });

  test('is left alone by a start while it runs and by a stop while it does not, in words and as outcome', async () => {
    await using box = new Sandbox();
    await begin(box);
    const before = await statusOf(box);
    const again = await box.workerctl(['start', ...start]);
    expect(again).toMatchObject({ code: 0, stdout: 'counter\n' });
    expect(again.stderr).toMatch(/counter is already running \(pid \d+\)/);
    const byName = await json<StartResult>(box, ['start', 'counter']);
    expect(byName.outcome).toBe('already-running');
    expect(identity(byName.worker)).toEqual(identity(before));
    const now = await statusOf(box);
    expect(identity(now)).toEqual(identity(before));
    expect(counter(now)).toBeGreaterThan(counter(before));

    expect((await json<StopResult>(box, ['stop', 'counter'])).outcome).toBe('stopped');
    const stopped = await statusOf(box);
    const twice = await box.workerctl(['stop', 'counter']);
    expect(twice).toMatchObject({ code: 0, stdout: 'counter: not running\n', stderr: '' });
    expect(await json<StopResult>(box, ['stop', 'counter'])).toEqual({ outcome: 'not-running', worker: stopped });
    expect(await statusOf(box)).toEqual(stopped);

    expect((await json<StartResult>(box, ['start', 'counter'])).outcome).toBe('started');
    expect(await statusOf(box)).toMatchObject({ phase: 'running', generation: before.generation + 1, result: null });
  });

  test('is joined before it is started anew: replacements and restarts, never two alive', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const directory = join(box.directory, 'life');
    mkdirSync(directory);
    const params = JSON.stringify({ directory });
    const holder = [`--${kind}`, '--params', params, join(fixtures, 'holds-a-lock.mjs')];
    expect((await box.workerctl(['start', '-n', 'holder', ...holder])).code).toBe(0);
    const life = () => readFileSync(join(directory, 'life'), 'utf8').trim().split('\n');
    await eventually(() => life().length === 1);
    // From several shells at once: each is answered by a run that lives, or was replaced by a newer one.
    const replace = ['start', '-n', 'holder', '--if-running', 'replace', ...holder];
    for (let round = 1; round <= 3; round += 1) {
      const answer = await json<StartResult>(box, replace);
      expect(answer.outcome).toBe('replaced');
      expect(answer.worker).toMatchObject({ phase: 'running', generation: round + 1 });
    }
    const racing = await Promise.all([
      box.workerctl(replace),
      box.workerctl(['restart', 'holder']),
      box.workerctl(replace),
    ]);
    expect(racing.some(({ code }) => code === 0)).toBe(true);
    const shown = await box.workerctl(replace);
    expect(shown.code).toBe(0);
    expect(shown.stderr).toMatch(/holder was replaced by run \d+/);
    expect((await box.workerctl(['stop', 'holder'])).code).toBe(0);
    const lines = life();
    // Strictly one after the other: each start is followed by the end of the same run.
    expect(lines.length % 2).toBe(0);
    let last = 0;
    for (let index = 0; index < lines.length; index += 2) {
      const [word, generation] = (lines[index] ?? '').split(' ');
      expect(word).toBe('start');
      expect(lines[index + 1]).toBe(`end ${generation}`);
      expect(Number(generation)).toBeGreaterThan(last);
      last = Number(generation);
    }
    expect(lines.length).toBeGreaterThanOrEqual(2 * 5);
    const { runs } = await (await box.client()).call('history', { name: 'holder' });
    for (const { exit } of runs) expect(exit).toEqual({ kind: 'returned' });
  });

  test('ends with an orderly end of the daemon, and not with a crash of it', async () => {
    await using box = new Sandbox();
    const daemon = await box.startDaemon();
    await box.workerctl(['start', ...start]);
    const before = await eventually(async () => {
      const now = await statusOf(box);
      return counter(now) > 2 && now;
    });
    process.kill(daemon, 'SIGKILL');
    // The next command starts a daemon, which finds it as it was.
    const again = await box.workerctl(['start', 'counter', '--json']);
    expect(again.code).toBe(0);
    const found = JSON.parse(again.stdout) as StartResult;
    expect(found.outcome).toBe('already-running');
    expect(identity(found.worker)).toEqual(identity(before));
    await eventually(async () => counter(await statusOf(box)) > counter(before) + 2);

    expect((await box.workerd(['stop'])).code).toBe(0);
    expect(box.processes()).toEqual([]);
    await box.startDaemon();
    const ended = await statusOf(box);
    expect(ended).toMatchObject({ phase: 'stopped', generation: before.generation, exit: { kind: 'returned' } });
    expect(ended.result).toEqual(ended.state);
    expect(counter(ended)).toBeGreaterThan(counter(before));
  });
});
