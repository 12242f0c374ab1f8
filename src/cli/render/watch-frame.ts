/** What `watch` shows on a terminal: totals, the table, and who had no room. Pure. */
import { isAlive, type WorkerView } from '../../shared/worker.ts';
import { totalsText } from './cells.ts';
import type { Size } from './frame.ts';
import type { Sample } from './progress.ts';
import type { Style } from './style.ts';
import { tableLines } from './table.ts';
import { clip, displayWidth } from './text.ts';

export interface Watched {
  readonly views: ReadonlyMap<string, WorkerView>;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
  /** What is known of these may be out of date. */
  readonly stale: ReadonlySet<string>;
}

export interface WatchFrameOptions {
  readonly style: Style;
  readonly now: number;
  readonly size: Size;
  /** Kept from frame to frame: columns grow, and never shrink. */
  readonly widths: Map<string, number>;
  /** Said below the table. */
  readonly notice?: string | null;
  /** The frame that stays when `watch` has ended. */
  readonly last?: boolean;
}

export interface WatchFrame {
  readonly lines: readonly string[];
  readonly shown: readonly string[];
}

/** Below this height every line is a worker's. */
const leastRowsForTotals = 8;
const byName = (a: WorkerView, b: WorkerView): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

export const watchFrame = (watched: Watched, options: WatchFrameOptions): WatchFrame => {
  const { style, size, notice = null } = options;
  if (notice === null) return tableFrame(watched, options);
  const above = tableFrame(watched, { ...options, size: { ...size, rows: Math.max(2, size.rows - 1) } });
  const line = style.paint('yellow', clip(notice, size.columns, style.ellipsis));
  return size.rows < 3 ? { ...above, lines: [line] } : { ...above, lines: [...above.lines, line] };
};

const tableFrame = ({ views, samples, stale }: Watched, options: WatchFrameOptions): WatchFrame => {
  const { style, now, size, widths, last = false } = options;
  const width = size.columns;
  // The cursor stands in the last row.
  const height = Math.max(1, size.rows - 1);
  if (views.size === 0) {
    const hint = last ? 'no workers' : `no workers yet ${style.dot} start one with: workerctl start -- COMMAND`;
    return { lines: [clip(hint, width, style.ellipsis)], shown: [] };
  }
  const all = [...views.values()];
  const head =
    all.length > 1 && size.rows >= leastRowsForTotals ? [totalsLine(all, stale.size > 0, { style, width, last })] : [];
  const room = Math.max(1, height - head.length);
  const table = (rows: readonly WorkerView[]) => tableLines(rows, { style, now, width, samples, widths, stale });
  if (all.length + 1 <= room) {
    const rows = all.sort(byName);
    return { lines: [...head, ...table(rows)], shown: rows.map(({ name }) => name) };
  }
  // Titles and the line below go before the last worker does.
  const titled = room > 1;
  const told = room > 2;
  const count = Math.max(1, room - (titled ? 1 : 0) - (told ? 1 : 0));
  const rows = mostTelling(all, count);
  const shown = new Set(rows.map(({ name }) => name));
  const lines = table(rows);
  const hidden = all.filter(({ name }) => !shown.has(name));
  const below = `and ${hidden.length} more: ${totalsText(hidden)}`;
  return {
    lines: [
      ...head,
      ...(titled ? lines : lines.slice(1)),
      ...(told ? [style.paint('dim', clip(below, width, style.ellipsis))] : []),
    ],
    shown: [...shown],
  };
};

/** The living first, then what failed last; shown by name. */
const mostTelling = (views: readonly WorkerView[], count: number): readonly WorkerView[] => {
  const rank = ({ phase }: WorkerView): number => (isAlive(phase) ? 0 : phase === 'failed' ? 1 : 2);
  const endedAt = (view: WorkerView): string => (isAlive(view.phase) ? '' : (view.endedAt ?? ''));
  const compare = (a: WorkerView, b: WorkerView): number =>
    rank(a) - rank(b) || (endedAt(a) === endedAt(b) ? byName(a, b) : endedAt(a) < endedAt(b) ? 1 : -1);
  return [...views].sort(compare).slice(0, count).sort(byName);
};

const totalsLine = (
  views: readonly WorkerView[],
  stale: boolean,
  { style, width, last }: { readonly style: Style; readonly width: number; readonly last: boolean },
): string => {
  const totals = `${views.length} workers: ${totalsText(views)}`;
  const hint = last ? '' : stale ? 'waiting for news of the daemon' : 'Ctrl-C leaves, nothing is stopped';
  const space = width - displayWidth(totals) - displayWidth(hint);
  if (hint === '' || space < 2) return style.paint('dim', clip(totals, width, style.ellipsis));
  return style.paint('dim', `${totals}${' '.repeat(space)}${hint}`);
};
