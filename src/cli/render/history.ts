/** Past runs as a table, newest first. Pure. */
import type { RunView } from '../../shared/worker.ts';
import { actorText } from './block.ts';
import type { Style } from './style.ts';
import { clip, displayWidth, durationText, exitText, oneLine, pad, stateText, timeText, valueText } from './text.ts';

export interface HistoryOptions {
  readonly style: Style;
  readonly width: number | null;
  readonly now: number;
}

const titles = ['RUN', 'STARTED', 'TOOK', 'ENDED', 'BY', 'LAST STATE'] as const;

const cellsOf = (run: RunView, now: number): readonly string[] => {
  const ended = run.endedAt === null ? now : Date.parse(run.endedAt);
  const how = run.exit === null ? (run.endedAt === null ? 'running' : 'unknown') : exitText(run.exit);
  const returned = run.exit?.kind === 'returned' && run.result !== null ? ` ${valueText(run.result)}` : '';
  const reason = run.reason === null || how.includes(run.reason) ? '' : ` (${oneLine(run.reason)})`;
  return [
    String(run.generation),
    run.startedAt === null ? '-' : timeText(run.startedAt),
    run.startedAt === null ? '-' : durationText(ended - Date.parse(run.startedAt)),
    `${how}${returned}${reason}`,
    [actorText(run.startedBy), run.stoppedBy === null ? '' : `stopped: ${actorText(run.stoppedBy)}`]
      .filter((part) => part !== '')
      .join('; '),
    clip(stateText(run.state), 60),
  ];
};

export const historyText = (runs: readonly RunView[], { style, width, now }: HistoryOptions): string => {
  const rows = runs.map((run) => cellsOf(run, now));
  const widths = titles.map((title, index) =>
    Math.max(title.length, ...rows.map((row) => displayWidth(row[index] ?? ''))),
  );
  const line = (cells: readonly string[]): string => {
    const text = cells
      .map((cell, index) =>
        index === titles.length - 1
          ? cell
          : pad(cell, widths[index] ?? 0, index === 0 || index === 2 ? 'right' : 'left'),
      )
      .join('  ')
      .trimEnd();
    return width === null ? text : clip(text, width, style.ellipsis);
  };
  return `${[style.paint('bold', line(titles)), ...rows.map(line)].join('\n')}\n`;
};
