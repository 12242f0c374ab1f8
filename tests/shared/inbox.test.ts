/** C04: how long a line may take; what we do not read ourselves is not held against the far end. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Inbox } from '../../src/shared/inbox.ts';
import { limits } from '../../src/shared/limits.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const setUp = () => {
  const onUnfinished = vi.fn();
  const inbox = new Inbox(onUnfinished);
  const push = (text: string) => inbox.push(Buffer.from(text));
  return { inbox, push, onUnfinished };
};
const { unfinishedFrameMs } = limits;

test('a line that is begun and not ended, dripping or not, is told of after 10 s and not sooner', () => {
  const { push, onUnfinished } = setUp();
  push('{');
  for (let part = 0; part < 9; part += 1) {
    vi.advanceTimersByTime(unfinishedFrameMs / 10);
    push('"');
  }
  vi.advanceTimersByTime(unfinishedFrameMs / 10 - 1);
  expect(onUnfinished).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(onUnfinished).toHaveBeenCalledOnce();
});

test('one that is ended in time begins no deadline for the next', () => {
  const { inbox, push, onUnfinished } = setUp();
  push('{');
  vi.advanceTimersByTime(unfinishedFrameMs - 1);
  push('}\n');
  inbox.take();
  vi.advanceTimersByTime(10 * unfinishedFrameMs);
  push('{');
  vi.advanceTimersByTime(unfinishedFrameMs - 1);
  expect(onUnfinished).not.toHaveBeenCalled();
});

test('while whole lines wait their turn nothing is read, and no line is late; then it has its time', () => {
  const { inbox, push, onUnfinished } = setUp();
  push('{}\n{}\n{');
  inbox.take();
  vi.advanceTimersByTime(3.5 * unfinishedFrameMs);
  expect(onUnfinished).not.toHaveBeenCalled();
  inbox.take();
  vi.advanceTimersByTime(unfinishedFrameMs - 1);
  expect(onUnfinished).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(onUnfinished).toHaveBeenCalledOnce();
});
