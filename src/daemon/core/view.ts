/** A record as users see it. Pure: usage and what env to show are brought by the caller. */
import { isAlive, type Leftover, type Phase, type RunView, type Spec, type WorkerView } from '../../shared/worker.ts';
import { isLive, isOpen, isUnwanted, type Run, type WorkerRecord } from './model.ts';

let [lastMs, lastText] = [0, new Date(0).toISOString()];

/** The last one is remembered: many events have the same. */
export const timestamp = (ms: number | null): string | null => {
  if (ms === null) return null;
  if (ms !== lastMs) [lastMs, lastText] = [ms, new Date(ms).toISOString()];
  return lastText;
};

export const phaseOf = (worker: WorkerRecord): Phase => {
  const { run, intent } = worker;
  if (isOpen(run)) {
    // Also of one that has ended meanwhile: it runs no more than it did before.
    if (run.stop !== null || isUnwanted(intent, run)) return 'stopping';
    return run.reachedRunning ? 'running' : 'starting';
  }
  if (intent.want === 'up') {
    if (run === null || run.generation < intent.atLeast) return 'starting';
    if (worker.backoff !== null) return 'backoff';
  }
  return worker.settled;
};

/** Nothing of the newest run writes any more; what it left alive may. */
export const isOver = (worker: WorkerRecord): boolean => {
  const phase = phaseOf(worker);
  return (!isAlive(phase) || phase === 'backoff') && worker.leftovers.length === 0;
};

export interface Usage {
  readonly cpuPercent: number;
  readonly memoryBytes: number;
}

export interface ViewOptions {
  readonly usage?: Usage | null;
  readonly showEnv?: boolean;
}

const hiddenValue = '***';

const shownSpec = (spec: Spec, showEnv: boolean): Spec =>
  showEnv ? spec : { ...spec, env: Object.fromEntries(Object.keys(spec.env).map((key) => [key, hiddenValue])) };

export const viewOf = (worker: WorkerRecord, options: ViewOptions = {}): WorkerView => {
  const { run } = worker;
  const phase = phaseOf(worker);
  const live = isLive(run);
  // Until a run is proven empty it has not ended, and its end is not told.
  const ended = isOpen(run) ? null : run;
  return {
    name: worker.name,
    kind: worker.spec.kind,
    phase,
    ready: live && run.ready,
    enabled: worker.enabled,
    generation: worker.generation,
    pid: live ? run.pid : null,
    threadId: live ? run.threadId : null,
    startedAt: timestamp(run?.startedAt ?? null),
    endedAt: timestamp(ended?.endedAt ?? null),
    nextStartAt: phase === 'backoff' ? timestamp(worker.backoff?.untilAt ?? null) : null,
    restarts: worker.restarts,
    exit: ended?.exit ?? null,
    reason: worker.reason ?? ended?.reason ?? null,
    state: run?.state ?? null,
    stateAt: timestamp(run?.stateAt ?? null),
    stateRevision: run?.stateRevision ?? 0,
    result: ended?.result ?? null,
    leftovers: worker.leftovers.map(({ pid, command }): Leftover => ({ pid, command })),
    cpuPercent: options.usage?.cpuPercent ?? null,
    memoryBytes: options.usage?.memoryBytes ?? null,
    startedBy: run?.startedBy ?? null,
    stoppedBy: run?.stoppedBy ?? null,
    spec: shownSpec(worker.spec, options.showEnv ?? false),
  };
};

export const runViewOf = (run: Run): RunView => ({
  generation: run.generation,
  startedAt: timestamp(run.startedAt),
  endedAt: timestamp(run.endedAt),
  exit: run.exit,
  reason: run.reason,
  state: run.state,
  result: run.result,
  startedBy: run.startedBy,
  stoppedBy: run.stoppedBy,
});
