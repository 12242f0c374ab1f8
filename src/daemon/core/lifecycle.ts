/**
 * Facts fold into the observed run through one exhaustive table. Pure. A pair that the order contract of the shim
 * (shim/protocol.ts) rules out is `impossible`: the caller logs it and asks the shim again, it never guesses.
 */
import type { Exit, Json, JsonObject } from '../../shared/worker.ts';
import type { Run, RunStage } from './model.ts';

export type RunFact =
  | { readonly kind: 'spawned'; readonly at: number; readonly pid: number | null; readonly startTime: number | null }
  | { readonly kind: 'running'; readonly at: number; readonly threadId: number | null }
  | { readonly kind: 'ready'; readonly at: number }
  | {
      readonly kind: 'exited';
      readonly at: number;
      readonly exit: Exit;
      readonly ranMs: number;
      readonly state: JsonObject | null;
      readonly stateAt: number | null;
      readonly stateRevision: number;
      readonly result: Json;
      readonly byShim: boolean;
    }
  /** Group, tree and marker were looked at: nothing is left, or what is left was written down as leftovers. */
  | { readonly kind: 'emptied'; readonly at: number };

export type RunFactKind = RunFact['kind'];
type FactOf<K extends RunFactKind> = Extract<RunFact, { kind: K }>;
type Cell<K extends RunFactKind> = (run: Run, fact: FactOf<K>) => Run | 'impossible';
type Row = { readonly [K in RunFactKind]: Cell<K> };

/** Told again after a reconnection, or overtaken: changes nothing. */
const stay = (run: Run): Run => run;
const impossible = (): 'impossible' => 'impossible';

const spawned: Cell<'spawned'> = (run, fact) => ({
  ...run,
  stage: 'spawned',
  startedAt: fact.at,
  pid: fact.pid,
  startTime: fact.startTime,
});
const running: Cell<'running'> = (run, fact) => ({
  ...run,
  stage: 'running',
  reachedRunning: true,
  threadId: fact.threadId,
  ready: !run.readyDeclared || run.ready,
});
const ready: Cell<'ready'> = (run) => (run.ready ? run : { ...run, ready: true });

const exited: Cell<'exited'> = (run, fact) => ({
  ...run,
  stage: 'ended',
  endedAt: fact.at,
  ranMs: fact.ranMs,
  exit: exitOf(run, fact.exit),
  reason: reasonOf(exitOf(run, fact.exit)),
  ...(fact.stateRevision >= run.stateRevision
    ? { state: fact.state, stateAt: fact.stateAt, stateRevision: fact.stateRevision }
    : {}),
  result: fact.result,
  cutOff: fact.byShim,
  // What it leaves alive is another matter, and has time of its own.
  stop: run.stop === null ? null : { ...run.stop, outlived: false },
});

/** A thread that did not end by terminate() went down with its host, which was killed for its sake: by force, too. */
const exitOf = (run: Run, exit: Exit): Exit =>
  run.kind === 'thread' && exit.kind === 'lost' && run.stop?.step === 'killed' ? { kind: 'terminated' } : exit;

const reasonOf = (exit: Exit): string | null => {
  if (exit.kind === 'lost') return exit.reason;
  if (exit.kind === 'error' && /\b(?:out of memory|ERR_WORKER_OUT_OF_MEMORY)\b/i.test(`${exit.name} ${exit.message}`)) {
    return 'out of memory';
  }
  return null;
};

export const table: { readonly [S in RunStage]: Row } = {
  ordered: { spawned, running: impossible, ready: impossible, exited, emptied: impossible },
  spawned: { spawned: stay, running, ready: impossible, exited, emptied: impossible },
  running: { spawned: stay, running: stay, ready, exited, emptied: impossible },
  ended: {
    spawned: stay,
    running: stay,
    ready: stay,
    exited: stay,
    emptied: (run) => ({ ...run, stage: 'closed' }),
  },
  closed: { spawned: stay, running: stay, ready: stay, exited: stay, emptied: stay },
};

export const fold = (run: Run, fact: RunFact): Run | 'impossible' => {
  const row = table[run.stage];
  switch (fact.kind) {
    case 'spawned':
      return row.spawned(run, fact);
    case 'running':
      return row.running(run, fact);
    case 'ready':
      return row.ready(run, fact);
    case 'exited':
      return row.exited(run, fact);
    case 'emptied':
      return row.emptied(run, fact);
    default:
      return fact satisfies never;
  }
};
