/** The closed list of errors: what scripts depend on, frozen here word for word. */
import { describe, expect, it } from 'vitest';
import {
  type ErrorCode,
  errorFromRpc,
  errorKinds,
  exitCodes,
  isErrorCode,
  WorkerdError,
} from '../../src/shared/errors.ts';

describe('the list', () => {
  it('is that of the contract', () => {
    expect(Object.keys(errorKinds).sort()).toEqual(
      [
        'worker.not-found',
        'worker.already-running',
        'worker.start-failed',
        'worker.spec-conflict',
        'worker.busy',
        'worker.not-running',
        'wait.timeout',
        'wait.impossible',
        'daemon.stopping',
        'limit.exceeded',
        'usage',
        'daemon.unreachable',
        'internal',
      ].sort(),
    );
  });

  it.each([
    ['worker.not-found', 4],
    ['worker.already-running', 1],
    ['worker.start-failed', 1],
    ['worker.busy', 1],
    ['wait.timeout', 124],
    ['wait.impossible', 1],
    ['usage', 2],
    ['daemon.unreachable', 125],
    ['internal', 125],
  ] as const)('%s: exit code %i', (code, exit) => expect(new WorkerdError(code, 'x').exitCode).toBe(exit));

  it('exit codes are those of the contract', () => {
    expect(exitCodes).toEqual({
      done: 0,
      failed: 1,
      usage: 2,
      notRunning: 3,
      notFound: 4,
      noPermission: 77,
      timeout: 124,
      unreachable: 125,
      interrupted: 130,
    });
  });

  it('own codes are from -32000 to -32099, each its own; usage and internal travel as the specification has them', () => {
    const { usage, internal, ...own } = errorKinds;
    expect([usage.rpc, internal.rpc]).toEqual([-32602, -32603]);
    const codes = Object.values(own).map(({ rpc }) => rpc);
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) expect(code <= -32000 && code >= -32099).toBe(true);
  });
});

describe('over the wire and back', () => {
  it.each(Object.keys(errorKinds) as ErrorCode[])('%s arrives as what it was', (code) => {
    const sent = new WorkerdError(code, 'words', { name: 'w', phase: 'running' });
    const wire = JSON.parse(JSON.stringify({ code: sent.rpcCode, message: sent.message, data: sent.data }));
    const read = errorFromRpc(wire);
    expect(read).toMatchObject({ code, message: 'words', rpcCode: sent.rpcCode, exitCode: sent.exitCode });
    expect(read.data).toEqual({ name: 'w', phase: 'running', code, retry: errorKinds[code].retry });
  });

  it.each([
    [-32700, 'usage'],
    [-32600, 'usage'],
    [-32601, 'usage'],
    [-32602, 'usage'],
    [-32603, 'internal'],
    [-32050, 'internal'],
    [1, 'internal'],
  ])('a code without our word: %i is %s', (code, word) => {
    expect(errorFromRpc({ code, message: 'x' })).toMatchObject({ code: word, rpcCode: code });
  });

  it('words that are on every object are no codes of ours', () => {
    for (const word of ['constructor', '__proto__', 'toString', '', null, 5]) expect(isErrorCode(word)).toBe(false);
    expect(errorFromRpc({ code: -32601, message: 'x', data: { code: 'constructor' } }).code).toBe('usage');
    expect(errorFromRpc({ code: -32601, message: 'x', data: 'text' }).code).toBe('usage');
  });

  it('details cannot pass for the code or say that a retry helps', () => {
    const error = new WorkerdError('usage', 'x', { code: 'internal', retry: true });
    expect(error.data).toEqual({ code: 'usage', retry: false });
  });

  it('what is too long is so the next time, too', () => {
    const retry = (limit: string) => new WorkerdError('limit.exceeded', 'x', { limit }).data.retry;
    expect(['maxStateBytes', 'maxFrameBytes'].map(retry)).toEqual([false, false]);
    expect(['maxHeld', 'maxSubscriptions', 'registry'].map(retry)).toEqual([true, true, true]);
  });

  it('an exit code of its own goes before the list’s', () => {
    expect(new WorkerdError('internal', 'x', { exitCode: 77 }).exitCode).toBe(77);
  });
});
