/** What somebody waits for, looked for in a worker as it is: found, not yet (`undefined`), or impossible by now. */
import { WorkerdError } from '../shared/errors.ts';
import type { Params } from '../shared/protocol.ts';
import { isAlive, type WorkerView } from '../shared/worker.ts';
import { hasReached, isOpen, outlivesKill, type Run, type WorkerRecord } from './core/model.ts';
import { phaseOf, viewOf } from './core/view.ts';
import { notFound } from './definitions.ts';
import { startFailed } from './failures.ts';

/** The newest, or the one that was asked for and is yet to come: what an older run reached is not what is waited for. */
export const wantedGeneration = ({ intent, generation }: WorkerRecord): number =>
  intent.want === 'up' ? Math.max(generation, intent.atLeast) : generation;

export const waitWords = { exit: 'ended', running: 'running', ready: 'ready', stopped: 'stopped' } as const;

/** Sticky within a generation; see "What the words mean" in the contract. */
export const lookFor = (
  condition: Params<'wait'>['for'],
  worker: WorkerRecord | null,
  name: string,
  generation: number,
): WorkerRecord | undefined => {
  if (worker === null) {
    throw new WorkerdError('wait.impossible', `${name} was removed`, { name });
  }
  const { run } = worker;
  const alive = isAlive(phaseOf(worker));
  const impossible = (why: string) =>
    new WorkerdError('wait.impossible', `${name} ${why}`, { name, exit: run?.exit ?? null, worker: viewOf(worker) });
  switch (condition) {
    case 'stopped':
      return alive ? undefined : worker;
    case 'exit':
      if (run === null && !alive) throw impossible('never ran');
      return alive ? undefined : worker;
    case 'running':
    case 'ready': {
      if (run === null) return undefined;
      if (hasReached(run, condition) && run.generation >= generation) return worker;
      if (alive) return undefined;
      throw impossible(`ended before it was ${condition}`);
    }
    default:
      return condition satisfies never;
  }
};

/**
 * For whoever started the run of this generation: until it is where it was to be, whatever follows. `earlier` finds a
 * run that was over before anybody looked.
 */
export const startLook = (
  name: string,
  generation: number,
  wait: 'running' | 'ready',
  earlier: (generation: number, newest: Run) => Run | null,
): ((worker: WorkerRecord | null) => WorkerView | undefined) => {
  // Asked to stop before it got there: what it still reaches in its grace is no start (contract: stop in starting).
  let wanted = generation;
  let stopped = false;
  return (worker) => {
    if (worker === null) throw notFound(name, []);
    const { run } = worker;
    if (run === null || run.generation < wanted) {
      // Ended before there was a run of it: stopped again, or what was in its way could not be ended.
      if (worker.intent.want === 'down' && (!isOpen(run) || outlivesKill(worker))) throw startFailed(worker, wanted);
      return undefined;
    }
    // Lost through no fault of its own and started again: that is the run that was asked for.
    if (run.generation === wanted + 1 && run.afterLoss) wanted = run.generation;
    if (run.generation > wanted) {
      // It may have been there while the daemon was replaced, and nobody looked.
      if (hasReached(earlier(wanted, run), wait)) return viewOf(worker);
      throw startFailed(worker, wanted);
    }
    if (!stopped && hasReached(run, wait)) return viewOf(worker);
    if (worker.intent.want === 'down' || (isOpen(run) && run.stop !== null)) stopped = true;
    if (run.stage === 'closed' && worker.backoff?.counted !== false) throw startFailed(worker, wanted);
    return undefined;
  };
};
