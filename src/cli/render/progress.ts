/** `state.progress` as a bar with share, rate and time left. Pure: rates come from samples or from the start of the run. */
import type { Json, WorkerView } from '../../shared/worker.ts';
import type { Style } from './style.ts';
import { bytesText, oneLine, uptimeText } from './text.ts';

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

/** Units a second over the samples; without enough of them over the whole run. */
export const rateOf = (view: WorkerView, samples: readonly Sample[] = []): number | null => {
  const first = samples[0];
  const last = samples.at(-1);
  if (first !== undefined && last !== undefined && last.at - first.at >= 1000) {
    return Math.max(0, ((last.done - first.done) * 1000) / (last.at - first.at));
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
}

/** `██████░░░░  62%  620/1000 files  41/s  ETA 9s`; rate and ETA only while it goes on. */
export const progressText = (progress: Progress, { style, alive, rate, barWidth = 10 }: ProgressOptions): string => {
  const { done, total, unit } = progress;
  const parts: string[] = [];
  if (total !== null) {
    const share = done / total;
    parts.push(`${bar(share, barWidth, style)} ${String(Math.floor(share * 100)).padStart(3)}%`);
  }
  const named = unit === null || isBytes(unit) ? '' : ` ${oneLine(unit)}`;
  parts.push(`${amountText(done, unit)}${total === null ? '' : `/${amountText(total, unit)}`}${named}`);
  if (alive && rate !== null && rate > 0) {
    parts.push(rateText(rate, unit));
    if (total !== null && done < total) parts.push(`ETA ${uptimeText(((total - done) / rate) * 1000)}`);
  }
  return parts.join('  ');
};
