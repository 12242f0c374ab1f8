/** Memory is given back once there is leisure, not before, and without leisure's costing anything by itself. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Leisure } from '../../src/shared/leisure.ts';
import { eventually } from '../helpers/eventually.ts';

const MiB = 1024 * 1024;

describe('leisure', () => {
  let resident = 50 * MiB;
  let collected = 0;
  let leisure: Leisure;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    resident = 50 * MiB;
    collected = 0;
    leisure = new Leisure({
      resident: () => resident,
      collect: () => {
        collected += 1;
        resident -= 4 * MiB;
      },
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('has no timer before anything was done, nor after', () => {
    expect(vi.getTimerCount()).toBe(0);
    leisure.busy();
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(60_000);
    expect(vi.getTimerCount()).toBe(0);
    expect(collected).toBe(1);
  });

  test('waits until nothing is done', () => {
    for (let step = 0; step < 100; step += 1) {
      leisure.busy();
      vi.advanceTimersByTime(100);
    }
    expect(collected).toBe(0);
    vi.advanceTimersByTime(1000);
    expect(collected).toBe(1);
  });

  test('collects again only what has grown since', () => {
    leisure.busy();
    vi.advanceTimersByTime(10_000);
    leisure.busy();
    resident += 5 * MiB;
    vi.advanceTimersByTime(10_000);
    expect(collected).toBe(1);
    leisure.busy();
    resident += 2 * MiB;
    vi.advanceTimersByTime(10_000);
    expect(collected).toBe(2);
  });

  test('collects seldom, however much comes and goes, and in the end', () => {
    for (let step = 0; step < 60; step += 1) {
      leisure.busy();
      resident += 10 * MiB;
      vi.advanceTimersByTime(1000);
    }
    expect(collected).toBeGreaterThanOrEqual(8);
    expect(collected).toBeLessThanOrEqual(13);
    const before = collected;
    leisure.busy();
    resident += 10 * MiB;
    vi.advanceTimersByTime(60_000);
    expect(collected).toBe(before + 1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('what is garbage goes back to the system', async () => {
  const rss = () => process.memoryUsage.rss();
  const before = rss();
  const fill = () => {
    // Old by the time it is dropped, as what a burst of requests holds until it is answered.
    let held: object[] | null = [];
    for (let index = 0; index < 400_000; index += 1) held.push({ index, text: `number ${index}` });
    const full = rss();
    held = null;
    return full;
  };
  const grown = fill() - before;
  expect(grown).toBeGreaterThan(20 * MiB);
  const letGo = vi.fn();
  new Leisure({ letGo }).busy();
  await eventually(() => before + grown / 2 > rss(), { what: 'memory to be given back' });
  expect(letGo).toHaveBeenCalledTimes(1);
});
