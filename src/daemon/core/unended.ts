/** What outlives SIGKILL (uninterruptible, or not ours to signal): how it is named, held on to, and tried again. Pure. */
import type { KnownLeftover, Run, StopProgress, WorkerRecord } from './model.ts';

/** What outlives SIGKILL by this is named, and nobody waits for it any longer. */
export const outlivesKillMs = 5000;

const isUninterruptible = ({ state }: KnownLeftover): boolean => state === 'D';
const mostNamed = 5;

const inWords = (one: KnownLeftover): string => {
  const state =
    one.state === undefined ? '' : `, state ${one.state}${isUninterruptible(one) ? ' (uninterruptible sleep)' : ''}`;
  return `pid ${one.pid} (${one.command})${state}`;
};

export const named = (processes: readonly KnownLeftover[]): string => {
  const more = processes.length - mostNamed;
  return processes.slice(0, mostNamed).map(inWords).join('; ') + (more > 0 ? `; and ${more} more` : '');
};

/** What there is to do about it. */
export const wayOut = (processes: readonly KnownLeftover[]): string =>
  processes.some(isUninterruptible)
    ? 'The kernel lets it go when what it waits for is there (a disk, a file system, a server), or with the machine'
    : 'It may be of a user whom the daemon may not signal: end it as that user, or as root';

/**
 * Named, and still `stopping`: it is closed as what it was once it goes. A run that was to follow does not come later by
 * itself: whoever asked for it is told that there is none.
 */
export const outlived = (
  worker: WorkerRecord,
  left: readonly KnownLeftover[],
  { now, nowMono }: { readonly now: number; readonly nowMono: number },
): WorkerRecord => {
  const { run, stopOrder } = worker;
  if (run === null) return worker;
  const begun: Omit<StopProgress, 'step' | 'stepMono'> = run.stop ?? {
    reason: stopOrder?.reason ?? 'stop',
    by: stopOrder?.by ?? null,
    deadlineAt: now,
    deadlineMono: nowMono,
  };
  const stop: StopProgress = { ...begun, step: 'killed', stepMono: nowMono, outlived: true };
  return {
    ...worker,
    leftovers: left,
    reason: `does not end after SIGKILL: ${named(left)}`,
    intent: { want: 'down' },
    run: { ...run, stop, stoppedBy: run.stoppedBy ?? stop.by },
  };
};

/** Somebody asks again: SIGKILL is said anew, and waited for. */
export const triedAgain = <R extends Run>(run: R): R =>
  run.stop?.outlived === true
    ? { ...run, stop: { ...run.stop, outlived: false, kills: 0, stepMono: Number.NEGATIVE_INFINITY } }
    : run;
