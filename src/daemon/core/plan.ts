/**
 * What to do next about one worker: compares what is wanted with what was observed. Pure; called until it says
 * `rest` or `look-again`. The reconciler carries the action out, writes what came of it, and asks again.
 */
import { isLive, isUnwanted, type Run, type WorkerRecord } from './model.ts';
import { outlivesKillMs } from './unended.ts';

/** How long a module that was told by force may take before its process (a thread: its host) is killed. */
export const forcedMs = 500;
/** SIGKILL cannot be refused, only delayed (uninterruptible sleep): it is said again this often. */
const killAgainMs = 1000;
/** … and this often once it is known to be outlived. */
const killStillMs = 10_000;
/** Leftovers that outlive it have no parent here that would tell of their end. */
const lookAtOutlivedMs = 1000;

export type Action =
  | { readonly kind: 'rest' }
  | { readonly kind: 'look-again'; readonly atMono: number }
  /** Ask it to stop: cooperatively, a command by its stop signal too. */
  | { readonly kind: 'ask' }
  /** The grace is over (or `--force`). */
  | { readonly kind: 'force' }
  | { readonly kind: 'kill' }
  /** SIGKILL is outlived: what lives on is named. */
  | { readonly kind: 'name' }
  /** The leader is gone: see what it left, end that where a stop was asked for, then close the run. */
  | { readonly kind: 'close' }
  /** What an earlier run left alive goes before a new one comes, and on `stop`. */
  | { readonly kind: 'end-leftovers' }
  | { readonly kind: 'spawn'; readonly automatic: boolean };

export interface Wishes {
  /** Somebody asked for the leftovers of a worker that is not alive to be ended. */
  readonly endLeftovers: boolean;
}

const rest: Action = { kind: 'rest' };

export const plan = (worker: WorkerRecord, nowMono: number, wishes: Wishes): Action => {
  const { intent, run, backoff } = worker;
  if (isLive(run)) {
    if (!isUnwanted(intent, run)) return rest;
    // The spawn is under way: what comes of it is told in a moment, and can then be ended.
    if (run.stage === 'ordered') return rest;
    return planStop(worker, nowMono);
  }
  if (run !== null && run.stage === 'ended') return planClose(run, nowMono);
  if (intent.want === 'down') {
    return wishes.endLeftovers && worker.leftovers.length > 0 ? { kind: 'end-leftovers' } : rest;
  }
  const byVerb = run === null || run.generation < intent.atLeast;
  if (!byVerb && backoff === null) return rest;
  if (!byVerb && backoff !== null && nowMono < backoff.untilMono) {
    return { kind: 'look-again', atMono: backoff.untilMono };
  }
  if (worker.leftovers.length > 0) return { kind: 'end-leftovers' };
  return { kind: 'spawn', automatic: !byVerb };
};

const planClose = ({ stop }: Run, nowMono: number): Action => {
  const againMono = stop?.outlived === true ? stop.stepMono + lookAtOutlivedMs : Number.NEGATIVE_INFINITY;
  return nowMono < againMono ? { kind: 'look-again', atMono: againMono } : { kind: 'close' };
};

const planStop = ({ run, stopOrder }: WorkerRecord, nowMono: number): Action => {
  const stop = run?.stop ?? null;
  if (run === null || stop === null) return { kind: 'ask' };
  switch (stop.step) {
    case 'asked':
      if (stopOrder?.force === true || nowMono >= stop.deadlineMono) return { kind: 'force' };
      if (stop.stepMono === Number.NEGATIVE_INFINITY) return { kind: 'ask' };
      return { kind: 'look-again', atMono: stop.deadlineMono };
    case 'forced': {
      const killMono = stop.stepMono + forcedMs;
      return nowMono >= killMono ? { kind: 'kill' } : { kind: 'look-again', atMono: killMono };
    }
    case 'killed': {
      const againMono = stop.stepMono + (stop.outlived === true ? killStillMs : killAgainMs);
      if (nowMono < againMono) return { kind: 'look-again', atMono: againMono };
      return { kind: (stop.kills ?? 1) * killAgainMs >= outlivesKillMs ? 'name' : 'kill' };
    }
    default:
      return stop.step satisfies never;
  }
};
