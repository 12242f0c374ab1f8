/**
 * The protocol as one typed table: every method with its params' schema, its result's type and one line of summary.
 * The daemon validates with it and derives its handlers from it; clients import the types alone
 * (`import type`), so that zod never reaches the CLI's start-up path. What results look like is written down as
 * schemas in results.ts, proven equal to the types here; `rpc.discover` tells all of it.
 */
import * as z from 'zod';
import type { DaemonInfo } from './daemon-info.ts';
import { caller, json, jsonObject, milliseconds, signal, softLimits, spec, text } from './definition-schema.ts';
import type { JsonObject, LogEntry, LogGap, RunView, WorkerView } from './worker.ts';
import { namePattern } from './worker.ts';

export const protocolVersion = 1;

const name = z.string().regex(namePattern, 'must match [A-Za-z0-9][A-Za-z0-9._-]{0,63}');
/** Also what cannot be a name: written into the registry by hand, it is there all the same. */
const written = text(4096);
/** A name or a glob (`*`, `?`, `[…]`). */
const pattern = z.string().regex(/^[A-Za-z0-9*?[][A-Za-z0-9._*?[\]!^-]{0,255}$/, 'must be a worker name or a glob');
const generation = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
const timestamp = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-01-02T03:04:05Z' });
const count = z.number().int().min(1).max(1_000_000);

/** What params are made of and what has a name of its own. */
export const paramNouns = {
  Json: json,
  JsonObject: jsonObject,
  SpecInput: spec,
  Caller: caller,
  SoftLimits: softLimits,
} as const;

export type { CallerInput, SpecInput } from './definition-schema.ts';

export type StartOutcome = 'started' | 'already-running' | 'replaced';
export interface WorkerResult {
  readonly worker: WorkerView;
}
export interface StartResult extends WorkerResult {
  readonly outcome: StartOutcome;
}
export interface StopResult extends WorkerResult {
  readonly outcome: 'stopped' | 'not-running';
}
export interface RestartResult extends WorkerResult {
  readonly outcome: 'restarted' | 'started';
}
export interface StatusResult {
  readonly workers: readonly WorkerView[];
  readonly next: string | null;
}
export interface LogFile {
  readonly generation: number;
  readonly path: string;
}
export interface LogsResult {
  readonly entries: readonly LogEntry[];
  /** Where these end: (generation, offset), good for ever. */
  readonly cursor: string;
  /** With `follow`: what comes after them comes as `event` notifications of this. */
  readonly subscription?: string;
  /** Only where there are any. */
  readonly gaps?: readonly LogGap[];
}

/** Names what a result is, for the compiler alone. */
interface ResultOf<R> {
  readonly result?: R;
}
const resultOf = <R>(): ResultOf<R> => ({});

interface MethodShape {
  readonly params: z.ZodType;
  readonly result: ResultOf<unknown>;
  readonly summary: string;
  /** May be answered late by its nature; not counted among the requests in work. */
  readonly held?: true;
}

/** What a daemon that was replaced had begun, as its `daemon.stopping` tells in `accepted`: its end is waited for. */
const resume = <const O extends readonly [string, ...string[]]>(...outcomes: O) =>
  z
    .strictObject({ outcome: z.enum(outcomes), generation: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER) })
    .optional();
const noParams = z.strictObject({});
const byName = z.strictObject({ name });

export const methods = {
  hello: {
    params: z.strictObject({
      client: text(256).optional(),
      protocol: z.number().int().min(0).max(1_000_000).optional(),
      uid: z
        .number()
        .int()
        .min(0)
        .max(2 ** 32 - 1)
        .optional(),
      pid: z
        .number()
        .int()
        .min(0)
        .max(2 ** 31 - 1)
        .optional(),
      via: text(256).optional(),
    }),
    result: resultOf<{ protocol: number; version: string; pid: number }>(),
    summary: 'Says who is speaking (declared, shown as startedBy and stoppedBy) and learns whom it speaks to.',
  },
  start: {
    params: z.strictObject({
      name: name.optional(),
      spec: spec.optional(),
      caller: caller.optional(),
      ifRunning: z.enum(['keep', 'fail', 'replace']).default('keep'),
      wait: z.enum(['none', 'running', 'ready']).default('ready'),
      timeoutMs: milliseconds.default(30_000),
      enable: z.boolean().optional(),
      resume: resume('started', 'already-running', 'replaced'),
    }),
    result: resultOf<StartResult>(),
    summary: 'Defines the worker where it is new, starts it, and answers once it is running (or ready).',
    held: true,
  },
  stop: {
    params: z.strictObject({
      name,
      graceMs: milliseconds.optional(),
      force: z.boolean().default(false),
      wait: z.boolean().default(true),
      resume: resume('stopped'),
    }),
    result: resultOf<StopResult>(),
    summary: 'Asks the worker to stop, ends it by force after its grace; answers when nothing of it is left.',
    held: true,
  },
  restart: {
    params: z.strictObject({
      name,
      graceMs: milliseconds.optional(),
      wait: z.boolean().default(true),
      resume: resume('restarted', 'started'),
    }),
    result: resultOf<RestartResult>(),
    summary: 'A fresh run from the current definition; starts a stopped worker.',
    held: true,
  },
  signal: {
    params: z.strictObject({ name, signal }),
    result: resultOf<WorkerResult>(),
    summary: "Sends a signal to the worker's process group (not to a thread).",
  },
  send: {
    params: z.strictObject({ name, text: z.string() }),
    result: resultOf<WorkerResult>(),
    summary: 'Sends a line to the worker: its stdin where it has one, else its messages.',
  },
  publish: {
    params: z.strictObject({ name, state: jsonObject }),
    result: resultOf<WorkerResult>(),
    summary: "Merges a patch into the worker's live state.",
  },
  enable: {
    params: byName,
    result: resultOf<WorkerResult>(),
    summary: 'Starts the worker with the daemon from now on.',
  },
  disable: {
    params: byName,
    result: resultOf<WorkerResult>(),
    summary: 'Does not start the worker with the daemon any more.',
  },
  define: {
    params: z.strictObject({ name, spec, caller: caller.optional() }),
    result: resultOf<WorkerResult>(),
    summary: 'Defines or redefines a stopped worker without starting it.',
  },
  remove: {
    params: z.strictObject({ name: written, force: z.boolean().default(false), keepLogs: z.boolean().default(false) }),
    result: resultOf<{ removed: true }>(),
    summary: 'Forgets a stopped worker with its history and logs; `force` stops it first.',
    held: true,
  },
  status: {
    params: z.strictObject({
      names: z.array(pattern).max(1000).optional(),
      after: written.optional(),
      limit: count.optional(),
      showEnv: z.boolean().default(false),
    }),
    result: resultOf<StatusResult>(),
    summary: 'The workers, sorted by name, in pages below the frame limit.',
  },
  watch: {
    params: z.strictObject({
      names: z.array(pattern).max(1000).optional(),
      types: z
        .array(z.enum(['snapshot', 'phase', 'state', 'ready', 'removed', 'log', 'gap']))
        .max(7)
        .optional(),
      since: text(128).optional(),
    }),
    result: resultOf<{ subscription: string; cursor: string }>(),
    summary: 'Subscribes: a snapshot of every worker first, then each change as an `event` notification.',
  },
  unwatch: {
    params: z.strictObject({ subscription: text(128) }),
    result: resultOf<{ removed: boolean }>(),
    summary: 'Ends a subscription.',
  },
  logs: {
    params: z.strictObject({
      name,
      generation: generation.optional(),
      tail: z.number().int().min(0).max(1_000_000).optional(),
      since: timestamp.optional(),
      until: timestamp.optional(),
      streams: z
        .array(z.enum(['stdout', 'stderr']))
        .min(1)
        .max(2)
        .optional(),
      cursor: text(128).optional(),
      follow: z.boolean().default(false),
    }),
    result: resultOf<LogsResult>(),
    summary:
      "Lines of the worker's log, from the end or from a cursor; with `follow` what is written from then on as `log` events, with its phases between them.",
  },
  'logs.locate': {
    params: byName,
    result: resultOf<{ files: readonly LogFile[] }>(),
    summary: "Where the worker's log files are, oldest first, for those who can read them.",
  },
  wait: {
    params: z.strictObject({
      name,
      for: z.enum(['exit', 'running', 'ready', 'stopped']),
      timeoutMs: milliseconds.optional(),
    }),
    result: resultOf<WorkerResult>(),
    summary: 'Answers when the condition holds; at once where it holds already.',
    held: true,
  },
  history: {
    params: z.strictObject({ name, limit: count.optional() }),
    result: resultOf<{ runs: readonly RunView[] }>(),
    summary: "The worker's past runs, newest first.",
  },
  'daemon.info': {
    params: noParams,
    result: resultOf<DaemonInfo>(),
    summary: 'What this daemon is and where it lives.',
  },
  'daemon.stop': {
    params: z.strictObject({ keepWorkers: z.boolean().default(false) }),
    result: resultOf<{ pid: number }>(),
    summary: 'Ends every worker in good order, then the daemon; with keepWorkers the daemon alone.',
  },
  'daemon.restart': {
    params: noParams,
    result: resultOf<{ pid: number }>(),
    summary: 'Replaces the daemon; the workers stay.',
  },
  'rpc.discover': {
    params: noParams,
    result: resultOf<JsonObject>(),
    summary: 'This protocol as an OpenRPC document: methods, params, results, errors, events.',
  },
} as const satisfies Record<string, MethodShape>;

export type MethodName = keyof typeof methods;
/** What a caller may write: members with defaults are optional, and nothing of it is changed. */
export type ParamsInput<M extends MethodName> = Unchanging<z.input<(typeof methods)[M]['params']>>;
type Unchanging<T> = T extends readonly (infer E)[]
  ? readonly Unchanging<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Unchanging<T[K]> }
    : T;
/** What a handler receives: defaults filled in. */
export type Params<M extends MethodName> = z.output<(typeof methods)[M]['params']>;
export type Result<M extends MethodName> = (typeof methods)[M]['result'] extends ResultOf<infer R> ? R : never;
export const isMethodName = (method: string): method is MethodName => Object.hasOwn(methods, method);

interface EventBase {
  readonly subscription: string;
  readonly cursor: string;
  readonly at: string;
  readonly name: string;
  readonly generation: number;
}
/** The params of the one notification, `event`. */
export type WorkerEvent = EventBase &
  (
    | { readonly type: 'snapshot'; readonly worker: WorkerView }
    | { readonly type: 'phase'; readonly worker: WorkerView }
    | { readonly type: 'state'; readonly state: JsonObject; readonly stateRevision: number }
    | { readonly type: 'ready' }
    | { readonly type: 'removed' }
    /** `at`, `name` and `generation` are the line's. */
    | { readonly type: 'log'; readonly stream: 'stdout' | 'stderr'; readonly line: string; readonly partial: boolean }
    /** So many events are not told; so many snapshots follow, of all that there is. */
    | {
        readonly type: 'gap';
        readonly dropped: number;
        readonly snapshots: number;
        /** Of what `logs` follows: no events are missing, but so many bytes of the log. */
        readonly lostBytes?: number;
      }
  );
