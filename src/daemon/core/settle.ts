/** What becomes of a worker when its run has been closed: stopped, replaced, restarted or at rest. Pure. */
import type { KnownLeftover, WorkerRecord } from './model.ts';
import { afterRun } from './restart.ts';

export interface Closing {
  readonly leftovers: readonly KnownLeftover[];
  readonly now: number;
  readonly nowMono: number;
  /** In [0, 1): for the jitter. */
  readonly chance: number;
}

/** `worker.run` is closed already. */
export const settle = (worker: WorkerRecord, closing: Closing): WorkerRecord => {
  const { run, intent } = worker;
  const closed: WorkerRecord = { ...worker, leftovers: closing.leftovers };
  if (run === null) return closed;
  if (intent.want === 'down') return { ...closed, settled: 'stopped', reason: null, backoff: null };
  // Somebody asked for a newer run already: the plan starts it.
  if (run.generation < intent.atLeast) return { ...closed, settled: 'stopped', reason: null, backoff: null };
  const verdict = afterRun(
    {
      policy: worker.spec.restart.policy,
      exit: run.exit ?? { kind: 'lost', reason: 'unknown' },
      ranMs: run.ranMs ?? 0,
      reachedRunning: run.reachedRunning,
      automatic: run.automatic,
      afterLoss: run.afterLoss,
      cutOff: run.cutOff,
      shimsLost: run.shimsLost ?? 0,
      shortRuns: worker.shortRuns,
    },
    closing.chance,
  );
  if (verdict.kind === 'settle') {
    return {
      ...closed,
      // For `history` too: the exit of the last of ten short runs tells nothing of the nine before.
      run: { ...run, reason: run.reason ?? verdict.reason },
      // What has ended for good is not wanted any more, or the next daemon would start it again.
      intent: { want: 'down' },
      settled: verdict.phase,
      reason: verdict.reason ?? run.reason,
      backoff: null,
    };
  }
  return {
    ...closed,
    shortRuns: verdict.shortRuns,
    reason: run.reason,
    backoff: {
      untilAt: closing.now + verdict.delayMs,
      untilMono: closing.nowMono + verdict.delayMs,
      afterLoss: verdict.afterLoss,
      counted: verdict.counted,
    },
  };
};
