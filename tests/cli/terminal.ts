/** A terminal as far as frames need one: a grid, a cursor, scrolling, wrapping, and the few sequences that are sent to it. */
import { displayWidth } from '../../src/cli/render/text.ts';

export class Terminal {
  readonly #columns: number;
  readonly #rows: number;
  /** A cell holds a character with its marks; the right half of a wide one is ''. */
  #cells: string[][];
  #row = 0;
  #column = 0;
  #shown = true;
  wraps = true;

  constructor(columns: number, rows: number) {
    this.#columns = columns;
    this.#rows = rows;
    this.#cells = Array.from({ length: rows }, () => this.#blank());
  }

  get cursor(): { readonly row: number; readonly column: number; readonly shown: boolean } {
    return { row: this.#row, column: this.#column, shown: this.#shown };
  }

  /** Rows without the blanks at their ends; with `toCursor` down to the one the cursor is in, else the last that is not blank. */
  lines(toCursor = false): readonly string[] {
    const all = this.#cells.map((row) => row.join('').trimEnd());
    if (toCursor) return all.slice(0, this.#row + 1);
    return all.slice(0, all.findLastIndex((line) => line !== '') + 1);
  }

  write(text: string): void {
    for (const [, sequence, char] of text.matchAll(/(\x1b\[\??[0-9;]*[A-Za-z])|([\s\S])/gu)) {
      if (sequence !== undefined) this.#obey(sequence);
      else if (char === '\r') this.#column = 0;
      else if (char === '\n') this.#down();
      else this.#put(char ?? '');
    }
  }

  #obey(sequence: string): void {
    const count = Number(/\d+/.exec(sequence)?.[0] ?? 1);
    switch (sequence.replace(/^\x1b\[(\?(?=25|7|2026))?/, '$1').replace(/^\d+(?=[A-Z])/, '')) {
      case 'A':
        this.#row = Math.max(0, this.#row - count);
        return;
      case 'B':
        this.#row = Math.min(this.#rows - 1, this.#row + count);
        return;
      case 'H':
        this.#row = 0;
        this.#column = 0;
        return;
      case 'K':
        this.#cells[this.#row]?.fill(' ', this.#at());
        return;
      case 'J':
        this.#cells[this.#row]?.fill(' ', this.#at());
        for (let row = this.#row + 1; row < this.#rows; row += 1) this.#cells[row] = this.#blank();
        return;
      case '?25h':
      case '?25l':
        this.#shown = sequence.endsWith('h');
        return;
      case '?7h':
      case '?7l':
        this.wraps = sequence.endsWith('h');
        return;
      case '?2026h':
      case '?2026l':
        return;
      default:
        if (!sequence.endsWith('m')) throw new Error(`the terminal does not know ${JSON.stringify(sequence)}`);
    }
  }

  /** Behind the last column the cursor stays on it. */
  #at(): number {
    return Math.min(this.#column, this.#columns - 1);
  }

  #put(char: string): void {
    const width = displayWidth(char);
    const row = this.#cells[this.#row] ?? [];
    if (width === 0) {
      row[this.#column - 1] += char;
      return;
    }
    if (this.#column + width > this.#columns) {
      if (this.wraps) {
        this.#column = 0;
        this.#down();
      } else this.#column = this.#columns - width;
    }
    const cells = this.#cells[this.#row] ?? [];
    cells[this.#column] = char;
    if (width === 2) cells[this.#column + 1] = '';
    this.#column += width;
  }

  #down(): void {
    if (this.#row < this.#rows - 1) this.#row += 1;
    else this.#cells = [...this.#cells.slice(1), this.#blank()];
  }

  #blank(): string[] {
    return Array.from({ length: this.#columns }, () => ' ');
  }
}
