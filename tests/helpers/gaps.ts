/** The lines of prints-a-sequence.mjs as a log has them where a shim was killed: in order, once, with what may be missing. */
import { expect } from 'vitest';

const lineOf = (number: number): string => `${number} ${(number * 7919) % 10_007}`;
/** What a dead shim may have read and not written: a pipe's worth a stream. */
export const gapBytes = 64 * 1024;

export interface Gaps {
  readonly last: number;
  readonly bytes: number;
}

/** `kills`: so many gaps there may be at most, each with one line that is cut in two. */
export const checkGaps = (name: string, text: string, kills: number): Gaps => {
  const lines = text.split('\n');
  expect(lines.pop(), `${name}: its last line is whole`).toBe('');
  let [last, gaps, broken, bytes] = [0, 0, 0, 0];
  for (const line of lines) {
    const number = Number(line.split(' ')[0]);
    if (line !== lineOf(number)) {
      broken += 1;
      continue;
    }
    if (number <= last) expect.fail(`${name}: line ${number} after line ${last}`);
    if (number !== last + 1) {
      let missing = 0;
      for (let each = last + 1; each < number; each += 1) missing += lineOf(each).length + 1;
      expect(missing, `${name}: bytes missing before line ${number}`).toBeLessThanOrEqual(gapBytes);
      bytes += missing;
      gaps += 1;
    }
    last = number;
  }
  expect(gaps, `${name}: gaps`).toBeLessThanOrEqual(kills);
  expect(broken, `${name}: lines that were cut`).toBeLessThanOrEqual(kills);
  return { last, bytes };
};
