/** How much one connection begins in a turn of the loop, and that one request alone costs no turn of its own. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Pace } from '../../src/shared/turn.ts';

const beginAll = (pace: Pace): number => {
  let begun = 0;
  for (; begun < 1000 && pace.mayBegin(false); begun += 1) pace.begin();
  return begun;
};

test('64 in a turn, and no more once promises are settled and ticks have passed: only the next turn has room', async () => {
  const pace = new Pace();
  const first = beginAll(pace);
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThanOrEqual(64);
  await new Promise<void>((resolve) => process.nextTick(resolve));
  expect(beginAll(pace)).toBe(0);
  const later = await new Promise<number>((resolve) => pace.later(() => resolve(beginAll(pace))));
  expect(later).toBeGreaterThan(0);
});

test('each connection has its own, and in a turn that has got long begins one', async () => {
  await nextTurn();
  const [first, second] = [new Pace(), new Pace()];
  expect(first.mayBegin(false)).toBe(true);
  first.begin();
  const until = performance.now() + 20;
  while (performance.now() < until);
  expect(first.mayBegin(false)).toBe(false);
  expect(beginAll(second)).toBe(1);
});

test('one request after the other begins no turn', async () => {
  await nextTurn();
  const pace = new Pace();
  for (let count = 0; count < 200; count += 1) {
    expect(pace.mayBegin(true)).toBe(true);
    pace.begin();
  }
  // A turn is counted from here: nothing of the above is in it.
  expect(beginAll(pace)).toBeGreaterThan(0);
});
