/** The name of a run, and a run as it begins: nothing of it was observed yet. Pure. */
import type { Actor } from '../../shared/worker.ts';
import type { Run, WorkerRecord } from './model.ts';

/** `<name>.<generation>.<nonce>`: the name may hold dots, the other two cannot. */
export const runId = (name: string, generation: number, nonce: string): string => `${name}.${generation}.${nonce}`;
export const nameOfRun = (run: string): string => run.split('.').slice(0, -2).join('.');

/** Of a worker, what a run is made of. */
type Runnable = Pick<WorkerRecord, 'spec' | 'generation' | 'backoff' | 'startedBy'>;

export interface NewRun {
  readonly id: string;
  readonly host: string | null;
  /** Not asked for by a verb. */
  readonly automatic: boolean;
  readonly now: number;
  readonly bootId: string;
}

/** The next one of this worker. */
export const newRun = (worker: Runnable, { id, host, automatic, now, bootId }: NewRun): Run => ({
  id,
  generation: worker.generation + 1,
  kind: worker.spec.kind,
  stage: 'ordered',
  host,
  automatic,
  afterLoss: automatic && (worker.backoff?.afterLoss ?? false),
  orderedAt: now,
  startedAt: null,
  endedAt: null,
  ranMs: null,
  bootId,
  pid: null,
  startTime: null,
  threadId: null,
  reachedRunning: false,
  ready: false,
  readyDeclared: worker.spec.ready !== null,
  stopSignal: worker.spec.stopSignal,
  graceMs: worker.spec.graceMs,
  exit: null,
  reason: null,
  cutOff: false,
  state: null,
  stateAt: null,
  stateRevision: 0,
  result: null,
  startedBy: automatic ? automaticActor : worker.startedBy,
  stoppedBy: null,
  stop: null,
});

const automaticActor: Actor = { uid: null, pid: null, via: 'restart policy' };
