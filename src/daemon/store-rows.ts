/** How a record lies in the tables, and back; a cell that is not what it has to be is not believed. Pure. */
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

type Row = Readonly<Record<string, unknown>>;

export const text = (row: Row, column: string): string => {
  const value = row[column];
  if (typeof value !== 'string') throw new Error(`column ${column} holds no text`);
  return value;
};

/** What is in a cell, with the members that nobody could do without. */
const objectIn = <T>(row: Row, column: string, ...members: readonly (keyof T & string)[]): T => {
  let value: unknown;
  try {
    value = JSON.parse(text(row, column));
  } catch {
    // Not in the words of the parser, which quotes what it cannot read.
    throw new Error(`column ${column} holds no JSON`);
  }
  const isWhole = typeof value === 'object' && value !== null && members.every((each) => Object.hasOwn(value, each));
  if (!isWhole) throw new Error(`column ${column} is not whole`);
  return value as T;
};

export const runOfRow = (row: Row): Run =>
  objectIn<Run>(row, 'run', 'id', 'generation', 'kind', 'stage', 'bootId', 'pid', 'startTime', 'exit', 'stop');

export const readableRun = (row: Row): Run | null => {
  try {
    return runOfRow(row);
  } catch {
    return null;
  }
};

export const workerOfRow = (row: Row, run: Run | null): WorkerRecord => {
  const policy = objectIn<PolicyColumn>(row, 'policy', 'settled', 'restarts', 'shortRuns', 'backoff');
  const intent = objectIn<IntentColumn>(row, 'intent', 'intent', 'startedBy', 'stopOrder');
  if (!['up', 'down'].includes(intent.intent?.want)) throw new Error('column intent is not whole');
  const generation = row['generation'];
  if (!Number.isSafeInteger(generation)) throw new Error('column generation holds no number');
  return {
    name: text(row, 'name'),
    spec: objectIn<Spec>(row, 'spec', 'kind', 'env', 'restart', 'graceMs', 'log'),
    caller: objectIn<Caller>(row, 'caller', 'env', 'cwd', 'umask'),
    enabled: row['enabled'] === 1,
    intent: intent.intent,
    startedBy: intent.startedBy,
    stopOrder: intent.stopOrder,
    generation: generation as number,
    run,
    settled: policy.settled,
    reason: policy.reason,
    restarts: policy.restarts,
    shortRuns: policy.shortRuns,
    backoff: policy.backoff,
    leftovers: [],
  };
};

const freshPolicy: PolicyColumn = { settled: 'stopped', reason: null, restarts: 0, shortRuns: 0, backoff: null };
const freshIntent: IntentColumn = { intent: { want: 'down' }, startedBy: null, stopOrder: null };

/** Its definition is all that is wanted of it: the rest may be lost. */
export const definitionOfRow = (row: Row): WorkerRecord => {
  try {
    return workerOfRow(row, null);
  } catch {
    return workerOfRow({ ...row, policy: JSON.stringify(freshPolicy), intent: JSON.stringify(freshIntent) }, null);
  }
};
