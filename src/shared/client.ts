/**
 * The client of the daemon: `connect()`, every method typed from the protocol table, `watch()` as an async iterator.
 * The CLI is built on it and the package exports it. What goes wrong is a WorkerdError. It imports types alone from
 * the protocol, and nothing at its top that costs start-up time beyond the socket.
 */
import { createConnection, type Socket } from 'node:net';
import { type ErrorCode, type ErrorData, WorkerdError } from './errors.ts';
import { limits } from './limits.ts';
import { checkSocketPath, resolvePlaces } from './paths.ts';
import { connectionLost, Peer } from './peer.ts';
import type { MethodName, ParamsInput, Result, WorkerEvent } from './protocol.ts';

export type { MethodName, ParamsInput, Result, WorkerEvent } from './protocol.ts';
export type * from './worker.ts';
export { type ErrorCode, type ErrorData, WorkerdError };

const protocolVersion = 1;
const answerWithinMs = 5000;
/** Events kept for a reader that does not keep up; beyond it they are dropped, said as a `gap`, and asked for anew. */
const maxQueuedEvents = 10_000;

/** Why a daemon cannot be reached, as it stands in the message and in `data.reason`. */
export type UnreachableReason = 'no socket' | 'permission denied' | 'no answer in 5s' | 'protocol mismatch';

export interface ConnectOptions {
  readonly home?: string | undefined;
  readonly socket?: string | undefined;
  /** Declared in `hello`: what speaks, and on whose behalf (shown as `startedBy.via`). */
  readonly client?: string | undefined;
  readonly via?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions {
  readonly names?: readonly string[] | undefined;
  readonly types?: readonly WorkerEvent['type'][] | undefined;
}

/** `stale`: there is a socket, and nobody behind it any more. */
export const unreachable = (socket: string, reason: UnreachableReason, stale = false): WorkerdError =>
  new WorkerdError(
    'daemon.unreachable',
    `cannot reach the daemon at ${socket} (${reason}). Start it with: workerd start --detach`,
    { reason, socket, ...(stale ? { stale } : {}) },
  );

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
  options: Omit<ConnectOptions, 'home' | 'socket'> = {},
): Promise<Client> => {
  checkSocketPath(path);
  const socket = await openSocket(path, options.signal);
  return new Client(socket, path, options);
};

/** A full backlog answers EAGAIN at once: tried again, spread out, for 5 s. */
const openSocket = async (path: string, signal: AbortSignal | undefined): Promise<Socket> => {
  let deadline: number | null = null;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await openOnce(path, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EPERM') throw unreachable(path, 'permission denied');
      if (code === 'ECONNREFUSED' || code === 'ENOTSOCK') throw unreachable(path, 'no socket', true);
      if (code !== 'EAGAIN' && code !== 'ECONNRESET' && code !== 'EPIPE') throw unreachable(path, 'no socket');
      // Only now: the global `performance` is loaded when first used, and most calls never come here.
      deadline ??= performance.now() + answerWithinMs;
      if (performance.now() > deadline) throw unreachable(path, 'no answer in 5s');
      await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 45));
    }
  }
};

const openOnce = (path: string, signal: AbortSignal | undefined): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = createConnection({ path, allowHalfOpen: true });
    const abort = () => socket.destroy(new Error('aborted'));
    const settle = (error?: Error) => {
      signal?.removeEventListener('abort', abort);
      socket.removeListener('error', settle);
      if (error === undefined) resolve(socket);
      else reject(error);
    };
    socket.once('error', settle);
    socket.once('connect', () => settle());
    signal?.addEventListener('abort', abort, { once: true });
  });

/** One connection. Calls may be made at once and are answered as they are done. */
export class Client {
  /** The path of the daemon's socket. */
  readonly socket: string;
  readonly #peer: Peer;
  readonly #hello: Promise<void>;
  readonly #streams = new Map<string, EventStream>();
  /** Events may come in the same chunk as the answer that names their subscription. */
  #unclaimed: WorkerEvent[] = [];
  #subscribing = 0;

  constructor(socket: Socket, path: string, options: Pick<ConnectOptions, 'client' | 'via'> = {}) {
    this.socket = path;
    this.#peer = new Peer({
      socket,
      onNotification: (method, params) => {
        if (method === 'event') this.#event(params as WorkerEvent);
      },
      onClose: (why) => {
        for (const stream of this.#streams.values()) stream.fail(connectionLost(why));
      },
    });
    this.#hello = this.#greet(options);
    // Whoever calls hears of it; a client that never calls has nobody to tell.
    this.#hello.catch(() => {});
  }

  get closed(): boolean {
    return this.#peer.closed;
  }

  async #greet({ client = 'workerctl', via }: Pick<ConnectOptions, 'client' | 'via'>): Promise<void> {
    const uid = process.getuid?.();
    const params = {
      client,
      protocol: protocolVersion,
      pid: process.pid,
      ...(uid === undefined ? {} : { uid }),
      ...(via === undefined ? {} : { via }),
    };
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(unreachable(this.socket, 'no answer in 5s'));
      this.#peer.destroy('it did not answer in 5 s');
    }, answerWithinMs);
    try {
      const answer = (await Promise.race([this.#peer.request('hello', params), late])) as { protocol?: unknown };
      if (answer?.protocol !== protocolVersion) throw new WorkerdError('usage', 'protocol mismatch');
    } catch (error) {
      if (error instanceof WorkerdError && error.code === 'daemon.unreachable') throw error;
      if (error instanceof WorkerdError && error.code === 'daemon.stopping') throw error;
      this.#peer.destroy('it speaks another protocol');
      throw unreachable(this.socket, 'protocol mismatch');
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks the daemon. An aborted call is not waited for any longer; what it began goes on. */
  async call<M extends MethodName>(
    method: M,
    params: ParamsInput<M>,
    { signal }: CallOptions = {},
  ): Promise<Result<M>> {
    return (await this.request(method, params as object, { signal })) as Result<M>;
  }

  /** As `call`, for a method that the table of this version may not know. */
  async request(method: string, params: object, { signal }: CallOptions = {}): Promise<unknown> {
    signal?.throwIfAborted();
    checkLength(method, params);
    const answer = Promise.all([this.#peer.request(method, params), this.#hello]).catch(async (error: unknown) => {
      // A broken greeting is the better reason: it says why the connection ended.
      await this.#hello;
      throw error;
    });
    if (signal === undefined) return (await answer)[0];
    answer.catch(() => {});
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      return (await Promise.race([answer, aborted]))[0];
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** A snapshot of each worker, then every change in order; ends when `signal` is aborted or the loop is left. */
  async *watch(options: WatchOptions = {}, { signal }: CallOptions = {}): AsyncGenerator<WorkerEvent, void, void> {
    if (signal?.aborted) return;
    const stream = new EventStream();
    const abort = () => stream.end();
    signal?.addEventListener('abort', abort, { once: true });
    const params: ParamsInput<'watch'> = {
      ...(options.names === undefined ? {} : { names: [...options.names] }),
      ...(options.types === undefined ? {} : { types: [...options.types] }),
    };
    let subscription = '';
    try {
      subscription = await this.#subscribe(params, stream, signal);
      for (;;) {
        if (stream.overflowed) {
          this.#unsubscribe(subscription);
          subscription = await this.#subscribe(params, stream, signal);
        }
        const event = await stream.next();
        if (event === null) return;
        yield event;
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      this.#unsubscribe(subscription);
    }
  }

  async #subscribe(
    params: ParamsInput<'watch'>,
    stream: EventStream,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    this.#subscribing += 1;
    try {
      const { subscription } = await this.call('watch', params, { signal });
      stream.overflowed = false;
      this.#streams.set(subscription, stream);
      for (const event of this.#unclaimed) if (event.subscription === subscription) stream.push(event);
      return subscription;
    } finally {
      this.#subscribing -= 1;
      if (this.#subscribing === 0) this.#unclaimed = [];
    }
  }

  #unsubscribe(subscription: string): void {
    if (!this.#streams.delete(subscription) || this.#peer.closed) return;
    this.#peer.request('unwatch', { subscription }).catch(() => {});
  }

  #event(event: WorkerEvent): void {
    const stream = this.#streams.get(event.subscription);
    if (stream !== undefined) stream.push(event);
    else if (this.#subscribing > 0) this.#unclaimed.push(event);
  }

  /** Ends the connection; what is not answered yet is rejected. */
  close(): void {
    this.#peer.close('the client closed the connection');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** The events of one subscription, between the socket and whoever iterates. */
class EventStream {
  overflowed = false;
  #queue: WorkerEvent[] = [];
  #ended = false;
  #failure: WorkerdError | null = null;
  #wake: (() => void) | null = null;

  push(event: WorkerEvent): void {
    if (this.#ended || this.overflowed) return;
    if (this.#queue.length >= maxQueuedEvents) {
      this.overflowed = true;
      const { subscription, cursor, at } = event;
      const dropped = this.#queue.length + 1;
      this.#queue = [
        { subscription, cursor, at, name: event.name, generation: event.generation, type: 'gap', dropped },
      ];
    } else this.#queue.push(event);
    this.#wake?.();
  }

  fail(error: WorkerdError): void {
    this.#failure = error;
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** `null`: it was ended. What came before a failure is handed out first. */
  async next(): Promise<WorkerEvent | null> {
    for (;;) {
      if (this.#ended) return null;
      const event = this.#queue.shift();
      if (event !== undefined) return event;
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }
}

/** The daemon cuts a connection that sends too long a line; so it is said here, with the member that fills it. */
const checkLength = (method: string, params: object): void => {
  const bytes = jsonBytes(params) + method.length + 64;
  if (bytes <= limits.maxFrameBytes) return;
  let path = 'params';
  let value: unknown = params;
  while (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const members = Object.entries(value).map(([key, member]) => ({ key, member, bytes: jsonBytes(member) }));
    const largest = members.sort((a, b) => b.bytes - a.bytes)[0];
    if (largest === undefined || largest.bytes < bytes / 2) break;
    path = `${path}.${largest.key}`;
    value = largest.member;
  }
  throw new WorkerdError(
    'usage',
    `${path} is too long: the request has ${bytes} bytes, at most ${limits.maxFrameBytes} can be sent`,
    { member: path },
  );
};

const jsonBytes = (value: unknown): number => {
  const text = JSON.stringify(value);
  return text === undefined ? 0 : Buffer.byteLength(text);
};
