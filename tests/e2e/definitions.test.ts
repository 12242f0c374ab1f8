/** When two definitions are equal, what they hold, who may change one, and the names of those that are given none. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, WorkerdError } from '../../src/shared/client.ts';
import type { ParamsInput, SpecInput } from '../../src/shared/protocol.ts';
import { Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const sleep = (seconds: number, changes: object = {}): SpecInput => ({
  kind: 'command',
  command: ['/bin/sleep', String(seconds)],
  ...changes,
});
const caller = (env: Record<string, string>, cwd: string, umask: number) => ({ env, cwd, umask });
const outcomeOf = async (params: ParamsInput<'start'>): Promise<string> => {
  try {
    return (await client.call('start', params)).outcome;
  } catch (error) {
    if (error instanceof WorkerdError) return error.code;
    throw error;
  }
};
const linesOf = async (name: string): Promise<readonly string[]> =>
  (await client.call('logs', { name })).entries.map(({ line }) => line);

describe('of a worker that runs', () => {
  const name = 'runs';
  const env = { A: '1' };
  beforeAll(() => client.call('start', { name, spec: sleep(1000, { env }), caller: caller({ X: '1' }, '/', 0o22) }));
  afterAll(() => client.call('remove', { name, force: true }));

  it.each<[string, ParamsInput<'start'>]>([
    ['the same', { spec: sleep(1000, { env }) }],
    ['none', {}],
    ['another umask', { spec: sleep(1000, { env, umask: 0o27 }) }],
    ['another caller', { spec: sleep(1000, { env }), caller: caller({ Y: '2' }, '/tmp', 0o77) }],
    [
      'defaults, written out',
      { spec: sleep(1000, { env, graceMs: 10_000, restart: {}, params: {}, stopSignal: 'TERM' }) },
    ],
  ])('equal: %s', async (_what, params) => {
    expect(await outcomeOf({ name, ...params })).toBe('already-running');
  });

  it.each<[string, object]>([
    ['command', { command: ['/bin/sleep', '1001'] }],
    ['env', { env: { A: '2' } }],
    ['cwd', { cwd: '/tmp' }],
    ['inheritEnv', { inheritEnv: false }],
    ['restart', { restart: { policy: 'always' } }],
    ['graceMs', { graceMs: 1 }],
    ['stopSignal', { stopSignal: 'INT' }],
    ['stdin', { stdin: true }],
    ['ready', { ready: { by: 'worker' } }],
    ['params', { params: { a: 1 } }],
    ['log', { log: { files: 2 } }],
  ])('another: %s, by start and by define; no value of the environment is told', async (member, changes) => {
    const spec = { ...sleep(1000, { env }), ...changes } as SpecInput;
    for (const call of [client.call('start', { name, spec }), client.call('define', { name, spec })]) {
      const error = await call.then(
        () => null,
        (reason: unknown) => reason as WorkerdError,
      );
      expect(error).toMatchObject({ code: 'worker.spec-conflict', data: { name, differs: [member], retry: false } });
      expect(error?.message).toContain(member);
      expect(JSON.stringify(error)).not.toMatch(/"[12]"/);
    }
    expect(await outcomeOf({ name, spec, ifRunning: 'fail' })).toBe('worker.already-running');
  });
});

it('holds only what was named: cwd null, no env; what the caller had is that of whoever defined it last', async () => {
  const name = 'captured';
  const spec: SpecInput = { kind: 'command', command: ['/bin/sh', '-c', 'echo "$X$Y"; pwd; umask'] };
  const run = async (params: Omit<ParamsInput<'start'>, 'name'>) => {
    const { worker } = await client.call('start', { name, wait: 'running', ...params });
    await client.call('wait', { name, for: 'exit' });
    return { spec: worker.spec, lines: await linesOf(name) };
  };
  const first = await run({ spec, caller: caller({ X: 'x' }, '/usr', 0o27) });
  expect(first.spec).toMatchObject({ env: {}, cwd: null, umask: null, inheritEnv: true });
  expect(first.lines).toEqual(['x', '/usr', '0027']);
  // Stopped: redefined, be it with an equal definition.
  expect((await run({ spec, caller: caller({ Y: 'y' }, '/tmp', 0o77) })).lines).toEqual(['y', '/tmp', '0077']);
  // By name alone nothing is defined.
  expect((await run({ caller: caller({ X: 'z' }, '/usr', 0o22) })).lines).toEqual(['y', '/tmp', '0077']);
  const named = await run({ spec: { ...spec, cwd: '/', env: { X: 'n' }, umask: 0o7, inheritEnv: false } });
  expect(named.spec).toMatchObject({ env: { X: '***' }, cwd: '/', umask: 0o7, inheritEnv: false });
  expect(named.lines).toEqual(['n', '/', '0007']);
  // Without a caller: the daemon's own clean surroundings.
  expect((await run({ spec })).lines.slice(0, 2)).toEqual(['', '/']);
});

it('unnamed: the name of the program, then -2, -3; an equal definition is the same worker', async () => {
  const start = async (seconds: number) => {
    const { outcome, worker } = await client.call('start', { spec: sleep(seconds) });
    return `${outcome} ${worker.name}`;
  };
  expect(await start(1000)).toBe('started sleep');
  expect(await start(1000)).toBe('already-running sleep');
  expect(await start(1001)).toBe('started sleep-2');
  expect(await start(1002)).toBe('started sleep-3');
  expect(await start(1001)).toBe('already-running sleep-2');
  await client.call('stop', { name: 'sleep-2' });
  expect(await start(1003)).toBe('started sleep-4');
  expect(await start(1001)).toBe('started sleep-2');
});

it('however many there are, a name is no longer than a name may be', async () => {
  const program = 'p'.repeat(60);
  const spec = (index: number): SpecInput => ({ kind: 'command', command: [`/${program}`, String(index)] });
  await Promise.all(
    Array.from({ length: 999 }, (_, index) =>
      client.call('define', { name: index === 0 ? program : `${program}-${index + 1}`, spec: spec(index) }),
    ),
  );
  await client.call('start', { spec: spec(1000), wait: 'none' });
  const { workers } = await client.call('status', { names: ['p*-1000'] });
  expect(workers.map(({ name }) => name)).toEqual([`${'p'.repeat(59)}-1000`]);
});
