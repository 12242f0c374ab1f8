/** Records, runs and facts made up for tests: whole and legal, with whatever a test wants otherwise. */
import type { RunFact } from '../../src/daemon/core/lifecycle.ts';
import type { Run, RunStage, StopProgress, WorkerRecord } from '../../src/daemon/core/model.ts';
import type { CommandSpec, Exit, ModuleSpec } from '../../src/shared/worker.ts';

export const at = Date.parse('2026-01-02T03:04:05.678Z');

export const commandSpec = (changes: Partial<CommandSpec> = {}): CommandSpec => ({
  kind: 'command',
  command: ['/bin/sleep', '60'],
  params: {},
  env: {},
  inheritEnv: true,
  cwd: null,
  umask: null,
  user: null,
  restart: { policy: 'no' },
  graceMs: 10_000,
  stopSignal: 'SIGTERM',
  stdin: false,
  ready: null,
  log: { maxBytes: 1024 * 1024, files: 2 },
  ...changes,
});

export const moduleSpec = (kind: 'thread' | 'process', changes: Partial<ModuleSpec> = {}): ModuleSpec => {
  const { command: _command, kind: _kind, ...base } = commandSpec();
  return { ...base, kind, module: '/srv/counter.ts', export: 'default', ...changes };
};

export const fakeRun = (changes: Partial<Run> = {}): Run => ({
  id: 'w.1.abcd',
  generation: 1,
  kind: 'command',
  stage: 'running',
  host: null,
  automatic: false,
  afterLoss: false,
  orderedAt: at,
  startedAt: at,
  endedAt: null,
  ranMs: null,
  bootId: 'boot',
  pid: 4711,
  startTime: 100,
  threadId: null,
  reachedRunning: true,
  ready: true,
  readyDeclared: false,
  stopSignal: 'SIGTERM',
  graceMs: 10_000,
  exit: null,
  reason: null,
  cutOff: false,
  state: null,
  stateAt: null,
  stateRevision: 0,
  result: null,
  startedBy: null,
  stoppedBy: null,
  stop: null,
  ...changes,
});

/** A run as it is in a stage, with what is known then. */
export const runIn = (stage: RunStage, changes: Partial<Run> = {}): Run => {
  const unknown = { startedAt: null, pid: null, startTime: null, reachedRunning: false, ready: false } as const;
  const over = { endedAt: at + 1000, ranMs: 1000, exit: { kind: 'code', code: 0 }, ready: false } as const;
  switch (stage) {
    case 'ordered':
      return fakeRun({ stage, ...unknown, ...changes });
    case 'spawned':
      return fakeRun({ stage, reachedRunning: false, ready: false, ...changes });
    case 'running':
      return fakeRun({ stage, ...changes });
    case 'ended':
    case 'closed':
      return fakeRun({ stage, ...over, ...changes });
    default:
      return stage satisfies never;
  }
};

export const stopAt = (step: StopProgress['step'], changes: Partial<StopProgress> = {}): StopProgress => ({
  reason: 'stop',
  by: null,
  deadlineAt: at + 10_000,
  deadlineMono: 10_000,
  step,
  stepMono: 0,
  ...changes,
});

/** The same object always: a definition that is written anew is a change. */
const defaultSpec = commandSpec();

export const fakeWorker = (changes: Partial<WorkerRecord> = {}): WorkerRecord => ({
  name: 'w',
  spec: defaultSpec,
  caller: { env: {}, cwd: '/', umask: 0o022 },
  enabled: false,
  intent: { want: 'down' },
  startedBy: null,
  stopOrder: null,
  generation: changes.run?.generation ?? 0,
  run: null,
  settled: 'stopped',
  reason: null,
  restarts: 0,
  shortRuns: 0,
  backoff: null,
  leftovers: [],
  ...changes,
});

export const exitedFact = (
  exit: Exit = { kind: 'code', code: 0 },
  changes: Partial<Extract<RunFact, { kind: 'exited' }>> = {},
): Extract<RunFact, { kind: 'exited' }> => ({
  kind: 'exited',
  at: at + 1000,
  exit,
  ranMs: 1000,
  state: null,
  stateAt: null,
  stateRevision: 0,
  result: null,
  byShim: false,
  ...changes,
});
