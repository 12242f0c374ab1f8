/** What all connections may hold together: whoever holds most for longest is cut off, and nobody who is quick. */
import { describe, expect, it, vi } from 'vitest';
import { Budget } from '../../src/shared/budget.ts';
import { FrameReader } from '../../src/shared/framing.ts';
import { limits } from '../../src/shared/limits.ts';

const member = () => ({ cutOff: vi.fn() });

describe('Budget', () => {
  it('counts what each holds now, and lets go of what is gone', () => {
    const budget = new Budget({ maxBytes: 100 });
    const [a, b] = [member(), member()];
    budget.account(a, 60);
    budget.account(b, 40);
    budget.account(a, 20);
    expect(budget.bytes).toBe(60);
    budget.account(b, 0);
    expect(budget.bytes).toBe(20);
    expect(a.cutOff).not.toHaveBeenCalled();
  });

  it('beyond it the one that has held most for longest goes, and it is told; a new one that sends much stays', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const onCut = vi.fn();
      const budget = new Budget({ maxBytes: 100, onCut });
      const [old, read, quick] = [member(), member(), member()];
      budget.account(old, 30);
      budget.account(read, 50);
      vi.advanceTimersByTime(5000);
      // It gets less: somebody reads.
      budget.account(read, 45);
      budget.account(quick, 90);
      expect(old.cutOff).toHaveBeenCalledWith(expect.stringContaining('more than 100 bytes'));
      expect(onCut).toHaveBeenCalled();
      expect(budget.bytes).toBeLessThanOrEqual(100);
    } finally {
      vi.useRealTimers();
    }
  });

  it('requests that wait have a bound of their own', () => {
    const budget = new Budget();
    let held = 0;
    while (budget.hold()) held += 1;
    expect(held).toBe(limits.maxHeldInAll);
    budget.release();
    expect(budget.hold()).toBe(true);
  });
});

describe('FrameReader', () => {
  it('keeps no chunk for the sake of its end, and a line that drips in costs its length', () => {
    const reader = new FrameReader();
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 500_000; count += 1) reader.push(Buffer.allocUnsafeSlow(1).fill(0x20));
    global.gc?.();
    expect(reader.pendingBytes).toBe(500_000);
    const [frame] = reader.push(Buffer.from('x\n')) as readonly Buffer[];
    expect(frame?.length).toBe(500_001);
    expect(frame?.buffer.byteLength).toBeLessThanOrEqual(limits.maxFrameBytes);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(256 * 1024 * 1024);
  });
});
