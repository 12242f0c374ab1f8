/** `state.progress` as a bar with share, rate and time left. Pure: rates come from samples or from the start of the run. */
import type { Json, WorkerView } from '../../shared/worker.ts';
import type { Style } from './style.ts';
import { bytesText, displayWidth, oneLine, uptimeText } from './text.ts';

export interface Progress {
  readonly done: number;
  readonly total: number | null;
  readonly unit: string | null;
}

/** What `ctx.progress()` left in the state; `null` where there is none, or something else of that name. */
export const progressOf = (state: Readonly<Record<string, Json>> | null): Progress | null => {
  const value = state?.['progress'];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const { done, total = null, unit = null } = value as { readonly [key: string]: Json };
  if (typeof done !== 'number' || !Number.isFinite(done)) return null;
  return {
    done,
    total: typeof total === 'number' && total > 0 ? total : null,
    unit: typeof unit === 'string' && unit !== '' ? unit : null,
  };
};

/** A point of progress seen at a time, in milliseconds. */
export interface Sample {
  readonly at: number;
  readonly done: number;
}

/** Progress that has not moved for this long is slower than its samples say. */
export const stalledAfterMs = 3000;

/** Units a second over the samples; without enough of them over the whole run. */
export const rateOf = (view: WorkerView, samples: readonly Sample[] = [], now: number | null = null): number | null => {
  const first = samples[0];
  const last = samples.at(-1);
  if (first !== undefined && last !== undefined && last.at - first.at >= 1000) {
    const until = now !== null && now - last.at > stalledAfterMs ? now : last.at;
    return Math.max(0, ((last.done - first.done) * 1000) / (until - first.at));
  }
  const progress = progressOf(view.state);
  if (progress === null || view.startedAt === null || view.stateAt === null) return null;
  const elapsedMs = Date.parse(view.stateAt) - Date.parse(view.startedAt);
  return elapsedMs >= 200 && progress.done > 0 ? (progress.done * 1000) / elapsedMs : null;
};

const isBytes = (unit: string | null): boolean => unit !== null && /^(b|bytes?)$/i.test(unit);

const amountText = (amount: number, unit: string | null): string =>
  isBytes(unit) ? bytesText(amount) : Number.isInteger(amount) ? String(amount) : amount.toFixed(1);

const rateText = (rate: number, unit: string | null): string =>
  isBytes(unit) ? `${bytesText(rate)}/s` : `${rate >= 10 ? Math.round(rate) : rate.toFixed(1)}/s`;

export const bar = (share: number, width: number, style: Style): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return style.bar.full.repeat(full) + style.bar.empty.repeat(width - full);
};

export interface ProgressOptions {
  readonly style: Style;
  readonly alive: boolean;
  readonly rate: number | null;
  readonly barWidth?: number;
  /** How long ago `done` was said: the time left has gone on since. */
  readonly ageMs?: number;
  /** Columns there are; what says least goes first. */
  readonly room?: number;
  /** On a screen that is redrawn: numbers keep their places while they grow. */
  readonly steady?: boolean;
}

/** `██████░░░░  62%  620/1000 files  41/s  ETA 9s`; rate and ETA only while it goes on. */
export const progressText = (progress: Progress, options: ProgressOptions): string => {
  const forms = formsOf(progress, options);
  const { room = Infinity } = options;
  return forms.find((form) => room === Infinity || displayWidth(form) <= room) ?? forms.at(-1) ?? '';
};

/** `ETA 59m 59s` has its place on a screen from the start, so that what is shown does not change with it. */
const usualEta = 'ETA 59m 59s'.length;

/** From the fullest to the shortest. */
const formsOf = (
  { done, total, unit }: Progress,
  { style, alive, rate, barWidth = 10, ageMs = 0, steady = false }: ProgressOptions,
): readonly string[] => {
  const named = unit === null || isBytes(unit) ? '' : ` ${oneLine(unit)}`;
  const goes = alive && rate !== null && rate > 0;
  const speed = goes ? rateText(rate, unit).padStart(steady ? 6 : 0) : '';
  if (total === null) {
    const amount = amountText(done, unit);
    return [join(`${amount}${named}`, speed), join(amount, speed), amount];
  }
  const whole = amountText(total, unit);
  const amount = `${amountText(done, unit).padStart(steady ? whole.length : 0)}/${whole}`;
  const leftMs = goes && done < total ? Math.max(0, ((total - done) / rate) * 1000 - ageMs) : null;
  const eta = leftMs === null ? '' : `ETA ${uptimeText(leftMs)}`.padEnd(steady ? usualEta : 0);
  const share = done / total;
  const percent = `${String(Math.floor(share * 100)).padStart(3)}%`;
  const barred = `${bar(share, barWidth, style)} ${percent}`;
  const short = `${bar(share, 5, style)} ${percent}`;
  return [
    join(barred, `${amount}${named}`, speed, eta),
    join(barred, amount, speed, eta),
    join(short, amount, speed, eta),
    join(barred, amount, eta),
    join(short, amount, eta),
    join(barred, eta),
    join(short, eta),
    short,
    percent.trimStart(),
  ];
};

const join = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join('  ');
