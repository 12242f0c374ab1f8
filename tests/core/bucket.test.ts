/** The bucket of automatic restarts: burst 10, 20 a second. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Bucket } from '../../src/daemon/core/bucket.ts';
import { StartWindow } from '../../src/daemon/core/start-window.ts';
import { seeded } from '../helpers/fake-chance.ts';

/** Everyone asks, waits as long as told, and asks again; when each got its turn. */
const grants = (asked: readonly number[]): readonly number[] => {
  const bucket = new Bucket({ burst: 10, perSecond: 20, nowMono: 0 });
  const waiting = asked.map((askMono) => askMono);
  const granted: number[] = [];
  while (waiting.length > 0) {
    waiting.sort((a, b) => a - b);
    const nowMono = waiting.shift() ?? 0;
    const waitMs = bucket.take(nowMono);
    if (waitMs === 0) granted.push(nowMono);
    else waiting.push(nowMono + waitMs);
  }
  return granted;
};

const mostInOneSecond = (times: readonly number[]): number =>
  Math.max(...times.map((from) => times.filter((time) => time >= from && time < from + 1000).length));

it('W14: of 100 asked at the same instant no second has more than 30, and all are through after 4.6 s', () => {
  const granted = grants(Array.from({ length: 100 }, () => 0));
  expect(granted).toHaveLength(100);
  expect(mostInOneSecond(granted)).toBeLessThanOrEqual(30);
  // 10 at once, the other 90 at 20 a second.
  expect(granted.filter((time) => time === 0)).toHaveLength(10);
  expect(granted.at(-1)).toBeGreaterThanOrEqual(4499);
  expect(granted.at(-1)).toBeLessThanOrEqual(4600);
});

it('W14: whenever they are asked for, no second has more than 30 and nobody is forgotten', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 150 }), (asked) => {
      const granted = grants(asked);
      expect(granted).toHaveLength(asked.length);
      expect(mostInOneSecond(granted)).toBeLessThanOrEqual(30);
      expect([...granted]).toEqual([...granted].sort((a, b) => a - b));
    }),
    seeded(200),
  );
});

it('who asks once in a while never waits', () => {
  const bucket = new Bucket({ burst: 10, perSecond: 20, nowMono: 0 });
  for (let nowMono = 0; nowMono < 10_000; nowMono += 50) expect(bucket.take(nowMono)).toBe(0);
});

it('a long rest fills it to its burst and no further', () => {
  const bucket = new Bucket({ burst: 10, perSecond: 20, nowMono: 0 });
  const taken = Array.from({ length: 20 }, () => bucket.take(3_600_000));
  expect(taken.filter((waitMs) => waitMs === 0)).toHaveLength(10);
  expect(taken.at(-1)).toBe(50);
});

it('asking again after the wait it named is enough', () => {
  const bucket = new Bucket({ burst: 1, perSecond: 20, nowMono: 0.25 });
  expect(bucket.take(0.25)).toBe(0);
  const waitMs = bucket.take(17.3);
  expect(waitMs).toBeGreaterThan(0);
  expect(bucket.take(17.3 + waitMs)).toBe(0);
});

it('W14: however long a permitted start takes to begin, no second sees more than 30 begin', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 60, maxLength: 120 }), (delays) => {
      const bucket = new Bucket({ burst: 10, perSecond: 20, nowMono: 0 });
      const window = new StartWindow(30);
      const waiting = delays.map((delayMs, index) => ({ at: 0, delayMs, run: `r${index}`, ordered: false }));
      const begun: number[] = [];
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        if (next.ordered) {
          window.begun(next.run, next.at);
          begun.push(next.at);
        } else {
          const waitMs = window.wait(next.at) || bucket.take(next.at);
          if (waitMs === 0) window.order(next.run);
          waiting.push({ ...next, at: next.at + (waitMs === 0 ? next.delayMs : waitMs), ordered: waitMs === 0 });
          waiting.sort((a, b) => a.at - b.at);
        }
      }
      expect(begun).toHaveLength(delays.length);
      expect(mostInOneSecond(begun)).toBeLessThanOrEqual(30);
    }),
    seeded(100),
  );
});

it('a start that came to nothing is not counted', () => {
  const window = new StartWindow(1);
  window.order('a');
  expect(window.wait(0)).toBeGreaterThan(0);
  window.failed('a');
  expect(window.wait(0)).toBe(0);
});
