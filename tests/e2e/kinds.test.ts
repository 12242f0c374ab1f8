/** Three kinds of worker behind one interface: one suite of behaviours against thread, process and command. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../../src/shared/client.ts';
import type { Kind, WorkerView } from '../../src/shared/worker.ts';
import { type Behaviour, module, type Part, part } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const view = async (name: string): Promise<WorkerView> => {
  const [worker] = (await client.call('status', { names: [name] })).workers;
  if (worker === undefined) throw new Error(`no worker ${name}`);
  return worker;
};
const stop = async (name: string) => (await client.call('stop', { name })).worker;
const counterOf = ({ state }: Pick<WorkerView, 'state'>): number => Number(state?.['counter'] ?? 0);
const logOf = async (name: string) => (await client.call('logs', { name })).entries;

describe.each<Kind>(['thread', 'process', 'command'])('a %s', (kind) => {
  const start = async (behaviour: Behaviour, more: Part = {}) => {
    const name = `${kind}-${behaviour}`;
    await client.call('start', { name, spec: part(kind, behaviour, more) });
    return name;
  };

  test('shows its state while it runs, and stops when asked with the last state kept', async () => {
    const name = await start('counts');
    const early = await eventually(async () => counterOf(await view(name)) >= 3 && (await view(name)));
    expect(early).toMatchObject({ kind, phase: 'running', ready: true, exit: null, result: null });
    expect(early.threadId === null).toBe(kind !== 'thread');
    await eventually(async () => counterOf(await view(name)) > counterOf(early));
    const ended = await stop(name);
    expect(ended).toMatchObject({ phase: 'stopped', ready: false, pid: null, threadId: null, generation: 1 });
    expect(ended.exit).toEqual(kind === 'command' ? { kind: 'code', code: 0 } : { kind: 'returned' });
    expect(ended.result).toEqual(kind === 'command' ? null : ended.state);
    expect(counterOf(ended)).toBeGreaterThan(counterOf(early));
    expect(await view(name)).toEqual(ended);
  });

  test('gets its params, its name and its generation', async () => {
    const params = { text: 'a "quoted" ü', list: [1, null, { deep: true }], nothing: null };
    const name = await start('tells', { params });
    await eventually(async () => (await view(name)).state !== null);
    expect((await view(name)).state).toEqual({ params, name, generation: 1 });
    await stop(name);
  });

  test('hears of the stop with its reason, its deadline and who asked', async () => {
    const name = await start('hears', { graceMs: 20_000 });
    await eventually(async () => (await view(name)).state?.['listening'] === true);
    const askedAt = Date.now();
    const { state, stoppedBy } = await stop(name);
    const heard = state?.['stop'] as { reason: string; deadline: string; by: { pid: number } };
    expect(heard.reason).toBe('stop');
    expect(heard.by.pid).toBe(process.pid);
    expect(stoppedBy?.pid).toBe(process.pid);
    expect(heard.deadline).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Math.abs(Date.parse(heard.deadline) - askedAt - 20_000)).toBeLessThan(5000);
  });

  test('ends with its own exit code, and all it wrote and published is there before that is announced', async () => {
    const names = Array.from({ length: 24 }, (_, index) => `${kind}-exits-${index}`);
    const spec = part(kind, 'exits', { params: { code: 7, bytes: 50_000 } });
    await Promise.all(names.map((name) => client.call('define', { name, spec })));
    const watcher = await box.client();
    let begun = false;
    const seen = new Map<string, unknown>();
    const watching = (async () => {
      for await (const event of watcher.watch({ names })) {
        begun = true;
        if (event.type !== 'phase' || event.worker.phase !== 'failed') continue;
        const { exit, state } = event.worker;
        const logged = readFileSync(join(box.home, 'logs', event.name, '1.log')).length;
        seen.set(event.name, { exit, state, logged });
        if (seen.size === names.length) return;
      }
    })();
    await eventually(() => begun);
    await Promise.all(names.map((name) => client.call('start', { name, wait: 'none' })));
    await watching;
    const expected = { exit: { kind: 'code', code: 7 }, state: { last: 'word' }, logged: 50_001 };
    for (const name of names) expect({ name, ...(seen.get(name) as object) }).toEqual({ name, ...expected });
  });

  test('loses nothing of a flood of publishes that ends with its exit', async () => {
    const name = await start('floods');
    const { worker } = await client.call('wait', { name, for: 'exit' });
    expect(worker.exit).toEqual({ kind: 'code', code: 3 });
    const keys = Array.from({ length: 10 }, (_, digit) => [`key${digit}`, digit === 0 ? 2000 : 1990 + digit]);
    expect(worker.state).toEqual({ counter: 2000, ...Object.fromEntries(keys) });
  });

  test('shows its progress', async () => {
    const name = await start('progresses');
    await eventually(async () => (await view(name)).state !== null);
    expect((await view(name)).state).toEqual({ progress: { done: 3, total: 10, unit: 'files' } });
    await stop(name);
  });

  test('has both its streams in its log, at once', async () => {
    const name = await start('logs');
    const entries = await eventually(async () => {
      const found = await logOf(name);
      return found.length === 2 && found;
    });
    const lines = entries.map(({ stream, line, partial, generation }) => ({ stream, line, partial, generation }));
    expect(lines).toContainEqual({ stream: 'stdout', line: 'to stdout', partial: false, generation: 1 });
    expect(lines).toContainEqual({ stream: 'stderr', line: 'to stderr', partial: false, generation: 1 });
    expect((await view(name)).phase).toBe('running');
    await stop(name);
  });

  test('is restarted as a fresh run, without the state of the one before', async () => {
    const name = await start('tells', { params: { again: true } });
    const before = await eventually(async () => (await view(name)).state !== null && (await view(name)));
    const { outcome, worker } = await client.call('restart', { name });
    expect(outcome).toBe('restarted');
    expect(worker).toMatchObject({ phase: 'running', generation: before.generation + 1, restarts: 0 });
    await eventually(async () => (await view(name)).state?.['generation'] === before.generation + 1);
    await stop(name);
    const { runs } = await client.call('history', { name, limit: 2 });
    expect(runs.map(({ generation }) => generation)).toEqual([before.generation + 1, before.generation]);
    expect(runs[1]?.state).toMatchObject({ generation: before.generation });
  });

  test('that declares readiness is ready only once it says so', async () => {
    const name = `${kind}-becomesReady`;
    const spec = part(kind, 'becomesReady', { ready: true });
    let answered = false;
    const started = client.call('start', { name, spec }).finally(() => {
      answered = true;
    });
    await eventually(async () => (await view(name)).state?.['listening'] === true);
    expect(await view(name)).toMatchObject({ phase: 'running', ready: false });
    // A `start` that waits for less is answered; the one that waits for readiness still is not.
    await client.call('start', { name, wait: 'running' });
    expect(answered).toBe(false);
    await client.call('send', { name, text: 'go' });
    expect((await started).worker).toMatchObject({ phase: 'running', ready: true });
    await stop(name);
    expect((await view(name)).ready).toBe(false);
  });

  test('that never yields publishes and logs while it runs, and is stopped', async () => {
    const name = await start('busy', { graceMs: 30_000 });
    const first = await eventually(async () => counterOf(await view(name)) > 0 && (await view(name)));
    await eventually(async () => counterOf(await view(name)) > counterOf(first));
    await eventually(async () => (await logOf(name)).length >= 2);
    expect((await view(name)).phase).toBe('running');
    const askedAt = Date.now();
    const { result, exit } = await stop(name);
    if (kind === 'command') expect(exit).toEqual({ kind: 'signal', signal: 'SIGTERM' });
    else {
      expect(exit).toEqual({ kind: 'returned' });
      // It sees shouldStop() by itself, long before force would be used.
      const { stoppedAt } = result as { stoppedAt: number };
      expect(stoppedAt - askedAt).toBeLessThan(15_000);
    }
  });
});

describe.each(['thread', 'process'] as const)('a million publishes from a %s', (kind) => {
  test('keep nobody from asking about another worker, and the last one is its state', async () => {
    const [name, other] = [`million-${kind}`, `canary-${kind}`];
    await client.call('start', { name: other, spec: part('command', 'counts') });
    const asker = await box.client();
    await client.call('start', { name, spec: module(kind, 'publishes-a-million.mjs') });
    const ended = client.call('wait', { name, for: 'exit' });
    const waits: number[] = [];
    let over = false;
    const asked = (async () => {
      while (!over) {
        const began = performance.now();
        const { workers } = await asker.call('status', { names: [other] });
        waits.push(performance.now() - began);
        expect(workers[0]?.phase).toBe('running');
        await sleep(5);
      }
    })();
    const { worker } = await ended;
    over = true;
    await asked;
    expect(worker.state).toEqual({ counter: 1_000_000, half: 500_000 });
    // Latest wins at the source: a handful of updates a second, not a million.
    const { ms } = worker.result as { ms: number };
    expect(worker.stateRevision).toBeLessThan(ms / 5 + 100);
    const p99 = waits.sort((a, b) => a - b)[Math.floor(waits.length * 0.99)] ?? 0;
    expect(p99).toBeLessThan(500);
    await stop(other);
  });
});
