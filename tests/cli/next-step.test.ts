import { describe, expect, test } from 'vitest';
import { nextStep } from '../../src/cli/next-step.ts';
import { type ErrorCode, WorkerdError } from '../../src/shared/errors.ts';

const error = (code: ErrorCode, message: string, data: Record<string, unknown> = {}, rpcCode?: number) =>
  new WorkerdError(code, message, data, rpcCode === undefined ? {} : { rpcCode });

describe('what to do next', () => {
  test.each([
    [error('worker.not-running', 'web does not run (exited)', { name: 'web' }), 'Start it with: workerctl start web'],
    [error('wait.timeout', 'web: not ended within 10 ms', { name: 'web' }), 'See: workerctl status web'],
    [error('wait.impossible', 'web ended before it was ready', { name: 'web' }), 'See: workerctl status web'],
    [error('wait.impossible', 'web was removed', { name: 'web' }), ''],
    [
      error('daemon.stopping', 'the daemon is about to end'),
      'Once it has ended, start it again with: workerd start --detach',
    ],
    [error('usage', 'no such method: nope', {}, -32601), 'See which there are: workerctl rpc rpc.discover'],
    [
      error('usage', 'params.caller.env is too long: …', { member: 'params.caller.env' }),
      'Leave your environment away with --clean-env, and name what it needs with -e',
    ],
    [error('usage', '--all and names exclude each other'), 'See: workerctl stop --help'],
    [
      error('internal', 'internal error', { logId: 'x1' }),
      "The daemon's log says more about x1: /h/workerd.log, or its service's journal",
    ],
  ])('%s', (fault, next) => {
    expect(nextStep(fault, { verb: 'stop', daemonLog: '/h/workerd.log' })).toBe(next);
  });

  test.each([
    error('usage', '--grace: "5" is not a duration; did you mean 5s?'),
    error('worker.start-failed', 'web did not start: exit code 3. See: workerctl logs web', { name: 'web' }),
    error('worker.busy', 'web is running. Stop it first (workerctl stop web), or remove it with --force', {
      name: 'web',
    }),
    error('daemon.unreachable', 'cannot reach the daemon at /x (no socket). Start it with: workerd start --detach'),
    error('internal', 'a fault without a number'),
  ])('nothing is added to what says it itself: %s', (fault) => {
    expect(nextStep(fault, { verb: 'stop' })).toBe('');
  });
});
