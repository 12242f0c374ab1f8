/** Frames as bytes: what a terminal makes of them is what was meant, and no more is written than has changed. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Frames } from '../../src/cli/render/frame.ts';
import { Terminal } from './terminal.ts';

const seed = Number(process.env['SEED'] ?? 20260102);
const size = { columns: 20, rows: 8 };

/** A frame drawn on a terminal that stood at a prompt. */
const opened = (rows = size.rows) => {
  const terminal = new Terminal(size.columns, rows);
  terminal.write('$ watch\r\n');
  const frames = new Frames();
  terminal.write(frames.enter());
  return { terminal, frames };
};

describe('frames on a terminal', () => {
  test('the first is written whole, at once, below the prompt; the cursor is below it and hidden', () => {
    const { terminal, frames } = opened();
    const bytes = frames.next(['one', 'two'], size);
    expect(bytes).toBe('\x1b[?2026h\rone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J\x1b[?2026l');
    terminal.write(bytes);
    expect(terminal.lines()).toEqual(['$ watch', 'one', 'two']);
    expect(terminal.cursor).toEqual({ row: 3, column: 0, shown: false });
  });

  test('the same again is nothing; a changed line is that line alone', () => {
    const { frames } = opened();
    frames.next(['one', 'two', 'three'], size);
    expect(frames.next(['one', 'two', 'three'], size)).toBe('');
    expect(frames.next(['one', 'TWO', 'three'], size)).toBe(
      '\x1b[?2026h\r\x1b[3A\x1b[1BTWO\x1b[K\r\n\x1b[1B\x1b[J\x1b[?2026l',
    );
  });

  test('a line that fills its row is not bitten by the clearing behind it', () => {
    const { terminal, frames } = opened();
    terminal.write(frames.next(['x'.repeat(20)], size));
    terminal.write(frames.next(['日'.repeat(10)], size));
    expect(terminal.lines()).toEqual(['$ watch', '日'.repeat(10)]);
  });

  test('a shorter frame leaves nothing of the longer one; what was typed is cleared', () => {
    const { terminal, frames } = opened();
    terminal.write(frames.next(['1', '2', '3'], size));
    terminal.write('^C');
    terminal.write(frames.next(['1'], size, { last: true }));
    terminal.write(frames.leave());
    expect(terminal.lines()).toEqual(['$ watch', '1']);
    expect(terminal.cursor).toEqual({ row: 2, column: 0, shown: true });
    expect(terminal.wraps).toBe(true);
  });

  test('a frame as high as the screen scrolls the prompt away, and is redrawn in its place', () => {
    const { terminal, frames } = opened(4);
    const small = { columns: 20, rows: 4 };
    terminal.write(frames.next(['1', '2', '3'], small));
    terminal.write(frames.next(['1', 'two', '3'], small));
    expect(terminal.lines()).toEqual(['1', 'two', '3']);
  });

  test('wider, or narrower than every line: redrawn where it is', () => {
    const { terminal, frames } = opened();
    terminal.write(frames.next(['one', 'two'], size));
    terminal.write(frames.next(['ONE', 'two'], { columns: 10, rows: 8 }));
    expect(terminal.lines()).toEqual(['$ watch', 'ONE', 'two']);
  });

  test('narrower than a line, or lower than the frame: the screen is begun anew, then and from then on', () => {
    const { frames } = opened();
    frames.next(['a long line of it'], size);
    expect(frames.next(['a long…'], { columns: 8, rows: 8 })).toContain('\x1b[H\x1b[J');
    // The broken pieces may come back out of the terminal's memory.
    expect(frames.next(['a long line of it'], size)).toContain('\x1b[H\x1b[J');
    expect(frames.next(['another line'], size)).not.toContain('\x1b[H');
  });

  test(`whatever frames follow each other, the screen shows the last (seed ${seed})`, () => {
    const line = fc.oneof(
      fc.string({ maxLength: 20, unit: 'grapheme-ascii' }),
      fc.constantFrom('日本語', 'x'.repeat(20), '', 'e\u0301', '✅ done'),
    );
    const frame = fc.array(line, { minLength: 1, maxLength: 7 });
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 12 }), (all) => {
        const { terminal, frames } = opened();
        for (const lines of all) {
          terminal.write(frames.next(lines, size));
          expect(terminal.lines(true).slice(-lines.length - 1, -1)).toEqual(lines.map((text) => text.trimEnd()));
        }
      }),
      { seed, numRuns: 300 },
    );
  });
});
