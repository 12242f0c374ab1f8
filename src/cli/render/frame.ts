/**
 * Frames on a terminal's normal screen, as bytes: only the lines that changed are written, in one piece that the
 * terminal shows at once. The cursor always rests below the last line, so that whatever ends us leaves the frame whole.
 * Pure: lines in, bytes out.
 */
import { displayWidth } from './text.ts';

/** Shown at once by terminals that know it, ignored by the others. */
const together = { begin: '\x1b[?2026h', end: '\x1b[?2026l' } as const;
/** No cursor, and no wrapping: a line that is wider than it was counted must not become two. */
const enter = '\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export class Frames {
  #lines: readonly string[] = [];
  #size: Size | null = null;
  /** Lines of ours may stand above the first row, in the terminal's memory, and come back when it grows. */
  #scattered = false;

  /** Once, before the first frame; and again after somebody else may have drawn. */
  enter(): string {
    this.#lines = [];
    this.#size = null;
    this.#scattered = false;
    return enter;
  }

  /** The terminal as it was; the last frame stays. */
  leave(): string {
    return leave;
  }

  /** From the frame that is there to this one; nothing where they are the same, but for the `last`. */
  next(lines: readonly string[], size: Size, { last = false }: { readonly last?: boolean } = {}): string {
    const before = this.#size;
    const resized = before !== null && (before.columns !== size.columns || before.rows !== size.rows);
    const anew = resized && this.#isBroken(size);
    const old = anew ? [] : this.#lines;
    const unchanged = !resized && !last && lines.length === old.length && lines.every((line, at) => line === old[at]);
    const wholly = resized || last;
    this.#size = size;
    this.#lines = lines;
    if (unchanged) return '';
    let text = anew ? '\x1b[H\x1b[J' : `\r${old.length === 0 ? '' : `\x1b[${old.length}A`}`;
    let skipped = 0;
    for (const [at, line] of lines.entries()) {
      if (!wholly && line === old[at]) skipped += 1;
      else {
        text += `${down(skipped)}${written(line, size.columns)}\r\n`;
        skipped = 0;
      }
    }
    text += down(skipped);
    // Below it stands what a longer frame left, and what was typed meanwhile.
    return `${together.begin}${text}\x1b[J${together.end}`;
  }

  /** After a resize: lines were broken in two, or pushed out at the top. Then the screen is begun anew. */
  #isBroken({ columns, rows }: Size): boolean {
    if (this.#lines.length >= rows || this.#lines.some((line) => displayWidth(line) > columns)) this.#scattered = true;
    return this.#scattered;
  }
}

/** Over lines that stay as they are; there the cursor is at their begin, and they are on the screen. */
const down = (rows: number): string => (rows === 0 ? '' : `\x1b[${rows}B`);

/** A line over whatever stood there. Behind one that fills the row there is nothing to clear, and clearing would bite it. */
const written = (line: string, columns: number): string => (displayWidth(line) < columns ? `${line}\x1b[K` : line);
