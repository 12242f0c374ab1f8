/** Who waits for a stop while no shim answers: looked after while there is none, and only then. */
import { expect, test } from 'vitest';
import type { Registry } from '../../src/daemon/registry.ts';
import { WithoutShim } from '../../src/daemon/without-shim.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { FakeProcessTable } from '../helpers/fake-process-table.ts';
import { FakeShim } from '../helpers/fake-shim.ts';

const run = { stage: 'running', pid: 7, startTime: 100, stop: null };

const made = () => {
  const clock = new FakeClock();
  const shim = new FakeShim(clock);
  const registry = { get: () => ({ run }) } as unknown as Registry;
  const reconciler = { conclude() {} };
  const withoutShim = new WithoutShim({ registry, shim, processes: new FakeProcessTable(), reconciler, clock });
  let over = new AbortController().signal;
  const wait = (signal: AbortSignal) => {
    over = signal;
    return new Promise<never>(() => {});
  };
  const answer = withoutShim.unlessNone('w', wait).catch((error: unknown) => error);
  return { clock, shim, withoutShim, answer, isOver: () => over.aborted };
};

test('while there is a shim nothing is looked at, however long a stop takes', async () => {
  const { clock, shim, withoutShim } = made();
  expect(clock.pending).toBe(0);
  shim.connected = false;
  withoutShim.stirred();
  withoutShim.stirred();
  expect(clock.pending).toBe(1);
  shim.connected = true;
  await clock.run(500);
  expect(clock.pending).toBe(0);
});

test('one that is lost while a stop waits is waited for 5 s, and another loss has 5 s of its own', async () => {
  const { clock, shim, withoutShim, answer, isOver } = made();
  let said: unknown = null;
  void answer.then((error) => {
    said = error;
  });
  const lose = () => {
    shim.connected = false;
    withoutShim.stirred();
  };
  lose();
  await clock.run(4500);
  shim.connected = true;
  await clock.run(500);
  lose();
  await clock.run(4500);
  expect([said, isOver()]).toEqual([null, false]);
  await clock.run(500);
  expect(said).toMatchObject({ code: 'worker.busy', message: expect.stringMatching(/^w has ended; .* no shim/) });
  expect(isOver(), 'nothing waits on').toBe(true);
  await clock.run(500);
  expect(clock.pending).toBe(0);
});
