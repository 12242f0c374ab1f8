/** How a record lies in the tables, and back. Pure. */
import type { Caller, Spec } from '../shared/worker.ts';
import type { Backoff, Intent, Run, StopOrder, WorkerRecord } from './core/model.ts';

/** Column `policy`: where the restart policy stands. */
export interface PolicyColumn {
  readonly settled: WorkerRecord['settled'];
  readonly reason: string | null;
  readonly restarts: number;
  readonly shortRuns: number;
  readonly backoff: Backoff | null;
}
/** Column `intent`. */
export interface IntentColumn {
  readonly intent: Intent;
  readonly startedBy: WorkerRecord['startedBy'];
  readonly stopOrder: StopOrder | null;
}

export const text = (row: Readonly<Record<string, unknown>>, column: string): string => {
  const value = row[column];
  if (typeof value !== 'string') throw new Error(`registry.db: column ${column} holds no text`);
  return value;
};

export const workerOfRow = (row: Readonly<Record<string, unknown>>, run: Run | null): WorkerRecord => {
  const policy = JSON.parse(text(row, 'policy')) as PolicyColumn;
  const intent = JSON.parse(text(row, 'intent')) as IntentColumn;
  return {
    name: text(row, 'name'),
    spec: JSON.parse(text(row, 'spec')) as Spec,
    caller: JSON.parse(text(row, 'caller')) as Caller,
    enabled: row['enabled'] === 1,
    intent: intent.intent,
    startedBy: intent.startedBy,
    stopOrder: intent.stopOrder,
    generation: Number(row['generation']),
    run,
    settled: policy.settled,
    reason: policy.reason,
    restarts: policy.restarts,
    shortRuns: policy.shortRuns,
    backoff: policy.backoff,
    leftovers: [],
  };
};
