/**
 * The SDK of module workers, imported as `workerctl/worker`: types, and one function that does nothing but give them.
 * The host resolves that name to its own copy of this file, so a worker needs no install beside it.
 */

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What a worker is started with (`-p key=value`, `--params JSON`), where its module declares nothing closer. */
export type Params = { readonly [key: string]: Json };

/** Lands in `state.progress`, and is shown with a bar and an ETA where there is a total. */
export interface Progress {
  readonly done: number;
  readonly total: number | null;
  readonly unit: string | null;
}

/** Somebody wants the worker to end: by itself until `deadline`, by force after it. */
export interface StopRequest {
  /** In words, e.g. `stop`, `restart` or `shutdown`. */
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly deadline: string;
  /** Who asked, as they declared it: `{ uid, pid, via }`, or null. */
  readonly by: Json;
}

/** What a worker's function is given. Its functions may be taken off it (`({ publish, signal }) => …`). */
export interface WorkerContext<P = Params> {
  readonly name: string;
  readonly kind: 'thread' | 'process';
  /** Counts the runs of this worker, from 1. */
  readonly generation: number;
  readonly params: P;

  /** Aborts when the worker is asked to stop. Give it to whatever waits: `sleep(1000, undefined, { signal })`. */
  readonly signal: AbortSignal;
  /** The request to stop; null until there is one. */
  readonly stop: StopRequest | null;
  /**
   * Whether the worker was asked to stop. Synchronous, and true within milliseconds also in a loop that never yields;
   * it looks at most once a millisecond, so calling it in a tight loop costs nothing.
   */
  shouldStop(): boolean;

  /**
   * Merges `patch` into the live state that every watcher sees, shallowly; `null` is a value, `undefined` says nothing.
   * Values are taken as they are now, and become JSON as `JSON.stringify` has it.
   * Cheap: may be called a million times a second. The latest always arrives, what lay between may not.
   * Never waits. Throws TypeError where a value is not JSON (a function, a BigInt, a cycle) and RangeError where the
   * state would pass 64 KiB or 32 levels; the state is then unchanged.
   */
  publish(patch: Readonly<Record<string, unknown>>): void;
  /** The live state as it is now, with what was published from outside. A snapshot: it cannot be changed. */
  readonly state: Readonly<Record<string, Json>>;
  /** How far the worker is: `progress(3, 10, 'files')`. The same as publishing `progress`. */
  progress(done: number, total?: number | null, unit?: string | null): void;
  /** Says that the worker is ready, for whoever waits (`--ready`). Only the first call counts. */
  ready(): void;

  /**
   * What `workerctl send` sent, in order; ends when the worker is asked to stop. At most 1,000 wait to be read: beyond
   * that the oldest go, and stderr says so.
   */
  readonly messages: AsyncIterable<string>;
}

/**
 * The worker itself. Its run ends when what it returns settles: well, with that as its result (JSON, at most 256 KiB),
 * or badly, with the error kept. An AbortError after a request to stop counts as ending well.
 */
export type WorkerFunction<P = Params> = (ctx: WorkerContext<P>) => unknown;

/**
 * Gives a worker's function its types, and gives it back as it is.
 *
 *     export default defineWorker<{ stepMs?: number }>(async (ctx) => {
 *       while (!ctx.shouldStop()) …
 *     });
 */
export const defineWorker = <P = Params>(worker: WorkerFunction<P>): WorkerFunction<P> => worker;
