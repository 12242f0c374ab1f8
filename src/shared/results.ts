/**
 * What the daemon answers and tells, as schemas: for `rpc.discover`, docs/protocol.md and tests. The types of
 * worker.ts and protocol.ts are what the code is written against; at the end of this file the compiler proves that
 * each schema says the same, both ways. Made when first asked for: a daemon that nobody asks pays nothing.
 *
 * They are strict, so that a test sees a member that nobody wrote down. To clients the document says that others may
 * come with later versions.
 */
import * as z from 'zod';
import type { Problem } from './daemon-info.ts';
import type { MethodName, Result, WorkerEvent } from './protocol.ts';
import type { Actor, Exit, Json, JsonObject, Leftover, LogEntry, RunView, Spec, WorkerView } from './worker.ts';

const build = () => {
  const says = (words: string) => ({ description: words });
  const json = (z.json() as z.ZodType<Json>).meta(says('Any JSON value.'));
  const jsonObject = z.record(z.string(), json).meta(says('Any JSON object.'));
  const time = z.iso.datetime().meta(says('RFC 3339, UTC, with milliseconds.'));
  const count = z.int().min(0);
  const pid = z.int().min(1);
  const texts = z.record(z.string(), z.string());

  const Actor = z
    .strictObject({
      uid: count.nullable(),
      pid: count.nullable(),
      via: z.string().nullable().meta(says('Such as `workerctl start`.')),
    })
    .meta(says('Who asked: declared in `hello`, not proven.'));

  const Exit = z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('code'), code: z.int().min(0).max(255) }),
      z.strictObject({ kind: z.literal('signal'), signal: z.string() }),
      z.strictObject({ kind: z.literal('spawn-failed'), errno: z.string(), message: z.string() }),
      z
        .strictObject({
          kind: z.literal('error'),
          name: z.string(),
          message: z.string(),
          stack: z.string().nullable(),
        })
        .meta(says('A module threw, or did not load.')),
      z.strictObject({ kind: z.literal('returned') }).meta(says("A module's function ended well.")),
      z.strictObject({ kind: z.literal('terminated') }).meta(says('A thread, by force.')),
      z.strictObject({ kind: z.literal('lost'), reason: z.string() }).meta(says('Nobody saw how it ended.')),
    ])
    .meta(says('How a run ended. Nothing in it is invented.'));

  const specBase = {
    params: json,
    env: texts.meta(says('What `-e` and `--env-file` named; the values are shown as `***` unless asked for.')),
    inheritEnv: z.boolean(),
    cwd: z.string().nullable(),
    umask: z.int().min(0).max(0o777).nullable(),
    user: z.string().nullable(),
    restart: z.strictObject({ policy: z.enum(['no', 'on-failure', 'always']) }),
    graceMs: count,
    stopSignal: z.string(),
    stdin: z.boolean(),
    ready: z.strictObject({ by: z.literal('worker') }).nullable(),
    log: z.strictObject({ maxBytes: count, files: count }),
  };
  const Spec = z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('command'), command: z.array(z.string()), ...specBase }),
      z.strictObject({ kind: z.enum(['thread', 'process']), module: z.string(), export: z.string(), ...specBase }),
    ])
    .meta(says("A worker's definition, with every default filled in."));

  const Leftover = z.strictObject({ pid, command: z.string() }).meta(says('A process that a run left alive.'));

  /** What a run and the worker that shows its newest one have in common. */
  const runMembers = {
    generation: count.meta(says('Counts the runs of a worker, and is never used again.')),
    startedAt: time.nullable(),
    endedAt: time.nullable(),
    exit: Exit.nullable(),
    reason: z.string().nullable().meta(says('Such as `crash-loop`, where the exit alone does not say why.')),
    state: jsonObject.nullable().meta(says('What it published last.')),
    result: json.meta(says('What its function returned.')),
    startedBy: Actor.nullable(),
    stoppedBy: Actor.nullable(),
  };
  const WorkerView = z
    .strictObject({
      name: z.string(),
      kind: z.enum(['thread', 'process', 'command']),
      phase: z
        .enum(['stopped', 'starting', 'running', 'stopping', 'backoff', 'exited', 'failed'])
        .meta(says('`starting`, `running`, `stopping` and `backoff` are alive.')),
      ready: z.boolean(),
      enabled: z.boolean().meta(says('Starts with the daemon.')),
      pid: pid.nullable(),
      threadId: count.nullable(),
      nextStartAt: time.nullable().meta(says('In `backoff`: when it starts again.')),
      restarts: count.meta(says('Automatic ones, since a verb last started it.')),
      stateAt: time.nullable(),
      stateRevision: count.meta(says('Rises with every change of `state`.')),
      leftovers: z.array(Leftover),
      cpuPercent: z.number().nullable().meta(says('Of its process tree; only `status` knows it.')),
      memoryBytes: count.nullable(),
      spec: Spec,
      ...runMembers,
    })
    .meta(says('One worker, with its newest run.'));
  const Run = z.strictObject(runMembers).meta(says('One run that is over.'));

  const Problem = z
    .strictObject({
      kind: z.enum(['registry', 'shim-gone', 'shim-silent', 'descriptors', 'logs']),
      since: time,
      message: z.string().meta(says('The thing, the reason, the next step.')),
    })
    .meta(says('Something that is wrong with the daemon itself.'));

  const lineMembers = {
    at: time,
    stream: z.enum(['stdout', 'stderr']),
    line: z.string(),
    partial: z.boolean().meta(says('No newline was seen (yet).')),
  };
  const LogEntry = z
    .strictObject({ name: z.string(), generation: count, ...lineMembers })
    .meta(says('One line that a worker wrote.'));

  const eventMembers = {
    subscription: z.string(),
    cursor: z.string(),
    at: time,
    name: z.string().meta(says('The worker; empty where the event is of none.')),
    generation: count,
  };
  const ofType = <const T extends string, S extends z.ZodRawShape>(type: T, members: S) =>
    z.strictObject({ ...eventMembers, type: z.literal(type), ...members });
  const Event = z
    .discriminatedUnion('type', [
      ofType('snapshot', { worker: WorkerView }),
      ofType('phase', { worker: WorkerView }),
      ofType('state', { state: jsonObject, stateRevision: count }),
      ofType('ready', {}),
      ofType('removed', {}),
      ofType('log', lineMembers),
      ofType('gap', {
        dropped: count.meta(says('How many events, as far as that is known.')),
        snapshots: count.meta(says('How many snapshots follow: of all workers that there are.')),
        lostBytes: count
          .exactOptional()
          .meta(says('Of what `logs` follows: no event is missing, but so many bytes of the log.')),
      }),
    ])
    .meta(says('The params of the notification `event`.'));

  const nouns = {
    ...{ Json: json, JsonObject: jsonObject, Actor, Exit, Spec, Leftover, WorkerView, Run, LogEntry, Problem, Event },
  };
  const worker = { worker: WorkerView };
  const workerResult = z.strictObject(worker);
  const outcome = <const O extends readonly string[]>(outcomes: O) =>
    z.strictObject({ outcome: z.enum(outcomes), ...worker });
  const results = {
    hello: z.strictObject({ protocol: count, version: z.string(), pid }),
    start: outcome(['started', 'already-running', 'replaced']),
    stop: outcome(['stopped', 'not-running']),
    restart: outcome(['restarted', 'started']),
    signal: workerResult,
    send: workerResult,
    publish: workerResult,
    enable: workerResult,
    disable: workerResult,
    define: workerResult,
    remove: z.strictObject({ removed: z.literal(true) }),
    status: z.strictObject({
      workers: z.array(WorkerView),
      next: z.string().nullable().meta(says('The `after` of the next page; null at the end.')),
    }),
    watch: z.strictObject({
      subscription: z.string(),
      cursor: z.string().meta(says('Where the events begin; good as long as this daemon lives.')),
    }),
    unwatch: z.strictObject({ removed: z.boolean() }),
    logs: z.strictObject({
      entries: z.array(LogEntry),
      cursor: z
        .string()
        .meta(
          says(
            'Where these end, as GENERATION:OFFSET (a second offset for stderr, where that is another); good for ever.',
          ),
        ),
      subscription: z.string().exactOptional().meta(says('With `follow`.')),
      gaps: z
        .array(
          z.strictObject({
            generation: count,
            at: time,
            bytes: count,
            before: count.meta(says('They are missing before the entry of this number, from 0.')),
          }),
        )
        .exactOptional()
        .meta(
          says(
            'Bytes that could not be written, or were rotated away before they were read. Only where there are any.',
          ),
        ),
    }),
    'logs.locate': z.strictObject({ files: z.array(z.strictObject({ generation: count, path: z.string() })) }),
    wait: workerResult,
    history: z.strictObject({ runs: z.array(Run) }),
    'daemon.info': z.strictObject({
      version: z.string(),
      protocol: count,
      pid,
      home: z.string(),
      socket: z.string(),
      startedAt: time,
      node: z.string().meta(says('The version of Node it runs in.')),
      shim: z
        .strictObject({
          pid,
          version: z.string(),
          protocol: count,
          answers: z.boolean().meta(says('False where a question to it stays open; after a second that is a problem.')),
        })
        .nullable()
        .meta(says('The parent of the workers; null where the daemon has no connection to one.')),
      problems: z.array(Problem).meta(says('What is wrong with its surroundings, the oldest first.')),
    }),
    'daemon.stop': z.strictObject({ pid }),
    'daemon.restart': z.strictObject({ pid }),
    'rpc.discover': jsonObject,
  };
  return { nouns, results: results satisfies Record<MethodName, z.ZodType> };
};

type Schemas = ReturnType<typeof build>;
let built: Schemas | undefined;
export const resultSchemas = (): Schemas => {
  built ??= build();
  return built;
};

// ── the proof: a schema that drifts from its type, in either direction, does not compile ───────────────────────────

/** zod's outputs may be written to, our types may not; tables of any key are as wide as they are. */
type Frozen<T> = [Json] extends [T] ? T : FrozenMember<T>;
type FrozenMember<T> = T extends object ? (string extends keyof T ? T : { readonly [K in keyof T]: Frozen<T[K]> }) : T;
/** As if nothing in it could be missing: so a member that only one of two knows, and may do without, shows as well. */
type Whole<T> = [Json] extends [T] ? T : WholeMember<T>;
type WholeMember<T> = T extends object ? (string extends keyof T ? T : { readonly [K in keyof T]-?: Whole<T[K]> }) : T;
type Unequal<A, B> = [A] extends [B] ? ([B] extends [A] ? false : true) : true;
export type Differs<A, B> = Unequal<Frozen<A>, B> extends false ? Unequal<Whole<A>, Whole<B>> : true;
type Drifted<S extends Record<string, z.ZodType>, T extends { [K in keyof S]: unknown }> = {
  [K in keyof S]: Differs<z.output<S[K]>, T[K]> extends false ? never : K;
}[keyof S];

interface Nouns {
  readonly Json: Json;
  readonly JsonObject: JsonObject;
  readonly Actor: Actor;
  readonly Exit: Exit;
  readonly Spec: Spec;
  readonly Leftover: Leftover;
  readonly WorkerView: WorkerView;
  readonly Run: RunView;
  readonly LogEntry: LogEntry;
  readonly Problem: Problem;
  readonly Event: WorkerEvent;
}
type Same<D> = [D] extends [never] ? true : { readonly drifted: D };
true satisfies Same<Drifted<Schemas['nouns'], Nouns>>;
true satisfies Same<Drifted<Schemas['results'], { [M in MethodName]: Result<M> }>>;
