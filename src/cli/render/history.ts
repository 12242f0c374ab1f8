/** Past runs as a table, newest first. Pure. */
import { type Actor, endedWell, type RunView } from '../../shared/worker.ts';
import { type GridColumn, type GridRow, gridLines } from './grid.ts';
import type { Style } from './style.ts';
import { durationText, exitText, oneLine, shortExitText, stateText, timeText, valueText } from './text.ts';

export interface HistoryOptions {
  readonly style: Style;
  readonly width: number | null;
  readonly now: number;
}

const columns: readonly GridColumn[] = [
  { title: 'RUN', align: 'right', gives: 0 },
  { title: 'STARTED', align: 'left', gives: 2 },
  { title: 'TOOK', align: 'right', gives: 3, wants: 18 },
  { title: 'ENDED', align: 'left', gives: 1, flexible: true },
  { title: 'STARTED BY', align: 'left', gives: 5, wants: 18 },
  { title: 'STOPPED BY', align: 'left', gives: 4, wants: 18 },
  { title: 'LAST STATE', align: 'left', gives: 6, wants: 18 },
];
const noActor = '-';

/** Who asked, in short: what they used, and as whom where that is another. */
const byText = (actor: Actor | null): string => {
  if (actor === null) return noActor;
  if (actor.via !== null && actor.via !== '') return oneLine(actor.via);
  return actor.pid === null ? (actor.uid === null ? noActor : `uid ${actor.uid}`) : `pid ${actor.pid}`;
};

const howOf = ({ exit, endedAt, reason, result }: RunView, short: boolean): string => {
  if (exit === null) return endedAt === null ? 'running' : 'unknown';
  const how = short ? shortExitText(exit) : exitText(exit);
  const returned = exit.kind === 'returned' && result !== null ? ` ${valueText(result)}` : '';
  const told = reason === null || how.includes(reason) || (reason === 'start-failed' && exit.kind === 'spawn-failed');
  return `${how}${returned}${told ? '' : ` (${oneLine(reason)})`}`;
};

const rowOf = (run: RunView, { style, now }: HistoryOptions): GridRow => {
  const ended = run.endedAt === null ? now : Date.parse(run.endedAt);
  const state = stateText(run.state);
  return {
    cells: [
      String(run.generation),
      run.startedAt === null ? noActor : timeText(run.startedAt),
      run.startedAt === null ? noActor : durationText(ended - Date.parse(run.startedAt)),
      howOf(run, false),
      byText(run.startedBy),
      byText(run.stoppedBy),
      state === '' ? noActor : state,
    ],
    fit: () => howOf(run, true),
    paint: (title, text) => {
      if (title !== 'ENDED') return text.trim() === noActor ? style.paint('dim', text) : text;
      if (run.exit === null) return style.paint('green', text);
      return endedWell(run.exit) || run.stoppedBy !== null ? text : style.paint('red', text);
    },
  };
};

export const historyText = (runs: readonly RunView[], options: HistoryOptions): string =>
  `${gridLines(
    columns,
    runs.map((run) => rowOf(run, options)),
    options,
  ).join('\n')}\n`;
