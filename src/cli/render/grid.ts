/**
 * Rows and columns that fit a terminal: one column takes what the others leave, the least important go first, and on a
 * screen that is redrawn none ever moves back. Pure.
 */
import type { Style } from './style.ts';
import { clip, displayWidth } from './text.ts';

export interface GridColumn {
  readonly title: string;
  readonly align: 'left' | 'right';
  /** The first to go has the highest number; 0 stays. */
  readonly gives: number;
  /** It goes where the flexible column would have less than this for it, and wants it. */
  readonly wants?: number;
  /** Reserved from the start on a screen that is redrawn, so that usual numbers never move what stands behind them. */
  readonly least?: number;
  /** Takes what the others leave; there is at most one such column. */
  readonly flexible?: true;
}

export interface GridRow {
  /** In the order of the columns. */
  readonly cells: readonly string[];
  /** The flexible cell, written anew where there is less room than it wants. */
  readonly fit?: (room: number) => string;
  /** Colours for a cell that has been cut and padded. */
  readonly paint?: (title: string, text: string) => string;
}

export interface GridOptions {
  readonly style: Style;
  /** Columns of the terminal; `null`: not one, nothing goes. */
  readonly width: number | null;
  /** Widths that columns already had: they grow, and never shrink, while a screen is redrawn. */
  readonly widths?: Map<string, number> | undefined;
}

const gap = '  ';
/** With less than this it says nothing, and goes itself. */
const leastRoom = 8;
/** What a pipe gets of the flexible column; the whole of it is in `--json`. */
const mostInPipe = 120;
/** A screen's flexible column grows in steps, so that a longer word does not move its neighbours each time. */
const growStep = 8;
/** A first column cut for the others keeps this much of the line. */
const firstShare = 0.4;
const leastFirst = 8;

/** Title line first; each line fits `width`. */
export const gridLines = (
  columns: readonly GridColumn[],
  rows: readonly GridRow[],
  options: GridOptions,
): readonly string[] => {
  const { style, width } = options;
  const cellWidths = rows.map(({ cells }) => cells.map(displayWidth));
  const natural = naturalWidths(columns, cellWidths, options);
  const placed =
    width === null
      ? columns.map((column, index) => ({ column, index, width: natural[index] ?? 0 }))
      : place(columns, natural, width);
  const line = (
    measured: (at: Place) => readonly [cell: string, width: number],
    paint: (title: string, text: string) => string,
  ): string =>
    placed
      .map((at, position) => {
        const [cell, cellWidth] = measured(at);
        const fits = cellWidth <= at.width;
        const text = fits ? cell : clip(cell, at.width, style.ellipsis);
        const open = position === placed.length - 1 && at.column.align === 'left';
        const space = open ? '' : ' '.repeat(at.width - (fits ? cellWidth : displayWidth(text)));
        return paint(at.column.title, at.column.align === 'left' ? text + space : space + text);
      })
      .join(gap);
  const titles = line(
    ({ column }) => [column.title, column.title.length],
    (_title, text) => style.paint('bold', text),
  );
  const lines = rows.map((row, number) =>
    line((at) => {
      const cell = row.cells[at.index] ?? '';
      const cellWidth = cellWidths[number]?.[at.index] ?? 0;
      if (cellWidth <= at.width || !at.column.flexible || row.fit === undefined) return [cell, cellWidth];
      const fitted = row.fit(at.width);
      return [fitted, displayWidth(fitted)];
    }, row.paint ?? unpainted),
  );
  return [titles, ...lines];
};

const unpainted = (_title: string, text: string): string => text;

interface Place {
  readonly column: GridColumn;
  readonly index: number;
  readonly width: number;
}

const naturalWidths = (
  columns: readonly GridColumn[],
  cellWidths: readonly (readonly number[])[],
  { width, widths }: GridOptions,
): readonly number[] =>
  columns.map(({ title, least = 0, flexible }, index) => {
    let own = title.length;
    for (const row of cellWidths) own = Math.max(own, row[index] ?? 0);
    if (flexible && width === null) own = Math.min(own, mostInPipe);
    if (widths === undefined) return own;
    if (flexible) own = Math.ceil(own / growStep) * growStep;
    const kept = Math.max(own, least, widths.get(title) ?? 0);
    widths.set(title, kept);
    return kept;
  });

/** Which columns are shown, and how wide, so that all of them together fit. */
const place = (columns: readonly GridColumn[], natural: readonly number[], width: number): readonly Place[] => {
  let shown: readonly Place[] = columns.map((column, index) => ({ column, index, width: natural[index] ?? 0 }));
  const firstWidth = natural[0] ?? 0;
  const leftFor = (places: readonly Place[], first: number): number =>
    places.reduce(
      (left, { column, index, width: own }) =>
        column.flexible ? left : left - (index === 0 ? first : own) - gap.length,
      width + (places.some(({ column }) => column.flexible) ? 0 : gap.length),
    );
  const cutFirst = Math.min(firstWidth, Math.max(leastFirst, Math.floor(width * firstShare)));
  const flexible = shown.find(({ column }) => column.flexible)?.width ?? 0;
  const going = shown.filter(({ column }) => column.gives > 0).sort((a, b) => b.column.gives - a.column.gives);
  const most = Math.max(0, ...going.map(({ column }) => column.wants ?? 0));
  const first = leftFor(shown, firstWidth) < Math.min(flexible, most) ? cutFirst : firstWidth;
  for (const at of going) {
    const wanted = at.column.flexible ? leastRoom : (at.column.wants ?? 0);
    if (leftFor(shown, first) >= Math.min(flexible, wanted)) break;
    shown = shown.filter((other) => other !== at);
  }
  const room = leftFor(shown, first);
  let left = width;
  return shown.flatMap((at, position) => {
    const own = at.column.flexible ? Math.min(at.width, room) : at.index === 0 ? firstOf(shown, first, left) : at.width;
    const fits = Math.min(own, left - (position === 0 ? 0 : gap.length));
    if (fits <= 0) return [];
    left -= fits + (position === 0 ? 0 : gap.length);
    return [{ ...at, width: fits }];
  });
};

/** Where not even the columns that stay fit, the first gives way, down to a few letters. */
const firstOf = (shown: readonly Place[], first: number, width: number): number => {
  const others = shown.reduce(
    (sum, { column, index, width: own }) => (index === 0 || column.flexible ? sum : sum + own + gap.length),
    0,
  );
  return Math.max(Math.min(first, width - others), Math.min(first, leastFirst));
};
