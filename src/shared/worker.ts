/**
 * The nouns of workerd, as users and scripts see them (camelCase JSON). Types and tiny predicates only:
 * imported by every process, decides nothing.
 */

import type { SoftLimits } from './resource-limits.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** How a worker runs. `thread` and `process` are JS/TS modules, `command` is any argv. */
export type Kind = 'thread' | 'process' | 'command';

export type RestartPolicy = 'no' | 'on-failure' | 'always';

interface SpecBase {
  readonly params: Json;
  /** Only what `-e` and `--env-file` named; the caller's environment is kept beside the spec. */
  readonly env: Readonly<Record<string, string>>;
  /** `false`: only a clean base environment lies beneath `env` (`--clean-env`). */
  readonly inheritEnv: boolean;
  /** Only what `-C` named, absolute; `null`: the caller's. */
  readonly cwd: string | null;
  /** The file mode mask (0-511); `null`: the caller's. The one member that does not make two definitions differ. */
  readonly umask: number | null;
  readonly user: string | null;
  readonly restart: { readonly policy: RestartPolicy };
  readonly graceMs: number;
  /** With the `SIG` prefix, e.g. `SIGTERM`. */
  readonly stopSignal: string;
  readonly stdin: boolean;
  readonly ready: { readonly by: 'worker' } | null;
  readonly log: { readonly maxBytes: number; readonly files: number };
}

export interface CommandSpec extends SpecBase {
  readonly kind: 'command';
  readonly command: readonly string[];
}

export interface ModuleSpec extends SpecBase {
  readonly kind: 'thread' | 'process';
  /** Absolute path. */
  readonly module: string;
  readonly export: string;
}

/** A worker's definition. */
export type Spec = CommandSpec | ModuleSpec;

/** What was captured from whoever defined the worker; never compared, never shown. */
export interface Caller {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly umask: number;
  /** Soft resource limits. What is not named is as the daemon's starter had it. */
  readonly limits?: SoftLimits | undefined;
}

/** Who asked: declared by the client in `hello`, not proven. */
export interface Actor {
  readonly uid: number | null;
  readonly pid: number | null;
  readonly via: string | null;
}

/** How a run ended: data, never an error, and nothing in it is invented. */
export type Exit =
  | { readonly kind: 'code'; readonly code: number }
  | { readonly kind: 'signal'; readonly signal: string }
  | { readonly kind: 'spawn-failed'; readonly errno: string; readonly message: string }
  | { readonly kind: 'error'; readonly name: string; readonly message: string; readonly stack: string | null }
  | { readonly kind: 'returned' }
  | { readonly kind: 'terminated' }
  | { readonly kind: 'lost'; readonly reason: string };

export type Phase = 'stopped' | 'starting' | 'running' | 'stopping' | 'backoff' | 'exited' | 'failed';

/** A process that a run left alive. */
export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** One worker as `status`, `watch` and every verb's result show it. Times are RFC 3339 UTC with milliseconds. */
export interface WorkerView {
  readonly name: string;
  readonly kind: Kind;
  readonly phase: Phase;
  readonly ready: boolean;
  readonly enabled: boolean;
  readonly generation: number;
  readonly pid: number | null;
  readonly threadId: number | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly nextStartAt: string | null;
  readonly restarts: number;
  readonly exit: Exit | null;
  readonly reason: string | null;
  readonly state: JsonObject | null;
  readonly stateAt: string | null;
  readonly stateRevision: number;
  readonly result: Json;
  readonly leftovers: readonly Leftover[];
  readonly cpuPercent: number | null;
  readonly memoryBytes: number | null;
  readonly startedBy: Actor | null;
  readonly stoppedBy: Actor | null;
  readonly spec: Spec;
}

/** One past run, as `history` shows it. */
export interface RunView {
  readonly generation: number;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly exit: Exit | null;
  readonly reason: string | null;
  readonly state: JsonObject | null;
  readonly result: Json;
  readonly startedBy: Actor | null;
  readonly stoppedBy: Actor | null;
}

export interface LogEntry {
  readonly name: string;
  readonly generation: number;
  readonly at: string;
  readonly stream: 'stdout' | 'stderr';
  readonly line: string;
  /** The line is not complete (yet): no newline was seen. */
  readonly partial: boolean;
}

/** Bytes that a run wrote and that are not in its log. */
export interface LogGap {
  readonly generation: number;
  readonly at: string;
  readonly bytes: number;
  /** They are missing before the entry of this number, from 0. */
  readonly before: number;
}

export const maxNameLength = 64;
/** `[A-Za-z0-9][A-Za-z0-9._-]{0,63}` */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const isWorkerName = (text: string): boolean => namePattern.test(text);

const alivePhases: ReadonlySet<Phase> = new Set<Phase>(['starting', 'running', 'stopping', 'backoff']);
/** "While it runs" in the contract's words: a stopped worker is one that is not alive. */
export const isAlive = (phase: Phase): boolean => alivePhases.has(phase);

export const isModule = (spec: Spec): spec is ModuleSpec => spec.kind !== 'command';

/** Ended well: the policy `on-failure` leaves it alone. */
export const endedWell = (exit: Exit): boolean => exit.kind === 'returned' || (exit.kind === 'code' && exit.code === 0);
