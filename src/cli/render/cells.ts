/** One worker in short: its phase, progress and state, last exit and use, as cells of a table and words of a line. Pure. */
import { isAlive, type WorkerView } from '../../shared/worker.ts';
import { progressOf, progressText, rateOf, type Sample, stalledAfterMs } from './progress.ts';
import type { Style } from './style.ts';
import {
  agoText,
  bytesText,
  clip,
  displayWidth,
  oneLine,
  ordinal,
  shortExitText,
  stateText,
  uptimeText,
  valueText,
} from './text.ts';

export interface SummaryOptions {
  readonly style: Style;
  readonly now: number;
  readonly samples?: ReadonlyMap<string, readonly Sample[]> | undefined;
  /** On a screen that is redrawn: numbers keep their places. */
  readonly steady?: boolean;
  /** Columns there are for it. */
  readonly room?: number;
}

export const none = '-';

/** Of one that runs and has yet to say that it is ready. */
export const isUnready = (view: WorkerView): boolean =>
  view.phase === 'running' && view.spec.ready !== null && !view.ready;

export const uptimeOf = (view: WorkerView, now: number): string =>
  (view.phase === 'running' || view.phase === 'stopping') && view.startedAt !== null
    ? uptimeText(now - Date.parse(view.startedAt))
    : none;

export const cpuText = (percent: number | null): string =>
  percent === null ? none : `${percent < 99.95 ? percent.toFixed(1) : percent.toFixed(0)}%`;

/** A thread has no memory of its own: that of its host is shared with others. */
export const memoryText = ({
  kind,
  phase,
  memoryBytes,
}: Pick<WorkerView, 'kind' | 'phase' | 'memoryBytes'>): string => {
  if (memoryBytes !== null) return bytesText(memoryBytes);
  return kind === 'thread' && isAlive(phase) ? 'thread' : none;
};

const leftText = ({ leftovers, phase }: WorkerView): string => {
  if (leftovers.length === 0) return '';
  return phase === 'stopping' ? 'outlives SIGKILL' : `${leftovers.length} left over`;
};

/** How the last run ended, what it publishes, its progress, what it left behind: the most telling first. */
export const summaryText = (view: WorkerView, options: SummaryOptions): string => {
  const { style, room = Infinity } = options;
  const parts = [
    () => (isUnready(view) ? 'not ready yet' : ''),
    () => leftText(view),
    (left: number) => endPart(view, options.now, left),
    (left: number) => progressPart(view, options, left),
    () => stateText(view.state, progressOf(view.state) === null ? [] : ['progress']),
  ];
  let text = '';
  for (const part of parts) {
    const before = text === '' ? '' : ` ${style.dot} `;
    const left = room === Infinity ? room : room - displayWidth(text + before);
    const own = part(left);
    if (own === '') continue;
    // A stump of a few letters says nothing.
    if (text !== '' && left < leastPart && left < displayWidth(own)) break;
    text += before + clip(own, left, style.ellipsis);
  }
  return text;
};

const leastPart = 8;

const progressPart = (
  view: WorkerView,
  { style, now, samples, steady = false }: SummaryOptions,
  room: number,
): string => {
  const progress = progressOf(view.state);
  if (progress === null) return '';
  const alive = isAlive(view.phase);
  const own = samples?.get(view.name);
  const rate = alive ? rateOf(view, own, now) : null;
  const saidAt = own?.at(-1)?.at ?? now;
  const ageMs = now - saidAt;
  return progressText(progress, {
    style,
    alive,
    rate,
    steady,
    room,
    ageMs: ageMs > stalledAfterMs ? 0 : Math.max(0, ageMs),
  });
};

/** Where not all of it has room, what counts more: when it restarts, or how it ended. */
const endPart = (view: WorkerView, now: number, room: number): string => {
  if (isAlive(view.phase) && view.phase !== 'backoff') return '';
  const whole = endText(view, now);
  if (view.generation === 0 || view.phase === 'stopped') return whole;
  const short =
    view.phase === 'backoff'
      ? [againText(view, now), againText(view, now).replace(/ \(.*/, '')]
      : view.reason === 'crash-loop'
        ? [`${howText(view)}, gave up (crash-loop)`, 'gave up (crash-loop)', 'gave up']
        : [howText(view), howText(view).replace('could not start: ', '')];
  return [whole, ...short].find((text) => displayWidth(text) <= room) ?? short.at(-1) ?? whole;
};

const howText = ({ exit, result }: WorkerView): string => {
  if (exit === null) return 'ended';
  return exit.kind === 'returned' && result !== null ? `returned ${valueText(result)}` : shortExitText(exit);
};

/** How it ended and when: `killed by SIGKILL 3s ago`, `exit code 1, restarts in 4s (3rd time)`. */
export const endText = (view: WorkerView, now: number): string => {
  if (view.generation === 0) return 'never started';
  const { exit } = view;
  const how = howText(view);
  if (view.phase === 'backoff') return `${how}, ${againText(view, now)}`;
  const ago = agoText(view.endedAt, now);
  if (view.phase === 'stopped') {
    const forced = exit?.kind === 'terminated' || (exit?.kind === 'signal' && exit.signal === 'SIGKILL');
    return `stopped${ago === '' ? '' : ` ${ago}`}${forced ? ` (${how})` : ''}`;
  }
  const bare = exit === null || exit.kind === 'signal' || exit.kind === 'terminated' || how === 'returned';
  return `${how}${ago === '' ? '' : `${bare ? ' ' : ', '}${ago}`}${whyText(view, how)}`;
};

/** `restarts in 4s (3rd time)`. */
export const againText = ({ nextStartAt, restarts }: WorkerView, now: number): string => {
  const inMs = nextStartAt === null ? null : Date.parse(nextStartAt) - now;
  const when = inMs === null ? 'soon' : inMs <= 0 ? 'now' : `in ${uptimeText(inMs + 999)}`;
  return `restarts ${when} (${ordinal(restarts + 1)} time)`;
};

/** Why it failed, where the way it ended does not say so. */
const whyText = ({ phase, reason, restarts, exit }: WorkerView, how: string): string => {
  if (phase !== 'failed' || reason === null || how.includes(reason)) return '';
  if (reason === 'crash-loop') return `, gave up after ${restarts} restart${restarts === 1 ? '' : 's'} (crash-loop)`;
  if (reason === 'start-failed' && (exit?.kind === 'spawn-failed' || exit?.kind === 'error')) return '';
  return ` (${oneLine(reason)})`;
};

/** `3 running, 1 in backoff, 2 failed`. */
export const totalsText = (views: Iterable<WorkerView>): string => {
  const counts = new Map<string, number>();
  for (const { phase } of views) counts.set(phase, (counts.get(phase) ?? 0) + 1);
  const order = ['running', 'starting', 'stopping', 'backoff', 'failed', 'exited', 'stopped'];
  return order
    .filter((phase) => counts.has(phase))
    .map((phase) => `${counts.get(phase)} ${phase === 'backoff' ? 'in backoff' : phase}`)
    .join(', ');
};
