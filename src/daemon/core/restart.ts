/**
 * The restart policy, in the contract's numbers: what happens after a run has ended. Pure; the caller brings the
 * chance for the jitter.
 */
import { type Exit, endedWell, type RestartPolicy } from '../../shared/worker.ts';

/** A run that lasted this long was no crash: delays begin again at 0. */
export const stableRunMs = 10_000;
/** The run of a row of short ones that is the last. */
export const crashLoopRuns = 10;
/** An order that so many shims died over is not given again. */
export const mostShimsLost = 3;
const maxDelayMs = 60_000;
const jitterShare = 0.1;

export interface EndedRun {
  readonly policy: RestartPolicy;
  readonly exit: Exit;
  readonly ranMs: number;
  readonly reachedRunning: boolean;
  /** Started by the policy, not by a verb. */
  readonly automatic: boolean;
  readonly afterLoss: boolean;
  /** The shim ended it with itself (service stop, shutdown of the machine). */
  readonly cutOff: boolean;
  readonly shimsLost: number;
  /** Short runs in a row before this one. */
  readonly shortRuns: number;
}

export type Verdict =
  | { readonly kind: 'settle'; readonly phase: 'exited' | 'failed'; readonly reason: string | null }
  | {
      readonly kind: 'restart';
      readonly delayMs: number;
      readonly shortRuns: number;
      /** As an automatic restart, and as one of a row of short runs. */
      readonly counted: boolean;
      /** The run was lost: if the next is lost at once, too, that is its own doing. */
      readonly afterLoss: boolean;
    };

/** After a run that nobody asked to end. `chance` in [0, 1). */
export const afterRun = (run: EndedRun, chance: number): Verdict => {
  // The other workers need a shim that lives.
  if (run.shimsLost >= mostShimsLost) return { kind: 'settle', phase: 'failed', reason: null };
  if (run.policy !== 'no' && isBlameless(run)) {
    return { kind: 'restart', delayMs: 0, shortRuns: run.shortRuns, counted: false, afterLoss: true };
  }
  if (!run.automatic && !run.reachedRunning) return { kind: 'settle', phase: 'failed', reason: 'start-failed' };
  const well = endedWell(run.exit);
  const settled: Verdict = { kind: 'settle', phase: well ? 'exited' : 'failed', reason: null };
  if (run.policy === 'no') return settled;
  if (run.policy === 'on-failure' && well) return settled;
  const afterLoss = run.exit.kind === 'lost';
  const shortRuns = run.ranMs < stableRunMs ? run.shortRuns + 1 : 0;
  if (shortRuns >= crashLoopRuns) return { kind: 'settle', phase: 'failed', reason: 'crash-loop' };
  return { kind: 'restart', delayMs: delayAfter(shortRuns, chance), shortRuns, counted: true, afterLoss };
};

/** Lost with its shim, its host or the machine; but a host that dies again at once is the threads' own doing. */
const isBlameless = (run: EndedRun): boolean =>
  run.cutOff || (run.exit.kind === 'lost' && !(run.afterLoss && run.ranMs < stableRunMs));

/** 0, 1, 2, 4 … 60 s, ± 10 %. */
export const delayAfter = (shortRuns: number, chance: number): number => {
  if (shortRuns <= 1) return 0;
  const delayMs = Math.min(maxDelayMs, 1000 * 2 ** (shortRuns - 2));
  return Math.round(delayMs * (1 + jitterShare * (2 * chance - 1)));
};
