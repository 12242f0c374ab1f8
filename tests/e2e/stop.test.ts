/** Stop: returns when nothing of the worker is left, however it resists. Its flags. (Phases: stop-phases.test.ts.) */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../../src/shared/client.ts';
import type { StopResult } from '../../src/shared/protocol.ts';
import type { JsonObject, WorkerView } from '../../src/shared/worker.ts';
import { command, deaf, module, part } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { fixtures, Sandbox } from '../helpers/sandbox.ts';

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
const stateOf = (name: string): Promise<JsonObject> => eventually(async () => (await view(name)).state);
const pidOf = async (name: string): Promise<number> => (await view(name)).pid ?? -1;
const isAlive = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
};
const startDeaf = async (name: string, graceMs = 60_000) => {
  await client.call('start', { name, spec: { ...deaf, graceMs } });
};

describe('what resists', () => {
  test('a child that ignores TERM is ended though its leader left at once', async () => {
    const tag = join(box.directory, 'stubborn');
    const spec = { ...command(join(fixtures, 'leaves-a-stubborn-child.sh'), tag), graceMs: 500 };
    await client.call('start', { name: 'stubborn', spec });
    const { child } = await stateOf('stubborn');
    const { worker } = await client.call('stop', { name: 'stubborn' });
    expect(isAlive(Number(child))).toBe(false);
    expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'code', code: 0 }, leftovers: [] });
    expect(box.processes().filter((each) => each.command.includes(tag))).toEqual([]);
  });

  test.each([
    ['the group', 'setsid'],
    ['the group and its whole environment', `env -i PATH=${process.env['PATH']} setsid`],
  ])('a grandchild that left %s is ended', async (_what, how) => {
    const tag = join(box.directory, `escaped-${how.length}`);
    const name = `escaped-${how.length}`;
    const argv = ['sh', '-c', `exec ${join(fixtures, 'has-escaped-grandchildren.sh')} "$0" "$1"`, how, tag];
    await client.call('start', { name, spec: { ...command(...argv), graceMs: 500 } });
    const { grandchild } = await stateOf(name);
    const stat = readFileSync(`/proc/${grandchild}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    expect(Number(stat[2])).not.toBe(await pidOf(name));
    const environment = readFileSync(`/proc/${grandchild}/environ`, 'utf8');
    expect(environment.includes('WORKERD_RUN')).toBe(how === 'setsid');
    await client.call('stop', { name });
    expect(isAlive(Number(grandchild))).toBe(false);
    expect(box.processes().filter((each) => each.command.includes(tag))).toEqual([]);
  });

  test('W10: a worker that ignores SIGTERM gets SIGKILL at the end of the grace, and that is its exit', async () => {
    await startDeaf('deaf', 2000);
    const began = performance.now();
    const { worker } = await client.call('stop', { name: 'deaf' });
    const took = performance.now() - began;
    expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGKILL' } });
    expect(took).toBeGreaterThanOrEqual(1990);
    expect(took).toBeLessThan(2000 + 5 * 500);
  });

  test.each([
    ['that would end on SIGTERM', command('sleep', '600'), 'SIGTERM'],
    ['that ignores SIGTERM', deaf, 'SIGKILL'],
  ])('W12: a worker under SIGSTOP %s is ended', async (what, spec, signal) => {
    const name = `frozen-${what.length}`;
    await client.call('start', { name, spec: { ...spec, graceMs: 1000 } });
    await client.call('signal', { name, signal: 'SIGSTOP' });
    const pid = await pidOf(name);
    // A shell that was stopped while it waited for a child of vfork to exec, which is stopped too, is in state D.
    await eventually(() => /\) [TD] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')));
    const began = performance.now();
    const { worker } = await client.call('stop', { name });
    expect(worker.exit).toEqual({ kind: 'signal', signal });
    // Within grace + 1 s; five times that.
    expect(performance.now() - began).toBeLessThan(1000 + 5 * 1000);
  });

  test('W12: a module under SIGSTOP is ended by the force at the end of its grace', async () => {
    await client.call('start', { name: 'frozen-module', spec: part('process', 'counts', { graceMs: 500 }) });
    await client.call('signal', { name: 'frozen-module', signal: 'SIGSTOP' });
    const { worker } = await client.call('stop', { name: 'frozen-module' });
    expect(worker).toMatchObject({ phase: 'stopped', pid: null });
  });

  test('a process that never looks is ended by SIGTERM after its grace', async () => {
    await client.call('start', { name: 'busy', spec: { ...module('process', 'busy-for-ever.mjs'), graceMs: 300 } });
    const { worker } = await client.call('stop', { name: 'busy' });
    expect(worker.exit).toEqual({ kind: 'signal', signal: 'SIGTERM' });
  });
});

describe('a thread that never looks', () => {
  const others = ['always', 'on-failure', 'no'] as const;
  const startOthers = async (suffix: string) => {
    for (const restart of others) {
      await client.call('start', { name: `${restart}-${suffix}`, spec: part('thread', 'counts', { restart }) });
    }
    return Promise.all(others.map((policy) => view(`${policy}-${suffix}`)));
  };
  const stopOthers = (suffix: string) =>
    Promise.all(others.map((policy) => client.call('stop', { name: `${policy}-${suffix}` })));

  test('W06: is terminated in while(true), and the other threads of its host do not notice', async () => {
    const before = await startOthers('loop');
    await client.call('start', { name: 'loop', spec: { ...module('thread', 'busy-for-ever.mjs'), graceMs: 300 } });
    expect((await view('loop')).pid).toBe(before[0]?.pid);
    const began = performance.now();
    const { worker } = await client.call('stop', { name: 'loop' });
    expect(performance.now() - began).toBeLessThan(300 + 5 * 1500);
    expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'terminated' } });
    for (const { name, pid, threadId } of before) {
      expect(await view(name)).toMatchObject({ phase: 'running', pid, threadId, generation: 1, restarts: 0 });
    }
    await stopOthers('loop');
  });

  test.each([
    'execs',
    'derives',
  ])('is ended through its host where it %s in native code; others are healed', async (name) => {
    const before = await startOthers(name);
    const spec = { ...module('thread', 'blocks-in-native-code.mjs', name), graceMs: 300 };
    await client.call('start', { name, spec });
    const host = await pidOf(name);
    for (const other of before) expect(other.pid).toBe(host);
    const { worker } = await client.call('stop', { name });
    expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'terminated' }, leftovers: [] });
    expect(isAlive(host)).toBe(false);
    for (const policy of ['always', 'on-failure']) {
      const healed = await eventually(async () => {
        const now = await view(`${policy}-${name}`);
        return now.phase === 'running' && now.generation === 2 && now;
      });
      expect(healed.restarts).toBe(0);
      expect(healed.pid).not.toBe(host);
      await eventually(async () => Number((await stateOf(`${policy}-${name}`))['counter']) > 0);
      const { runs } = await client.call('history', { name: `${policy}-${name}` });
      const lost = runs.find(({ generation }) => generation === 1);
      expect(lost).toMatchObject({ exit: { kind: 'lost' }, reason: 'thread host died' });
    }
    expect(await view(`no-${name}`)).toMatchObject({ phase: 'failed', generation: 1, exit: { kind: 'lost' } });
    await stopOthers(name);
  });
});

describe('the flags of workerctl stop', () => {
  const timed = async (...args: string[]) => {
    const began = performance.now();
    const { stdout, code, stderr } = await box.workerctl(['stop', '--json', ...args]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    return { took: performance.now() - began, ...(JSON.parse(stdout) as StopResult) };
  };

  test('--grace shortens the grace of the definition', async () => {
    await startDeaf('graced');
    const { took, worker } = await timed('graced', '--grace', '400ms');
    expect(worker.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
    expect(took).toBeGreaterThanOrEqual(400);
    expect(took).toBeLessThan(10_000);
  });

  test.each(['thread', 'process'] as const)('--force ends a %s at once, without asking', async (kind) => {
    const name = `forced-${kind}`;
    await client.call('start', { name, spec: part(kind, 'hears', { graceMs: 60_000 }) });
    await stateOf(name);
    const { took, worker } = await timed(name, '--force');
    expect(worker.exit).toEqual(kind === 'thread' ? { kind: 'terminated' } : { kind: 'signal', signal: 'SIGKILL' });
    expect(worker.state).toEqual({ listening: true });
    expect(took).toBeLessThan(10_000);
  });

  test('--force ends a command by SIGKILL', async () => {
    await startDeaf('forced');
    expect((await timed('forced', '--force')).worker.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
  });

  test('--no-wait answers while it is still stopping', async () => {
    await startDeaf('unwaited', 1000);
    const pid = await pidOf('unwaited');
    const { outcome, worker } = await timed('unwaited', '--no-wait');
    expect([outcome, worker.phase]).toEqual(['stopped', 'stopping']);
    expect(isAlive(pid)).toBe(true);
    await client.call('wait', { name: 'unwaited', for: 'stopped' });
    expect((await view('unwaited')).phase).toBe('stopped');
  });

  test('--stop-signal of the definition is what a command gets', async () => {
    const said = join(box.directory, 'said');
    const text = `trap 'echo INT >${said}; exit 5' INT; trap '' TERM; echo '{"state":{}}' >&3; while :; do sleep 0.05; done`;
    await box.workerctl(['start', '-n', 'signalled', '--stop-signal', 'INT', '--', 'sh', '-c', text]);
    await stateOf('signalled');
    expect((await timed('signalled')).worker.exit).toEqual({ kind: 'code', code: 5 });
    expect(existsSync(said)).toBe(true);
  });
});
