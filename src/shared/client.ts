/**
 * The client of the daemon: `connect()`, every method typed from the protocol table, `watch()` and `logs()` as async
 * iterators. A connection that is lost is opened anew for up to 30 s: what can be asked twice is asked again, iterators
 * go on. The CLI is built on it and the package exports it. What goes wrong is a WorkerdError. It imports types alone
 * from the protocol, and nothing at its top that costs start-up time beyond the socket.
 */
import type { Socket } from 'node:net';
import { pause, unlessAborted } from './aborting.ts';
import { asGlob, goingOn, isPast, mayPass, repeatable } from './asking-again.ts';
import {
  Connection,
  type Greeting,
  isLost,
  openSocket,
  replacement,
  type Subscribed,
  unreachable,
} from './connection.ts';
import { type ErrorCode, type ErrorData, WorkerdError } from './errors.ts';
import { EventStream } from './event-stream.ts';
import { KnownWorkers } from './known-workers.ts';
import { checkSocketPath, resolvePlaces } from './paths.ts';
import type { MethodName, ParamsInput, Result, WorkerEvent } from './protocol.ts';
import { checkLength } from './request-length.ts';
import type { LogEntry, LogGap } from './worker.ts';

export { type UnreachableReason, unreachable } from './connection.ts';
export type { MethodName, ParamsInput, Result, WorkerEvent } from './protocol.ts';
export type * from './worker.ts';
export { type ErrorCode, type ErrorData, WorkerdError };

const defaultReconnectMs = 30_000;
const firstAnswerMs = 5000;

export interface ConnectOptions {
  readonly home?: string | undefined;
  readonly socket?: string | undefined;
  /** Declared in `hello`: what speaks, and on whose behalf (shown as `startedBy.via`). */
  readonly client?: string | undefined;
  readonly via?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How long a lost connection is tried to be opened anew, in milliseconds (default: 30,000); 0: not at all. */
  readonly reconnectMs?: number | undefined;
}

export interface CallOptions {
  /** Aborted: the call rejects with its reason, an iterator ends. What was begun goes on. */
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions {
  /** Names and globs; without them all workers. */
  readonly names?: readonly string[] | undefined;
  readonly types?: readonly WorkerEvent['type'][] | undefined;
}

/** What `call` takes after the method. */
export type CallArguments<M extends MethodName> =
  Record<never, never> extends ParamsInput<M>
    ? [params?: ParamsInput<M> | undefined, options?: CallOptions]
    : [params: ParamsInput<M>, options?: CallOptions];

/** As the params of `logs`; `follow` goes on with what is written from now on, through restarts. */
export type LogsOptions = ParamsInput<'logs'>;

export interface LogsCallOptions extends CallOptions {
  /** Bytes of the log are missing between the line given before and the one that comes next. */
  readonly onGap?: (gap: Omit<LogGap, 'before'>) => void;
}

/** How a client comes by its connection, and who hears that it has none. */
export interface Dial extends Greeting {
  readonly path: string;
  readonly reconnectMs: number;
  readonly open: (signal: AbortSignal | undefined) => Promise<Socket>;
  /** `true` when it was lost, `false` when there is one again. */
  readonly onAway?: ((away: boolean) => void) | undefined;
}

/** Resolves once the socket is connected; `hello` travels with the first call, in one write. */
export const connect = async (options: ConnectOptions = {}): Promise<Client> => {
  const { socket: path } = resolvePlaces({
    home: options.home,
    socket: options.socket,
    env: process.env,
    uid: process.getuid?.() ?? 0,
  });
  return connectTo(path, options);
};

/** As `connect`, to a socket whose path is known. */
export const connectTo = async (
  path: string,
  { client, via, signal, reconnectMs = defaultReconnectMs }: Omit<ConnectOptions, 'home' | 'socket'> = {},
): Promise<Client> => {
  checkSocketPath(path);
  return dial({ path, client, via, reconnectMs, open: (each) => openSocket(path, each) }, signal);
};

/** For who opens connections in a way of his own. */
export const dial = async (how: Dial, signal?: AbortSignal): Promise<Client> => new Client(how, await how.open(signal));

/** Calls may be made at once and are answered as they are done. */
export class Client {
  readonly #dial: Dial;
  readonly #closing = new AbortController();
  #connection: Connection;
  /** To a daemon that is being replaced: nothing more is asked there, what it has begun is answered. */
  readonly #going = new Set<Connection>();
  #reopening: Promise<Connection> | null = null;
  /** It has spoken with a daemon. */
  #greeted = false;

  constructor(how: Dial, socket: Socket) {
    this.#dial = how;
    this.#connection = new Connection(socket, how.path, how);
    this.#connection.greeted.then(
      () => {
        this.#greeted = true;
      },
      () => {},
    );
  }

  /** The path of the daemon's socket. */
  get socket(): string {
    return this.#dial.path;
  }

  /** It has no connection and will have none. */
  get closed(): boolean {
    return this.#left || (this.#connection.closed && this.#dial.reconnectMs === 0);
  }

  /** `close` was called. */
  get #left(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Asks the daemon. A method that needs no params is asked without: `call('daemon.info')`. */
  async call<M extends MethodName>(method: M, ...[params, options]: CallArguments<M>): Promise<Result<M>> {
    return (await this.request(method, (params ?? {}) as object, options)) as Result<M>;
  }

  /** As `call`, for a method that the table of this version may not know. */
  async request(method: string, params: object, { signal }: CallOptions = {}): Promise<unknown> {
    signal?.throwIfAborted();
    checkLength(method, params);
    return unlessAborted(this.#ask(method, params, signal), signal);
  }

  async #ask(method: string, params: object, signal: AbortSignal | undefined): Promise<unknown> {
    const { timeoutMs } = params as { timeoutMs?: number };
    const begun = timeoutMs === undefined ? 0 : performance.now();
    let rest: object = {};
    for (let asked = params; ; asked = { ...asked, ...rest }) {
      const connection = await this.#connected();
      try {
        return await connection.request(method, asked);
      } catch (error) {
        const replaced = replacement(error);
        if (replaced !== null && !this.#left && this.#dial.reconnectMs > 0) {
          this.#going.add(connection);
          asked = goingOn(asked, replaced.accepted);
        } else if (!this.#mayReopen(error) || !(repeatable.has(method) || connection.wasReplaced)) throw error;
      }
      signal?.throwIfAborted();
      // Of the time that was given for waiting, some has passed.
      if (timeoutMs === undefined) continue;
      rest = { timeoutMs: Math.max(0, Math.ceil(timeoutMs - (performance.now() - begun))) };
    }
  }

  /** A snapshot of each worker, then every change in order; ends when `signal` is aborted or the loop is left. */
  async *watch(options: WatchOptions = {}, { signal }: CallOptions = {}): AsyncGenerator<WorkerEvent, void, void> {
    const { types } = options;
    const known = new KnownWorkers();
    const tellsAll = types === undefined || (types.includes('snapshot') && types.includes('removed'));
    let { names } = options;
    let since: string | undefined;
    for (;;) {
      const feed = await this.#subscribe('watch', { names, types, since }, signal);
      if (feed === null) return;
      try {
        for await (const event of feed.events) {
          // All snapshots are there once something else comes: from then on there is a place to go on from.
          if (event.type === 'gap') since = undefined;
          else if (since !== undefined || (event.type !== 'snapshot' && event.type !== 'removed')) since = event.cursor;
          if (tellsAll) yield* known.apply(event);
          else yield event;
        }
      } finally {
        feed.close();
      }
      // No such place is answered with a gap: so it is known where the snapshots end.
      since ??= 'none';
      names = names?.map(asGlob);
    }
  }

  /**
   * Lines of one worker's log: the last ones (`tail`, default 100), or those after a cursor. With `follow` it goes on
   * with what is written from then on, through restarts, until the worker is removed; with a `generation`, until that
   * run is over.
   */
  async *logs(options: LogsOptions, { signal, onGap }: LogsCallOptions = {}): AsyncGenerator<LogEntry, void, void> {
    const { name, generation, streams, follow = false } = options;
    // One that floods would never let us come to an end.
    const until = options.until ?? (follow ? undefined : new Date().toISOString());
    let params: LogsOptions = { ...options, until };
    for (let first = true; ; first = false) {
      const feed = await this.#subscribe('logs', params, signal).catch((error: unknown) => {
        if (!first && error instanceof WorkerdError && error.code === 'worker.not-found') return null;
        throw error;
      });
      if (feed === null) return;
      const { entries, cursor, subscription, gaps = [] } = feed.answer;
      params = { name, generation, streams, until, follow, cursor };
      try {
        for (let index = 0; index <= entries.length; index += 1) {
          for (const { before, ...gap } of gaps) if (before === index) onGap?.(gap);
          const entry = entries[index];
          if (entry !== undefined) yield entry;
        }
        for await (const event of feed.events) {
          if (event.type === 'log') {
            params = { ...params, cursor: event.cursor };
            const { at, stream, line, partial } = event;
            yield { name, generation: event.generation, at, stream, line, partial };
          } else if (event.type === 'gap' && event.lostBytes !== undefined) {
            params = { ...params, cursor: event.cursor };
            onGap?.({ generation: event.generation, at: event.at, bytes: event.lostBytes });
          } else if (event.type === 'removed') return;
          else if (event.type === 'phase' && generation !== undefined && isPast(event.worker, generation)) return;
        }
      } finally {
        feed.close();
      }
      if (subscription === undefined && entries.length === 0) return;
    }
  }

  /** `null`: aborted. The events end where it is asked anew: the connection was lost, or too many were not taken. */
  async #subscribe<M extends 'watch' | 'logs'>(
    method: M,
    params: ParamsInput<M>,
    signal: AbortSignal | undefined,
  ): Promise<Feed<Result<M>> | null> {
    for (;;) {
      if (signal?.aborted === true || this.#left) return null;
      const stream = new EventStream();
      const stop = () => stream.end();
      signal?.addEventListener('abort', stop, { once: true });
      this.#closing.signal.addEventListener('abort', stop, { once: true });
      const done = () => {
        signal?.removeEventListener('abort', stop);
        this.#closing.signal.removeEventListener('abort', stop);
      };
      let close = done;
      try {
        const connection = await unlessAborted(this.#connected(), signal);
        const answered = connection.subscribe(method, params, stream) as Promise<Result<M> & Subscribed>;
        close = () => {
          done();
          answered.then(({ subscription }) => connection.unsubscribe(subscription)).catch(() => {});
        };
        const answer = await unlessAborted(answered, signal);
        return { answer, events: this.#eventsOf(stream, answer, signal), close };
      } catch (error) {
        close();
        if (signal?.aborted || this.#left) return null;
        if (!this.#mayReopen(error)) throw error;
      }
    }
  }

  async *#eventsOf(
    stream: EventStream,
    { subscription }: Subscribed,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WorkerEvent, void, void> {
    if (subscription === undefined) return;
    try {
      for (let event = await stream.next(); event !== null; event = await stream.next()) yield event;
    } catch (error) {
      if (!signal?.aborted && !this.#left && !this.#mayReopen(error)) throw error;
    }
  }

  #mayReopen(error: unknown): boolean {
    return isLost(error) && this.#dial.reconnectMs > 0 && !this.#left;
  }

  /** The connection there is, or a new one. */
  async #connected(): Promise<Connection> {
    const isUsable = !this.#connection.closed && !this.#going.has(this.#connection);
    if (isUsable || this.#left || this.#dial.reconnectMs === 0) return this.#connection;
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = null;
    });
    return this.#reopening;
  }

  /** Tries at once, then less and less often. */
  async #reopen(): Promise<Connection> {
    const { path, open, reconnectMs, onAway } = this.#dial;
    const { signal } = this.#closing;
    // Whoever has never answered is not waited for as long as one that has.
    const deadline = performance.now() + (this.#greeted ? reconnectMs : Math.min(reconnectMs, firstAnswerMs));
    if (this.#greeted) onAway?.(true);
    for (let pauseMs = 10; ; pauseMs = Math.min(500, pauseMs * 1.5)) {
      try {
        const connection = new Connection(await open(signal), path, this.#dial);
        await connection.greeted;
        if (signal.aborted) connection.destroy('the client was closed');
        this.#connection = connection;
        this.#greeted = true;
        for (const each of this.#going) if (each.closed) this.#going.delete(each);
        onAway?.(false);
        return connection;
      } catch (error) {
        if (signal.aborted || !mayPass(error)) throw error;
        if (performance.now() > deadline) throw isLost(error) ? unreachable(path, 'no answer in 5s') : error;
      }
      await pause(pauseMs, signal);
    }
  }

  /** Ends the connection; what is not answered yet is rejected, iterators end. */
  close(): void {
    this.#closing.abort(new WorkerdError('daemon.unreachable', 'the client was closed', { reason: 'closed' }));
    for (const each of [this.#connection, ...this.#going]) each.close('the client closed the connection');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

interface Feed<A> {
  readonly answer: A & Subscribed;
  readonly events: AsyncGenerator<WorkerEvent, void, void>;
  readonly close: () => void;
}
