/** What many workers have in common is held once. */
import { expect, test } from 'vitest';
import { Callers } from '../../src/daemon/callers.ts';

const callerOf = (shell: number) => ({ env: { PATH: '/bin', SHELL_NUMBER: String(shell) }, cwd: '/', umask: 0o022 });

test('an equal caller is the one that was there, whatever comes between', () => {
  const callers = new Callers();
  const first = callerOf(0);
  expect(callers.same(first)).toBe(first);
  for (let round = 0; round < 3; round += 1) {
    for (let shell = 1; shell < 8; shell += 1) expect(callers.same(callerOf(shell))).toEqual(callerOf(shell));
    expect(callers.same(callerOf(0))).toBe(first);
  }
});

test('one that differs in anything is another', () => {
  const callers = new Callers();
  const first = callers.same(callerOf(0));
  for (const other of [
    { ...callerOf(0), cwd: '/tmp' },
    { ...callerOf(0), umask: 0 },
    { ...callerOf(0), env: { PATH: '/bin' } },
    { ...callerOf(0), env: { ...callerOf(0).env, MORE: '' } },
  ]) {
    expect(callers.same(other)).toBe(other);
  }
  expect(callers.same(callerOf(0))).toBe(first);
});

test('of many only the newest are held', () => {
  const callers = new Callers();
  const first = callers.same(callerOf(0));
  for (let shell = 1; shell <= 8; shell += 1) callers.same(callerOf(shell));
  expect(callers.same(callerOf(0))).not.toBe(first);
});
