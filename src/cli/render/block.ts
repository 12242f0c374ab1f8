/** One worker as a block: what `status NAME` tells a person. Pure. */
import { type Actor, isAlive, isModule, type Json, type JsonObject, type WorkerView } from '../../shared/worker.ts';
import { againText, cpuText, isUnready, memoryText, none } from './cells.ts';
import { hintsFor } from './hints.ts';
import { progressOf, progressText, rateOf } from './progress.ts';
import { stateLines } from './state-lines.ts';
import { phaseColour, type Style } from './style.ts';
import {
  agoText,
  clip,
  displayWidth,
  durationText,
  exitText,
  oneLine,
  pad,
  printable,
  timeText,
  valueText,
} from './text.ts';

export interface BlockLine {
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

export interface BlockOptions {
  readonly style: Style;
  readonly now: number;
  readonly width: number | null;
  /** The last lines of its log; `null`: they could not be read. */
  readonly lastLines: readonly BlockLine[] | null;
  /** Values of its environment, where they were asked for. */
  readonly showEnv?: boolean;
}

type Row = readonly [label: string, value: string];

const mostStateLines = 40;
const barWidth = 20;

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
  const { style, width } = options;
  const label = Math.max(...labels(view, options).map((name) => name.length)) + 2;
  const room = width === null ? Infinity : Math.max(20, width - label - 2);
  const rows = rowsOf(view, options, room).filter(([, value]) => value !== '');
  const cut = (text: string): string => (width === null ? text : clip(text, width, style.ellipsis));
  const lines = [
    headOf(view, options),
    ...rows.map(([name, value]) => {
      const shown = displayWidth(value) <= room ? value : clip(value, room, style.ellipsis);
      return `${style.paint('dim', pad(name, label, 'right'))}  ${shown}`;
    }),
    ...logLines(view, options),
    ...hintsFor(view).map(({ why, command }, index) => {
      const text = cut(`${style.arrow} ${why}${command === null ? '' : `: ${command}`}`);
      return `${index === 0 ? '\n' : ''}${style.paint('dim', text)}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
};

/** `● web running since 2026-01-02 03:03:03 (1m 2s ago)`. */
const headOf = (view: WorkerView, { style, now, width }: BlockOptions): string => {
  const colour = isUnready(view) ? 'yellow' : phaseColour[view.phase];
  const since = isAlive(view.phase) ? view.startedAt : view.endedAt;
  const name = oneLine(view.name);
  const when =
    view.generation === 0
      ? ', never started'
      : view.phase === 'backoff'
        ? `, ${againText(view, now)}`
        : `${isUnready(view) ? ' (not ready yet)' : ''}${since === null ? '' : ` since ${timeText(since)} (${agoText(since, now)})`}`;
  const left = displayWidth(style.bullet) + displayWidth(name) + view.phase.length + 2;
  const shown = width === null ? when : clip(when, Math.max(0, width - left), style.ellipsis);
  return `${style.paint(colour, style.bullet)} ${style.paint('bold', name)} ${style.paint(colour, view.phase)}${shown}`;
};

/** What it says and how it fares first, then what it is, then who asked for it. */
const rowsOf = (view: WorkerView, options: BlockOptions, room: number): readonly Row[] => [
  ...endRows(view, options),
  ...stateRows(view, options, room),
  ...leftoverRows(view),
  ...useRows(view),
  ...definitionRows(view, options),
  ['started by', actorText(view.startedBy)],
  ['stopped by', isAlive(view.phase) ? '' : actorText(view.stoppedBy)],
];

/** The labels that may come, for one width of all. */
const labels = ({ spec }: WorkerView, { showEnv = false }: BlockOptions): readonly string[] => [
  'started by',
  ...(showEnv && Object.keys(spec.env).length > 0 ? ['environment'] : []),
];

const endRows = (view: WorkerView, { now }: BlockOptions): readonly Row[] => {
  const { exit, reason, startedAt, endedAt } = view;
  const alive = isAlive(view.phase);
  // Of one that lives there is a reason where it cannot be ended.
  if (alive && exit === null) return [['reason', reason === null ? '' : oneLine(reason)]];
  if (view.generation === 0) return [];
  const parts = [
    exit === null ? 'ended' : exitText(exit),
    alive || endedAt === null ? '' : agoText(endedAt, now),
    startedAt === null || endedAt === null ? '' : `ran ${durationText(Date.parse(endedAt) - Date.parse(startedAt))}`,
  ];
  const why =
    reason === 'crash-loop'
      ? `gave up after ${view.restarts} restarts: it ended too often too soon (crash-loop)`
      : reason === null || (reason === 'start-failed' && exit?.kind !== 'code' && exit?.kind !== 'signal')
        ? ''
        : oneLine(reason);
  return [
    [alive ? 'last exit' : 'ended', parts.filter((part) => part !== '').join(', ')],
    ['reason', why],
    ...stackRows(view),
  ];
};

/** The first places of the stack of what a module threw; all of it is in its log. */
const stackRows = ({ exit, phase }: WorkerView): readonly Row[] => {
  if (exit?.kind !== 'error' || exit.stack === null || isAlive(phase)) return [];
  const places = exit.stack.split('\n').filter((line) => line.trimStart().startsWith('at '));
  return labelled(
    'thrown',
    places.slice(0, 3).map((line) => oneLine(line.trim())),
  );
};

const stateRows = (view: WorkerView, { style, now }: BlockOptions, room: number): readonly Row[] => {
  const alive = isAlive(view.phase);
  const progress = progressOf(view.state);
  const state = Object.fromEntries(
    Object.entries(view.state ?? {}).filter(([key]) => progress === null || key !== 'progress'),
  );
  const ageMs = view.stateAt === null ? 0 : Math.max(0, now - Date.parse(view.stateAt));
  const whole = `workerctl status ${oneLine(view.name)} --json`;
  return [
    [
      'progress',
      progress === null
        ? ''
        : progressText(progress, { style, alive, rate: alive ? rateOf(view) : null, barWidth, ageMs, room }),
    ],
    ...labelled('state', stateLines(state, { room, most: mostStateLines, whole })),
    ...labelled('result', resultLines(view.result, room, whole)),
  ];
};

const resultLines = (result: Json, room: number, whole: string): readonly string[] => {
  if (result === null) return [];
  const line = valueText(result);
  if (displayWidth(line) <= room || typeof result !== 'object' || Array.isArray(result)) return [line];
  return stateLines(result as JsonObject, { room, most: mostStateLines, whole });
};

const leftoverRows = ({ leftovers, phase }: WorkerView): readonly Row[] =>
  labelled(
    phase === 'stopping' ? 'lives on' : 'left over',
    leftovers.map(({ pid, command }) => `${pid} ${oneLine(command)}`),
  );

const useRows = (view: WorkerView): readonly Row[] => {
  const { pid, threadId, cpuPercent, restarts, generation } = view;
  const shared = view.kind === 'thread' && pid !== null && view.memoryBytes === null;
  const memory = memoryText(view);
  return [
    ['pid', pid === null ? '' : `${pid}${threadId === null ? '' : `, thread ${threadId}`}`],
    ['cpu', cpuPercent === null ? '' : cpuText(cpuPercent)],
    [
      'memory',
      shared ? 'a thread has none of its own; it shares that of its host process' : memory === none ? '' : memory,
    ],
    [
      'run',
      generation === 0
        ? ''
        : `${generation}${restarts === 0 ? '' : `, ${restarts} automatic restart${restarts === 1 ? '' : 's'}`}`,
    ],
  ];
};

const definitionRows = ({ kind, spec, enabled }: WorkerView, { showEnv = false }: BlockOptions): readonly Row[] => [
  [
    isModule(spec) ? 'module' : 'command',
    isModule(spec)
      ? `${oneLine(spec.module)}${spec.export === 'default' ? '' : `#${oneLine(spec.export)}`} (${kind})`
      : spec.command.map(shellWord).join(' '),
  ],
  ['directory', spec.cwd === null ? '' : oneLine(spec.cwd)],
  ['user', spec.user === null ? '' : oneLine(spec.user)],
  ['restart', `${spec.restart.policy}${enabled ? ', starts with the daemon' : ''}`],
  ...labelled('environment', showEnv ? Object.entries(spec.env).map(([key, value]) => oneLine(`${key}=${value}`)) : []),
];

const labelled = (label: string, values: readonly string[]): readonly Row[] =>
  values.map((value, index) => [index === 0 ? label : '', value] as const);

/** As one would write it in a shell. */
const shellWord = (word: string): string =>
  oneLine(/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

const logLines = (view: WorkerView, { style, width, lastLines }: BlockOptions): readonly string[] => {
  if (lastLines === null || view.generation === 0) return [];
  if (lastLines.length === 0) return isAlive(view.phase) ? [] : ['', style.paint('dim', 'it wrote nothing')];
  const marked = lastLines.some(({ stream }) => stream === 'stderr');
  const heading = `its last ${lastLines.length === 1 ? 'line' : 'lines'}${marked ? ' (! went to stderr)' : ''}:`;
  return [
    '',
    style.paint('dim', heading),
    ...lastLines.map(({ stream, text }) => {
      const shown = printable(text, { colours: style.colours });
      const mark = stream === 'stderr' ? `${style.paint('red', '!')} ` : '';
      const room = width === null ? Infinity : Math.max(1, width - (mark === '' ? 0 : 2));
      // Colours of its own cannot be cut; such a line is left to the terminal.
      return `${mark}${shown.includes('\x1b') ? shown : clip(shown, room, style.ellipsis)}`;
    }),
  ];
};
