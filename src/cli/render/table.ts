/** Workers as a table. Pure; columns give way from the right of importance when the terminal is narrow. */
import { isAlive, type WorkerView } from '../../shared/worker.ts';
import { progressOf, progressText, rateOf, type Sample } from './progress.ts';
import { phaseColour, type Style } from './style.ts';
import {
  agoText,
  bytesText,
  clip,
  displayWidth,
  exitText,
  oneLine,
  pad,
  stateText,
  uptimeText,
  valueText,
} from './text.ts';

export interface TableOptions {
  readonly style: Style;
  readonly now: number;
  /** Columns of the terminal; `null`: not one, nothing is cut. */
  readonly width: number | null;
  readonly samples?: ReadonlyMap<string, readonly Sample[]>;
  /** Widths that columns already had: they grow, and never shrink, while a screen is redrawn. */
  readonly widths?: Map<string, number>;
}

interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
  /** The first to go has the highest number; 0 stays. */
  readonly gives: number;
  readonly cell: (view: WorkerView, options: TableOptions) => string;
}

const none = '-';
const columns: readonly Column[] = [
  { title: 'NAME', align: 'left', gives: 0, cell: (view) => oneLine(view.name) },
  { title: 'PHASE', align: 'left', gives: 0, cell: (view) => phaseText(view) },
  { title: 'STATE', align: 'left', gives: 1, cell: (view, options) => summaryText(view, options) },
  { title: 'PID', align: 'right', gives: 2, cell: (view) => (view.pid === null ? none : String(view.pid)) },
  { title: 'UPTIME', align: 'right', gives: 3, cell: (view, { now }) => upText(view, now) },
  { title: 'RESTARTS', align: 'right', gives: 4, cell: (view) => String(view.restarts) },
  { title: 'CPU', align: 'right', gives: 5, cell: (view) => cpuText(view.cpuPercent) },
  { title: 'MEM', align: 'right', gives: 6, cell: (view) => memoryText(view.memoryBytes) },
];

const minStateWidth = 12;
/** What a pipe gets of a state; the whole of it is in `--json`. */
const maxStateWidth = 120;
const gap = '  ';

export const phaseText = (view: WorkerView): string =>
  view.phase === 'running' && view.spec.ready !== null && !view.ready ? 'running (not ready)' : view.phase;

const upText = (view: WorkerView, now: number): string =>
  (view.phase === 'running' || view.phase === 'stopping') && view.startedAt !== null
    ? uptimeText(now - Date.parse(view.startedAt))
    : none;
export const cpuText = (percent: number | null): string =>
  percent === null ? none : `${percent < 99.95 ? percent.toFixed(1) : percent.toFixed(0)}%`;
export const memoryText = (bytes: number | null): string => (bytes === null ? none : bytesText(bytes));

/** What it publishes or its progress; of one that has ended, how. */
export const summaryText = (view: WorkerView, { style, now, samples }: TableOptions): string => {
  const progress = progressOf(view.state);
  const alive = isAlive(view.phase);
  const parts = [
    progress === null
      ? ''
      : progressText(progress, { style, alive, rate: alive ? rateOf(view, samples?.get(view.name)) : null }),
    stateText(view.state, progress === null ? [] : ['progress']),
  ];
  if (!alive || view.phase === 'backoff') parts.push(endText(view, now));
  if (view.leftovers.length > 0) parts.push(`${view.leftovers.length} left over`);
  return parts.filter((part) => part !== '').join(` ${style.dot} `);
};

/** How it ended and when: `killed by SIGKILL 3s ago`, `exit code 1, again in 4s`. */
export const endText = (view: WorkerView, now: number): string => {
  if (view.generation === 0) return 'never started';
  const how =
    view.exit === null
      ? ''
      : view.exit.kind === 'returned' && view.result !== null
        ? `returned ${valueText(view.result)}`
        : exitText(view.exit);
  if (view.phase === 'backoff') {
    const inMs = view.nextStartAt === null ? null : Date.parse(view.nextStartAt) - now;
    return `${how === '' ? 'ended' : how}, again ${inMs === null ? 'soon' : inMs <= 0 ? 'now' : `in ${uptimeText(inMs + 999)}`}`;
  }
  const ago = agoText(view.endedAt, now);
  if (view.phase === 'stopped') return ['stopped', ago].filter((part) => part !== '').join(' ');
  const reason =
    view.reason !== null && view.phase === 'failed' && !how.includes(view.reason) ? ` (${view.reason})` : '';
  return `${how === '' ? 'ended' : how}${ago === '' ? '' : ` ${ago}`}${reason}`;
};

/** Ends with a newline; of an empty list nothing is left but the titles. */
export const tableText = (views: readonly WorkerView[], options: TableOptions): string => {
  const { style, width } = options;
  const rows = views.map((view) => ({ view, cells: new Map(columns.map((c) => [c.title, c.cell(view, options)])) }));
  const natural = new Map(
    columns.map(({ title }) => {
      const own = Math.max(title.length, ...rows.map(({ cells }) => displayWidth(cells.get(title) ?? '')));
      const kept = Math.max(title === 'STATE' ? Math.min(own, maxStateWidth) : own, options.widths?.get(title) ?? 0);
      options.widths?.set(title, kept);
      return [title, kept];
    }),
  );
  const shown = fitting(natural, width);
  const room = width === null ? maxStateWidth : stateRoom(shown, natural, width);
  const widthOf = (title: string): number => Math.min(natural.get(title) ?? 0, title === 'STATE' ? room : Infinity);
  const line = (cells: ReadonlyMap<string, string>, paint: (title: string, text: string) => string): string =>
    shown
      .map(({ title, align }, index) => {
        const text = clip(cells.get(title) ?? '', widthOf(title), style.ellipsis);
        const last = index === shown.length - 1 && align === 'left';
        return paint(title, last ? text : pad(text, widthOf(title), align));
      })
      .join(gap);
  const titles = new Map(columns.map(({ title }) => [title, title]));
  const lines = [
    line(titles, (_title, text) => style.paint('bold', text)),
    ...rows.map(({ view, cells }) =>
      line(cells, (title, text) => (title === 'PHASE' ? style.paint(phaseColour[view.phase], text) : text)),
    ),
  ];
  return `${lines.join('\n')}\n`;
};

/** The columns that fit. The state goes last: it is what the worker itself has to say. */
const fitting = (natural: ReadonlyMap<string, number>, width: number | null): readonly Column[] => {
  let shown = columns;
  if (width === null) return shown;
  for (let gives = 6; gives > 0; gives -= 1) {
    if (stateRoom(shown, natural, width) >= Math.min(minStateWidth, natural.get('STATE') ?? 0)) break;
    shown = shown.filter((column) => column.gives !== gives);
  }
  return shown;
};

const stateRoom = (shown: readonly Column[], natural: ReadonlyMap<string, number>, width: number): number =>
  shown
    .filter((column) => column.title !== 'STATE')
    .reduce((room, column) => room - (natural.get(column.title) ?? 0) - gap.length, width);
