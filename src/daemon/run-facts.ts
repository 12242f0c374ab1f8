/** What is said of facts in the daemon's log, and the facts that no shim tells: the daemon's own conclusions. Pure. */
import type { RunFact } from './core/lifecycle.ts';
import type { Run } from './core/model.ts';
import type { Logger } from './ports.ts';

export const logFact = (log: Logger, name: string, run: Run, fact: RunFact): void => {
  const { generation, pid } = run;
  if (fact.kind === 'spawned') log.info({ name, generation, pid }, 'worker started');
  if (fact.kind === 'exited') log.info({ name, generation, pid, exit: brief(run) }, 'worker ended');
};

const brief = ({ exit }: Run): string => {
  if (exit === null) return 'unknown';
  if (exit.kind === 'code') return `code ${exit.code}`;
  if (exit.kind === 'signal') return exit.signal;
  if (exit.kind === 'lost') return `lost: ${exit.reason}`;
  return exit.kind === 'spawn-failed' ? `spawn failed: ${exit.errno}` : exit.kind;
};

/** The shim was asked to start it and said no. */
export const refusedFact = (at: number, error: unknown): RunFact => ({
  kind: 'exited',
  at,
  exit: { kind: 'spawn-failed', errno: 'EPROTO', message: error instanceof Error ? error.message : String(error) },
  ranMs: 0,
  state: null,
  stateAt: null,
  stateRevision: 0,
  result: null,
  byShim: false,
});

/** Nobody saw how it ended, and nothing is made up. */
export const lostFact = (run: Run, reason: string, at: number): RunFact => ({
  kind: 'exited',
  at,
  exit: { kind: 'lost', reason },
  ranMs: run.startedAt === null ? 0 : Math.max(0, at - run.startedAt),
  state: run.state,
  stateAt: run.stateAt,
  stateRevision: run.stateRevision,
  result: null,
  byShim: false,
});
