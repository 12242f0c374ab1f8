/** Workers to render and to answer with: one running command, and whatever a test changes about it. */
import type { CommandSpec, ModuleSpec, WorkerView } from '../../src/shared/worker.ts';

/** The moment all views are looked at. */
export const now = Date.parse('2026-01-02T03:04:05.678Z');
export const ago = (ms: number): string => new Date(now - ms).toISOString();

const base = {
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
  log: { maxBytes: 10 * 1024 * 1024, files: 5 },
} as const;

export const commandSpec: CommandSpec = { kind: 'command', command: ['sleep', '100'], ...base };
export const moduleSpec: ModuleSpec = { kind: 'thread', module: '/srv/counter.ts', export: 'default', ...base };

export const makeView = (changes: Partial<WorkerView> = {}): WorkerView => ({
  name: 'web',
  kind: 'command',
  phase: 'running',
  ready: true,
  enabled: false,
  generation: 1,
  pid: 4711,
  threadId: null,
  startedAt: ago(62_000),
  endedAt: null,
  nextStartAt: null,
  restarts: 0,
  exit: null,
  reason: null,
  state: null,
  stateAt: null,
  stateRevision: 0,
  result: null,
  leftovers: [],
  cpuPercent: 1.25,
  memoryBytes: 24 * 1024 * 1024,
  startedBy: { uid: 1000, pid: 99, via: 'workerctl start' },
  stoppedBy: null,
  spec: commandSpec,
  ...changes,
});

export const stopped = (changes: Partial<WorkerView> = {}): WorkerView =>
  makeView({
    phase: 'stopped',
    pid: null,
    endedAt: ago(3000),
    exit: { kind: 'code', code: 0 },
    cpuPercent: null,
    memoryBytes: null,
    ...changes,
  });
