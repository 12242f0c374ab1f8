/** One worker as a block: what `status NAME` tells a person. Pure. */
import { type Actor, isAlive, isModule, type WorkerView } from '../../shared/worker.ts';
import { progressOf, progressText, rateOf } from './progress.ts';
import { phaseColour, type Style } from './style.ts';
import { cpuText, endText, memoryText, phaseText } from './table.ts';
import {
  agoText,
  clip,
  displayWidth,
  durationText,
  oneLine,
  pad,
  printable,
  timeText,
  uptimeText,
  valueText,
} from './text.ts';

export interface BlockOptions {
  readonly style: Style;
  readonly now: number;
  readonly width: number | null;
  /** The last lines of its log; `null`: they could not be read. */
  readonly lastLines: readonly string[] | null;
  /** Values of its environment, where they were asked for. */
  readonly showEnv?: boolean;
}

export const actorText = (actor: Actor | null): string => {
  if (actor === null) return '';
  const who = [actor.uid === null ? '' : `uid ${actor.uid}`, actor.pid === null ? '' : `pid ${actor.pid}`].filter(
    (part) => part !== '',
  );
  const via = actor.via === null ? '' : oneLine(actor.via);
  if (via === '') return who.join(', ');
  return who.length === 0 ? via : `${via} (${who.join(', ')})`;
};

export const blockText = (view: WorkerView, options: BlockOptions): string => {
  const { style, now, width } = options;
  const rows = rowsOf(view, options).filter(([, value]) => value !== '');
  const label = Math.max(...rows.map(([name]) => name.length)) + 2;
  const room = width === null ? Infinity : Math.max(20, width - label - 2);
  const color = phaseColour[view.phase];
  const since = isAlive(view.phase) ? view.startedAt : view.endedAt;
  const head = `${style.paint(color, style.bullet)} ${style.paint('bold', oneLine(view.name))} ${style.paint(color, phaseText(view))}`;
  const when = since === null || view.phase === 'backoff' ? '' : ` since ${timeText(since)} (${agoText(since, now)})`;
  const lines = [
    `${head}${when}`,
    ...rows.map(([name, value]) => {
      const shown = name === 'state' || displayWidth(value) <= room ? value : clip(value, room, style.ellipsis);
      return `${style.paint('dim', pad(name, label, 'right'))}  ${shown}`;
    }),
  ];
  if (options.lastLines !== null && options.lastLines.length > 0) {
    lines.push('', ...options.lastLines.map((line) => printable(line, { colours: style.colours })));
  }
  return `${lines.join('\n')}\n`;
};

const rowsOf = (
  view: WorkerView,
  { style, now, showEnv = false }: BlockOptions,
): readonly (readonly [string, string])[] => {
  const { spec } = view;
  const alive = isAlive(view.phase);
  const progress = progressOf(view.state);
  const took =
    view.startedAt !== null && view.endedAt !== null ? Date.parse(view.endedAt) - Date.parse(view.startedAt) : null;
  const last = view.generation > 0 && (!alive || view.phase === 'backoff' || view.exit !== null);
  const state = Object.entries(view.state ?? {}).filter(([key]) => progress === null || key !== 'progress');
  return [
    [isModule(spec) ? 'module' : 'command', definitionText(view)],
    ['directory', spec.cwd === null ? '' : oneLine(spec.cwd)],
    ['user', spec.user === null ? '' : oneLine(spec.user)],
    ['pid', view.pid === null ? '' : `${view.pid}${view.threadId === null ? '' : `, thread ${view.threadId}`}`],
    [
      'uptime',
      alive && view.startedAt !== null && view.phase !== 'backoff' ? uptimeText(now - Date.parse(view.startedAt)) : '',
    ],
    ['cpu', view.cpuPercent === null ? '' : cpuText(view.cpuPercent)],
    ['memory', view.memoryBytes === null ? '' : memoryText(view.memoryBytes)],
    ['run', view.generation === 0 ? 'never started' : `${view.generation}${restartsText(view)}`],
    ['restart', `${spec.restart.policy}${view.enabled ? `, starts with the daemon` : ''}`],
    ['started by', actorText(view.startedBy)],
    ['stopped by', alive ? '' : actorText(view.stoppedBy)],
    ['ended', last ? `${endText(view, now)}${took === null || alive ? '' : ` after ${durationText(took)}`}` : ''],
    ['reason', view.reason === null ? '' : oneLine(view.reason)],
    ...stackRows(view),
    [
      'progress',
      progress === null
        ? ''
        : progressText(progress, { style, alive, rate: alive ? rateOf(view) : null, barWidth: 20 }),
    ],
    ...state.map(
      ([key, value], index) => [index === 0 ? 'state' : '', `${oneLine(key)} = ${valueText(value)}`] as const,
    ),
    ['result', view.result === null ? '' : valueText(view.result)],
    ...view.leftovers.map(
      ({ pid, command }, index) => [index === 0 ? 'left over' : '', `${pid} ${oneLine(command)}`] as const,
    ),
    ...(showEnv ? Object.entries(spec.env) : []).map(
      ([key, value], index) => [index === 0 ? 'environment' : '', oneLine(`${key}=${value}`)] as const,
    ),
  ];
};

const restartsText = ({ restarts }: WorkerView): string =>
  restarts === 0 ? '' : `, ${restarts} automatic restart${restarts === 1 ? '' : 's'}`;

const definitionText = ({ kind, spec }: WorkerView): string => {
  if (spec.kind === 'command') return spec.command.map(shellWord).join(' ');
  return `${oneLine(spec.module)}${spec.export === 'default' ? '' : `#${oneLine(spec.export)}`} (${kind})`;
};

/** As one would write it in a shell. */
const shellWord = (word: string): string =>
  oneLine(/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The first places of the stack of what a module threw; all of it is in its log. */
const stackRows = ({ exit, phase }: WorkerView): readonly (readonly [string, string])[] => {
  if (exit?.kind !== 'error' || exit.stack === null || isAlive(phase)) return [];
  const places = exit.stack.split('\n').filter((line) => line.trimStart().startsWith('at '));
  return places.slice(0, 3).map((line, index) => [index === 0 ? 'thrown' : '', oneLine(line.trim())] as const);
};
