/** Workers as a table: the name first, what is needed least goes first where the terminal is narrow. Pure. */
import type { WorkerView } from '../../shared/worker.ts';
import { cpuText, isUnready, memoryText, none, summaryText, uptimeOf } from './cells.ts';
import { type GridColumn, type GridRow, gridLines } from './grid.ts';
import type { Sample } from './progress.ts';
import { phaseColour, type Style } from './style.ts';
import { oneLine } from './text.ts';

export interface TableOptions {
  readonly style: Style;
  readonly now: number;
  /** Columns of the terminal; `null`: not one, nothing is cut. */
  readonly width: number | null;
  readonly samples?: ReadonlyMap<string, readonly Sample[]>;
  /** Widths that columns already had: they grow, and never shrink, while a screen is redrawn. */
  readonly widths?: Map<string, number>;
  /** What is shown of these may be out of date. */
  readonly stale?: ReadonlySet<string>;
}

const columns: readonly GridColumn[] = [
  { title: 'NAME', align: 'left', gives: 0, least: 8 },
  { title: 'PHASE', align: 'left', gives: 0, least: 8 },
  { title: 'STATE', align: 'left', gives: 1, least: 24, flexible: true },
  { title: 'PID', align: 'right', gives: 5, wants: 24, least: 7 },
  { title: 'UPTIME', align: 'right', gives: 2, wants: 20, least: 7 },
  { title: 'RESTARTS', align: 'right', gives: 6, wants: 36 },
  { title: 'CPU', align: 'right', gives: 4, wants: 24, least: 5 },
  { title: 'MEM', align: 'right', gives: 3, wants: 24, least: 8 },
];

/** Ends with a newline; of an empty list nothing is left but the titles. */
export const tableText = (views: readonly WorkerView[], options: TableOptions): string =>
  `${tableLines(views, options).join('\n')}\n`;

export const tableLines = (views: readonly WorkerView[], options: TableOptions): readonly string[] =>
  gridLines(
    columns,
    views.map((view) => rowOf(view, options)),
    options,
  );

const rowOf = (view: WorkerView, { style, now, samples, widths, stale }: TableOptions): GridRow => {
  const summary = { style, now, samples, steady: widths !== undefined };
  const dim = stale?.has(view.name) ?? false;
  return {
    cells: [
      oneLine(view.name),
      view.phase,
      summaryText(view, summary),
      view.pid === null ? none : String(view.pid),
      uptimeOf(view, now),
      String(view.restarts),
      cpuText(view.cpuPercent),
      memoryText(view),
    ],
    fit: (room) => summaryText(view, { ...summary, room }),
    paint: (title, text) => (dim ? style.paint('dim', text) : paint(view, title, text, style)),
  };
};

const paint = (view: WorkerView, title: string, text: string, style: Style): string => {
  if (!style.colours) return text;
  if (title === 'PHASE') return style.paint(isUnready(view) ? 'yellow' : phaseColour[view.phase], text);
  if (title === 'STATE') return text.replace(barPattern, (full) => style.paint('cyan', full));
  return text.trim() === none ? style.paint('dim', text) : text;
};

/** The full part of a bar; with ASCII signs it stays as it is. */
const barPattern = /█+/;
