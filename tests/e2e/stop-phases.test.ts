/** Verbs that meet a worker on its way: stop, start, restart and rm while it starts, stops or waits to be restarted. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, WorkerdError } from '../../src/shared/client.ts';
import type { SpecInput } from '../../src/shared/protocol.ts';
import type { WorkerView } from '../../src/shared/worker.ts';
import { deaf, module, part, shell } from '../fixtures/workers/behaviours.ts';
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
const untilPhase = (name: string, phase: WorkerView['phase']) =>
  eventually(
    async () => {
      const now = await view(name);
      return now.phase === phase && now;
    },
    { what: `${name} is ${phase}` },
  );
/** The error that a call ends with, which may come at any time. */
const errorOf = (call: Promise<unknown>): Promise<WorkerdError> =>
  call.then(
    (result) => {
      throw new Error(`it succeeded: ${JSON.stringify(result)}`);
    },
    (error: unknown) => {
      if (error instanceof WorkerdError) return error;
      throw error;
    },
  );
const startDeaf = async (name: string, graceMs = 60_000) => {
  await client.call('start', { name, spec: { ...deaf, graceMs } });
};

describe('stop while starting', () => {
  const cases: readonly (readonly [string, SpecInput, WorkerView['phase']])[] = [
    ['a thread that never finishes evaluating', module('thread', 'never-evaluates.mjs'), 'starting'],
    ['a process that never finishes evaluating', module('process', 'never-evaluates.mjs'), 'starting'],
    ['a thread that never says it is ready', part('thread', 'tells', { ready: true }), 'running'],
    ['a process that never says it is ready', part('process', 'tells', { ready: true }), 'running'],
    ['a command that never says it is ready', part('command', 'tells', { ready: true }), 'running'],
  ];
  test.each(cases)('%s: it is stopped, and the held start fails with exit code 1', async (what, spec, phase) => {
    const name = what.replaceAll(' ', '-');
    await client.call('define', { name, spec: { ...spec, graceMs: 300 } });
    const held = box.spawn('workerctl', ['start', name, '--json']);
    await untilPhase(name, phase);
    await eventually(async () => (await view(name)).pid !== null);
    const heldToo = errorOf(client.call('start', { name }));
    expect((await view(name)).ready).toBe(false);
    const { outcome, worker } = await client.call('stop', { name });
    expect([outcome, worker.phase, worker.pid]).toEqual(['stopped', 'stopped', null]);
    const { code, stdout } = await held.finished;
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'worker.start-failed', data: { name } } });
    expect(await heldToo).toMatchObject({ code: 'worker.start-failed' });
    expect((await view(name)).phase).toBe('stopped');
  });
});

describe('stop while stopping', () => {
  test('joins it, and the shorter grace holds', async () => {
    await startDeaf('joined');
    const began = performance.now();
    const first = client.call('stop', { name: 'joined' });
    await untilPhase('joined', 'stopping');
    const second = await client.call('stop', { name: 'joined', graceMs: 300 });
    expect(second.outcome).toBe('stopped');
    expect((await first).outcome).toBe('stopped');
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(second.worker.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
    expect((await first).worker.generation).toBe(1);
  });

  test('with a longer grace changes nothing', async () => {
    await startDeaf('joined-longer', 500);
    const began = performance.now();
    const first = client.call('stop', { name: 'joined-longer' });
    await untilPhase('joined-longer', 'stopping');
    await client.call('stop', { name: 'joined-longer', graceMs: 60_000 });
    await first;
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test('by force ends it now', async () => {
    await startDeaf('joined-by-force');
    const first = client.call('stop', { name: 'joined-by-force' });
    await untilPhase('joined-by-force', 'stopping');
    await client.call('stop', { name: 'joined-by-force', force: true });
    expect((await first).worker.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
  });
});

describe('stop in backoff', () => {
  test('cancels the restart: stopped, and nothing follows', async () => {
    const lives = join(box.directory, 'lives');
    const spec = { ...shell('echo x >>"$1"; exit 1', lives), restart: { policy: 'always' as const } };
    await client.call('start', { name: 'backing-off', spec });
    const waiting = await untilPhase('backing-off', 'backoff');
    expect(Date.parse(waiting.nextStartAt ?? '')).toBeGreaterThan(Date.now() - 60_000);
    const { outcome, worker } = await client.call('stop', { name: 'backing-off' });
    expect(outcome).toBe('stopped');
    expect(worker).toMatchObject({ phase: 'stopped', nextStartAt: null, generation: waiting.generation });
    expect((await client.call('wait', { name: 'backing-off', for: 'exit' })).worker.phase).toBe('stopped');
    // The restart would have come after at most 2.2 s: that a later one of another worker came proves that it did not.
    const later = { ...spec, command: ['sh', '-c', 'exit 1'] };
    await client.call('start', { name: 'canary', spec: later });
    await eventually(async () => (await view('canary')).restarts >= 3);
    await client.call('stop', { name: 'canary' });
    expect(await view('backing-off')).toMatchObject({ phase: 'stopped', generation: waiting.generation });
  });

  test('a start in backoff starts it now, and its restarts count from 0 again', async () => {
    const spec: SpecInput = { ...shell('exit 1'), restart: { policy: 'always' } };
    await client.call('start', { name: 'impatient', spec });
    const waiting = await untilPhase('impatient', 'backoff');
    expect(waiting.restarts).toBeGreaterThan(0);
    expect(await errorOf(client.call('start', { name: 'impatient', ifRunning: 'fail' }))).toMatchObject({
      code: 'worker.already-running',
    });
    const { outcome, worker } = await client.call('start', { name: 'impatient' });
    expect(outcome).toBe('started');
    expect(worker.generation).toBeGreaterThan(waiting.generation);
    expect(worker.restarts).toBe(0);
    await client.call('stop', { name: 'impatient' });
  });
});

describe('in stopping', () => {
  test('a start waits for the end, then starts', async () => {
    await startDeaf('start-again', 500);
    const stopping = client.call('stop', { name: 'start-again' });
    await untilPhase('start-again', 'stopping');
    const { outcome, worker } = await client.call('start', { name: 'start-again' });
    expect(outcome).toBe('started');
    expect(worker).toMatchObject({ phase: 'running', generation: 2 });
    expect((await stopping).outcome).toBe('stopped');
    const { runs } = await client.call('history', { name: 'start-again' });
    expect(runs.find(({ generation }) => generation === 1)?.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
    await client.call('stop', { name: 'start-again', force: true });
  });

  test('a restart waits, then restarts', async () => {
    await startDeaf('restart-again', 500);
    const stopping = client.call('stop', { name: 'restart-again' });
    await untilPhase('restart-again', 'stopping');
    const { outcome, worker } = await client.call('restart', { name: 'restart-again' });
    expect(outcome).toBe('restarted');
    expect(worker).toMatchObject({ phase: 'running', generation: 2 });
    await stopping;
    await client.call('stop', { name: 'restart-again', force: true });
  });

  test.each([
    'running',
    'ready',
  ] as const)('who waits for %s is answered with the run that is to follow', async (what) => {
    const name = `awaited-${what}`;
    await startDeaf(name, 500);
    await client.call('restart', { name, wait: false });
    const { worker } = await client.call('wait', { name, for: what });
    expect(worker).toMatchObject({ phase: 'running', generation: 2 });
    await client.call('stop', { name, force: true });
    // Sticky where nothing is to follow.
    expect((await client.call('wait', { name, for: what })).worker.phase).toBe('stopped');
  });

  test('a start that may not meet a running one is refused, and the stop goes on', async () => {
    await startDeaf('fail-again', 500);
    const stopping = client.call('stop', { name: 'fail-again' });
    await untilPhase('fail-again', 'stopping');
    expect(await errorOf(client.call('start', { name: 'fail-again', ifRunning: 'fail' }))).toMatchObject({
      code: 'worker.already-running',
    });
    expect((await stopping).worker).toMatchObject({ phase: 'stopped', generation: 1 });
  });
});

describe('rm', () => {
  test('of a running worker is refused as busy with exit code 1, and leaves it alone', async () => {
    await client.call('start', { name: 'kept', spec: part('process', 'counts') });
    const before = await view('kept');
    const refused = await box.workerctl(['rm', 'kept']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/kept is running.*workerctl stop kept/);
    const asJson = await box.workerctl(['rm', 'kept', '--json']);
    expect(asJson.code).toBe(1);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ error: { code: 'worker.busy' } });
    expect(await view('kept')).toMatchObject({ phase: 'running', pid: before.pid, generation: 1 });
    await client.call('stop', { name: 'kept' });
    expect((await box.workerctl(['rm', 'kept'])).code).toBe(0);
    expect((await box.workerctl(['status', 'kept'])).code).toBe(4);
    expect(existsSync(join(box.home, 'logs', 'kept'))).toBe(false);
  });

  test('--force stops it first', async () => {
    await client.call('start', { name: 'gone', spec: part('process', 'counts') });
    const { pid } = await view('gone');
    expect((await box.workerctl(['rm', '--force', 'gone'])).code).toBe(0);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect((await box.workerctl(['status', 'gone'])).code).toBe(4);
  });
});
