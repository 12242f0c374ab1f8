/** What is said of params that do not fit: the member, and what it must be; never its value, never zod's own words. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseParams } from '../../src/daemon/invalid-params.ts';
import { WorkerdError } from '../../src/shared/errors.ts';
import { type MethodName, methods } from '../../src/shared/protocol.ts';
import { seeded } from '../helpers/fake-chance.ts';

const refusalOf = (method: MethodName, params: unknown): WorkerdError => {
  try {
    parseParams(method, params);
  } catch (error) {
    if (error instanceof WorkerdError) return error;
    throw error;
  }
  throw new Error(`${method} takes ${JSON.stringify(params)}`);
};
const command = { kind: 'command', command: ['x'] };
const kinds = 'one of "command", "thread", "process"';
const upTo31 = 'must be a whole number from 0 to 2147483647';

type Row = readonly [method: MethodName, params: unknown, member: string, message: string];
const rows: Readonly<Record<string, readonly Row[]>> = {
  'a wrong type': [
    ['start', { timeoutMs: '5' }, 'timeoutMs', upTo31],
    ['start', { timeoutMs: null }, 'timeoutMs', upTo31],
    ['stop', { name: 5 }, 'name', "must be a worker's name: [A-Za-z0-9][A-Za-z0-9._-]{0,63}"],
    ['stop', { name: 'a', force: 'yes' }, 'force', 'must be true or false'],
    ['publish', { name: 'a', state: [] }, 'state', 'must be an object'],
    ['status', { names: 'a' }, 'names', 'must be a list of at most 1000 items, each a text such as'],
    ['start', { spec: 5 }, 'spec', 'must be an object with kind, and command or module'],
    ['start', { caller: 'me' }, 'caller', 'must be an object with env, cwd, umask'],
    ['define', { name: 'a', spec: { ...command, cwd: 5 } }, 'spec.cwd', 'must be an absolute path or null'],
    ['define', { name: 'a', spec: { ...command, env: { A: 5 } } }, 'spec.env.A', 'must be a text'],
    ['define', { name: 'a', spec: { kind: 'command', command: 'x' } }, 'spec.command', 'must be a list of 1 to 100000'],
    ['define', { name: 'a', spec: { kind: 'command', command: ['x', 5] } }, 'spec.command.1', 'must be a text'],
    ['stop', ['a'], '', 'they must be an object, its members by name'],
  ],
  'what is missing': [
    ['stop', {}, 'name', "is missing: it must be a worker's name"],
    ['stop', undefined, 'name', 'is missing'],
    ['wait', { name: 'a' }, 'for', 'is missing: it must be one of "exit", "running", "ready", "stopped"'],
    ['start', { spec: { kind: 'command' } }, 'spec.command', 'is missing: it must be a list'],
    ['start', { caller: { env: {} } }, 'caller.cwd', 'is missing: it must be an absolute path'],
  ],
  'too small or too big': [
    ['start', { timeoutMs: -1 }, 'timeoutMs', upTo31],
    ['start', { timeoutMs: 2 ** 31 }, 'timeoutMs', upTo31],
    ['start', { timeoutMs: 0.5 }, 'timeoutMs', upTo31],
    ['start', { timeoutMs: Number.POSITIVE_INFINITY }, 'timeoutMs', upTo31],
    ['start', { timeoutMs: 2 ** 53 }, 'timeoutMs', upTo31],
    ['status', { limit: 0 }, 'limit', 'must be a whole number from 1 to 1000000'],
    ['logs', { name: 'a', generation: 0 }, 'generation', 'must be a whole number, at least 1'],
    ['logs', { name: 'a', streams: [] }, 'streams', 'must be a list of 1 to 2 items, each one of "stdout", "stderr"'],
    ['hello', { client: 'x'.repeat(257) }, 'client', 'must be a text of at most 256 characters'],
    [
      'define',
      { name: 'a', spec: { kind: 'thread', module: '/m', export: '' } },
      'spec.export',
      'must be a text of 1 to 256 characters',
    ],
  ],
  'a wrong form': [
    ['stop', { name: '../x' }, 'name', 'must match [A-Za-z0-9][A-Za-z0-9._-]{0,63}'],
    ['status', { names: ['a', '/'] }, 'names.1', 'must be a worker name or a glob'],
    ['logs', { name: 'a', since: 'yesterday' }, 'since', 'must be a time such as 2026-01-02T03:04:05Z'],
    ['define', { name: 'a', spec: { ...command, cwd: 'x' } }, 'spec.cwd', 'must be an absolute path'],
    ['define', { name: 'a', spec: { ...command, user: '-' } }, 'spec.user', 'must be a user name'],
  ],
  'none of the values': [
    ['start', { ifRunning: 'x' }, 'ifRunning', 'must be one of "keep", "fail", "replace"'],
    ['watch', { types: ['phase', 'x'] }, 'types.1', 'must be one of "snapshot", "phase"'],
    ['define', { name: 'a', spec: { ...command, ready: { by: 'x' } } }, 'spec.ready.by', 'must be "worker"'],
    ['define', { name: 'a', spec: { ...command, restart: { policy: 'x' } } }, 'spec.restart.policy', 'must be one of'],
  ],
  'no kind that there is': [
    ['start', { spec: { kind: 'x' } }, 'spec.kind', `must be ${kinds}`],
    ['start', { spec: { kind: 5 } }, 'spec.kind', `must be ${kinds}`],
    ['start', { spec: {} }, 'spec.kind', `is missing: it must be ${kinds}`],
  ],
  'members that nobody knows': [
    ['stop', { name: 'a', garce: 1 }, 'garce', 'is not known: the members here are name, graceMs, force, wait'],
    ['stop', { name: 'a', x: 1, y: 2 }, 'x, y', 'are not known: the members here are'],
    ['daemon.info', { x: 1 }, 'x', 'is not known: there is no member to give here'],
    [
      'start',
      { spec: { ...command, module: '/m' } },
      'spec.module',
      'is not known: the members here are kind, command, params',
    ],
    [
      'start',
      { spec: { ...command, log: { size: 1 } } },
      'spec.log.size',
      'is not known: the members here are maxBytes, files',
    ],
  ],
  'a name that is none': [
    ['start', { spec: { ...command, env: { '': 'x' } } }, 'spec.env.', 'must not be empty or contain = or NUL'],
    ['start', { spec: { ...command, env: { 'A=B': 'x' } } }, 'spec.env.A=B', 'must not be empty or contain = or NUL'],
  ],
  'what only a look at the value tells': [
    ['start', { spec: { kind: 'command', command: [''] } }, 'spec.command', 'must name a program'],
    ['start', { spec: { kind: 'command', command: ['x', '\0'] } }, 'spec.command.1', 'must not contain NUL'],
    ['start', { spec: { ...command, stopSignal: 'NOPE' } }, 'spec.stopSignal', 'must be a signal, such as TERM'],
    ['signal', { name: 'a', signal: 'NOPE' }, 'signal', 'must be a signal, such as TERM'],
  ],
};

describe.each(Object.entries(rows))('%s', (_what, cases) => {
  it.each(cases)('%s %j: %s', (method, params, member, message) => {
    const error = refusalOf(method, params);
    expect(error).toMatchObject({ code: 'usage', rpcCode: -32602, data: { member, method } });
    expect(error.message).toContain(`invalid params: ${member === '' ? '' : `${member}: `}${message}`);
  });
});

it('a value is never shown, a long name is cut', () => {
  const secret = 'CANARY-1234';
  for (const params of [
    { name: secret.repeat(20) },
    { name: 'a', graceMs: secret },
    { name: 'a', force: [secret] },
    { name: 'a', [`${'x'.repeat(300)}${secret}`]: 1 },
  ]) {
    const error = refusalOf('stop', params);
    expect(`${error.message}${JSON.stringify(error.data)}`).not.toContain(secret);
    expect(error.message.length).toBeLessThan(400);
  }
  const spec = { ...command, env: { A: [secret] }, restart: { policy: secret }, stopSignal: secret };
  expect(refusalOf('start', { spec }).message).not.toContain(secret);
});

it("whatever is given, what is said names a member and is never in zod's words", () => {
  const method = fc.constantFrom(...(Object.keys(methods) as MethodName[]));
  const member = fc.constantFrom('name', 'spec', 'caller', 'names', 'types', 'streams', 'state', 'limit', 'for', 'x');
  const spec = fc.record(
    {
      kind: fc.constantFrom('command', 'thread', 'x', 5),
      command: fc.jsonValue(),
      module: fc.jsonValue(),
      env: fc.jsonValue(),
      log: fc.jsonValue(),
      ready: fc.jsonValue(),
      umask: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const params = fc.oneof(fc.dictionary(member, fc.oneof(fc.jsonValue({ maxDepth: 3 }), spec)), fc.jsonValue());
  fc.assert(
    fc.property(method, params, (name, given) => {
      try {
        parseParams(name, given);
      } catch (error) {
        expect(error).toBeInstanceOf(WorkerdError);
        const { message, data } = error as WorkerdError;
        expect(message).toMatch(/^invalid params: .*(?:must|is missing|not known)/s);
        expect(message).not.toMatch(/Invalid|expected|Too (?:small|big)|Unrecognized|undefined|one of $/);
        expect(typeof data['member']).toBe('string');
      }
    }),
    seeded(2000),
  );
});
