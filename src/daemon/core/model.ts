/**
 * What the control plane knows of a worker: its definition, what is wanted (intent), what was observed (the run),
 * and where the restart policy stands. Immutable records; only `Registry.update` makes new ones.
 * Times ending in `At` are wall clock (for people and the store), those ending in `Mono` are monotonic
 * milliseconds of this daemon's life (for deadlines).
 */
import type { Actor, Caller, Exit, Json, JsonObject, Kind, Leftover, Spec } from '../../shared/worker.ts';

/** `up`: a run of at least this generation should be alive, subject to the restart policy. */
export type Intent = { readonly want: 'down' } | { readonly want: 'up'; readonly atLeast: number };

export type StopReason = 'stop' | 'replace' | 'restart' | 'remove' | 'shutdown';

/** Where the ending of a run on request stands. */
export interface StopProgress {
  readonly reason: StopReason;
  readonly by: Actor | null;
  readonly deadlineAt: number;
  readonly deadlineMono: number;
  /** `asked`: within its grace. `forced`: a module was told by force. `killed`: nothing more can be said to it. */
  readonly step: 'asked' | 'forced' | 'killed';
  /** When the present step began. */
  readonly stepMono: number;
  /** How often SIGKILL was said. */
  readonly kills?: number;
  /** SIGKILL was said, and time enough has passed: what lives on is named in `leftovers` and `reason`. */
  readonly outlived?: boolean;
}

/** `ordered`: in the store, the shim asked. `ended`: the leader is gone, the rest not yet proven empty. */
export type RunStage = 'ordered' | 'spawned' | 'running' | 'ended' | 'closed';

export interface Run {
  /** Also the value of WORKERD_RUN in its processes; never reused. */
  readonly id: string;
  readonly generation: number;
  readonly kind: Kind;
  readonly stage: RunStage;
  /** The run of the thread host it lives in. */
  readonly host: string | null;
  /** Started by the restart policy, not by a verb. */
  readonly automatic: boolean;
  /** Started again because the one before was lost through no fault of its own. */
  readonly afterLoss: boolean;
  readonly orderedAt: number;
  /** Shims that were asked to start it and died before they said what came of that. */
  readonly shimsLost?: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  readonly ranMs: number | null;
  readonly bootId: string;
  readonly pid: number | null;
  /** Clock ticks since boot (/proc/PID/stat field 22): with boot id and pid, who it is. */
  readonly startTime: number | null;
  readonly threadId: number | null;
  readonly reachedRunning: boolean;
  /** Was ready at some time: also of one that is over. */
  readonly ready: boolean;
  readonly readyDeclared: boolean;
  readonly stopSignal: string;
  readonly graceMs: number;
  readonly exit: Exit | null;
  readonly reason: string | null;
  /** The shim ended it because it was itself told to end. */
  readonly cutOff: boolean;
  readonly state: JsonObject | null;
  readonly stateAt: number | null;
  readonly stateRevision: number;
  readonly result: Json;
  readonly startedBy: Actor | null;
  readonly stoppedBy: Actor | null;
  readonly stop: StopProgress | null;
}

/** A process known by more than its pid. */
export interface Identity {
  readonly pid: number;
  readonly startTime: number;
}
export interface KnownLeftover extends Leftover, Identity {
  /** The kernel's letter for what it does, of one that outlived SIGKILL. */
  readonly state?: string;
}

/** A restart that waits for its time. */
export interface Backoff {
  readonly untilAt: number;
  readonly untilMono: number;
  /** The run before was lost. */
  readonly afterLoss: boolean;
  /** Adds to `restarts`; not so where a run was lost through no fault of its own. */
  readonly counted: boolean;
}

export interface WorkerRecord {
  readonly name: string;
  readonly spec: Spec;
  readonly caller: Caller;
  readonly enabled: boolean;
  readonly intent: Intent;
  /** Who last asked for it to be up. */
  readonly startedBy: Actor | null;
  /** The grace and the reason of the last request to end it; consulted while a run is unwanted. */
  readonly stopOrder: StopOrder | null;
  /** The last one used; never reused. */
  readonly generation: number;
  readonly run: Run | null;
  /** Phase while nothing of it is alive. */
  readonly settled: 'stopped' | 'exited' | 'failed';
  readonly reason: string | null;
  /** Automatic restarts since the last verb that started it. */
  readonly restarts: number;
  /** Runs in a row that ended within 10 s. */
  readonly shortRuns: number;
  readonly backoff: Backoff | null;
  readonly leftovers: readonly KnownLeftover[];
}

export interface StopOrder {
  readonly reason: StopReason;
  readonly by: Actor | null;
  /** `null`: the run's own. */
  readonly graceMs: number | null;
  readonly force: boolean;
}

type Staged<S extends RunStage> = Run & { readonly stage: S };
const liveStages: ReadonlySet<RunStage> = new Set<RunStage>(['ordered', 'spawned', 'running']);
/** Its leader may be alive. */
export const isLive = (run: Run | null): run is Staged<'ordered' | 'spawned' | 'running'> =>
  run !== null && liveStages.has(run.stage);
/** Something of it may be alive: not yet proven empty. */
export const isOpen = (run: Run | null): run is Staged<Exclude<RunStage, 'closed'>> =>
  run !== null && run.stage !== 'closed';

/** Sticky: also of a run that has ended. Readiness that was not declared comes with running. */
export const hasReached = (run: Run | null, what: 'running' | 'ready'): boolean =>
  run !== null && (what === 'ready' && run.readyDeclared ? run.ready : run.reachedRunning);

/** It is named, and nobody waits for its end any longer. */
export const outlivesKill = ({ run }: WorkerRecord): boolean => isOpen(run) && run.stop?.outlived === true;

/** The run is not what is wanted (any more). */
export const isUnwanted = (intent: Intent, run: Run): boolean =>
  intent.want === 'down' || run.generation < intent.atLeast;
