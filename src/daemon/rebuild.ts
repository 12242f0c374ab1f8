/**
 * A registry that was lost, or is an old copy, is completed from what the shim knows: with every order the daemon leaves
 * there what it would need to know again (`keep`), and takes it back for runs that its registry does not know. Pure.
 */
import type { Caller, Spec } from '../shared/worker.ts';
import type { Run, WorkerRecord } from './core/model.ts';
import { nameOfRun, newRun } from './core/new-run.ts';
import type { RunStatus } from './shim/protocol.ts';

/** A longer one (an environment of hundreds of kilobytes) would not fit into the order's line; it is done without. */
const maxKeepLength = 200_000;

/** Texts for the shim to keep: the caller, which many workers share and the shim keeps once, and the rest. */
export const keepOf = (worker: WorkerRecord, run: Run): readonly string[] => {
  const { caller, ...rest } = worker;
  const bare: Run = { ...run, state: null, stateAt: null, stateRevision: 0, result: null, stop: null };
  const record = { ...rest, generation: run.generation, leftovers: [], stopOrder: null, backoff: null, run: bare };
  const texts = [JSON.stringify(caller), JSON.stringify(record)];
  return texts.reduce((sum, text) => sum + text.length, 0) > maxKeepLength ? [] : texts;
};

/** Observed now: what was acknowledged to the daemon of that registry is not told again. */
const runAsIs = (run: Run, status: RunStatus): Run => {
  const { pid, startTime } = status;
  if (pid === null && !status.running) return { ...run, stage: 'ordered' };
  return {
    ...run,
    stage: status.running ? 'running' : 'spawned',
    pid,
    startTime,
    startedAt: run.startedAt ?? run.orderedAt,
    reachedRunning: status.running,
    ready: status.ready || (status.running && !run.readyDeclared),
  };
};

/** The worker whose run this is; `null` where nothing of it was kept. */
export const recordFrom = (status: RunStatus, keep: readonly string[]): WorkerRecord | null => {
  const [caller, rest] = keep;
  if (caller === undefined || rest === undefined) return null;
  const record = { ...(JSON.parse(rest) as Omit<WorkerRecord, 'caller'>), caller: JSON.parse(caller) as Caller };
  if (record.run === null || record.run.id !== status.run) return null;
  return { ...record, run: runAsIs(record.run, status) };
};

export interface Seen {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly bootId: string;
  readonly now: number;
}

const shared = {
  params: null,
  env: {},
  inheritEnv: true,
  cwd: null,
  umask: null,
  user: null,
  restart: { policy: 'no' as const },
  graceMs: 10_000,
  stopSignal: 'SIGTERM',
  stdin: false,
  ready: null,
  log: { maxBytes: 10 * 1024 * 1024, files: 5 },
};

/** Where nothing was kept: as it looks from outside, so that it is listed and can be stopped. */
export const recordSeen = (status: RunStatus, { argv, env, cwd, bootId, now }: Seen): WorkerRecord => {
  const unknown = { module: '/unknown', export: 'default' };
  const spec: Spec =
    status.kind === 'command'
      ? { ...shared, kind: 'command', command: argv.length === 0 ? ['unknown'] : argv }
      : status.kind === 'thread'
        ? { ...shared, kind: 'thread', ...unknown }
        : { ...shared, kind: 'process', module: argv.at(-2) ?? unknown.module, export: argv.at(-1) ?? unknown.export };
  const worker = { spec, generation: status.generation - 1, backoff: null, startedBy: null };
  const run = newRun(worker, { id: status.run, host: status.host, automatic: false, now, bootId });
  return {
    name: nameOfRun(status.run),
    spec,
    caller: { env, cwd, umask: 0o022 },
    enabled: false,
    intent: { want: 'up', atLeast: status.generation },
    startedBy: null,
    stopOrder: null,
    generation: status.generation,
    run: runAsIs(run, status),
    settled: 'stopped',
    reason: null,
    restarts: 0,
    shortRuns: 0,
    backoff: null,
    leftovers: [],
  };
};
