/**
 * One connection to the daemon: opening it, the greeting, requests, and the events of its subscriptions. What becomes of
 * its users when it is lost is client.ts's business.
 */
import { createConnection, type Socket } from 'node:net';
import { pause } from './aborting.ts';
import { WorkerdError } from './errors.ts';
import type { EventStream } from './event-stream.ts';
import { diedHandingOver, isHandingOver, readHandover, wasHandedOver } from './handover.ts';
import { connectionLost, Peer } from './peer.ts';
import type { WorkerEvent } from './protocol.ts';
import { sinceBoot } from './since-boot.ts';

const protocolVersion = 1;
const answerWithinMs = 5000;

/** Why a daemon cannot be reached, as it stands in the message and in `data.reason`. */
export type UnreachableReason = 'no socket' | 'permission denied' | 'no answer in 5s' | 'protocol mismatch';

/** `stale`: a daemon crashed there, and left its socket, or the note of its replacement. */
export const unreachable = (socket: string, reason: UnreachableReason, stale = false): WorkerdError =>
  new WorkerdError(
    'daemon.unreachable',
    `cannot reach the daemon at ${socket} (${reason}). Start it with: workerd start --detach`,
    { reason, socket, ...(stale ? { stale } : {}) },
  );

/** The connection was there and is no more. */
export const isLost = (error: unknown): boolean =>
  error instanceof WorkerdError && error.data['reason'] === 'connection lost';

/** A full backlog answers EAGAIN at once: tried again, spread out, for 5 s; a daemon that is being replaced for longer. */
export const openSocket = async (path: string, signal: AbortSignal | undefined): Promise<Socket> => {
  let deadline: number | null = null;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await openOnce(path, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EPERM') throw unreachable(path, 'permission denied');
      if ((code === 'ECONNREFUSED' || code === 'ENOENT') && mayBeReplaced(path)) {
        await pause(10 + Math.random() * 20, signal);
        continue;
      }
      if (code === 'ECONNREFUSED' || code === 'ENOTSOCK') throw unreachable(path, 'no socket', true);
      if (code !== 'EAGAIN' && code !== 'ECONNRESET' && code !== 'EPIPE') {
        throw unreachable(path, 'no socket', code === 'ENOENT' && diedHandingOver(path));
      }
      // Only now: the global `performance` is loaded when first used, and most calls never come here.
      deadline ??= performance.now() + answerWithinMs;
      if (performance.now() > deadline) throw unreachable(path, 'no answer in 5s');
      await pause(5 + Math.random() * 45, signal);
    }
  }
};

/**
 * A daemon is being replaced, or has been a moment ago: the next one may have begun to listen, and said so, between our
 * finding no socket and our reading of the note.
 */
const mayBeReplaced = (path: string): boolean => {
  if (isHandingOver(path) !== null) return true;
  const sinceMs = sinceBoot() - (readHandover(path)?.untilMono ?? Number.NEGATIVE_INFINITY);
  return sinceMs >= 0 && sinceMs < 1000;
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

/** How a verb goes on with the next daemon: what this one had begun, or nothing. */
export interface Accepted {
  readonly name: string;
  readonly outcome: string;
  readonly generation: number;
}

/** The daemon is being replaced and did not do what was asked, or began it (`accepted`) and does not stay to see the end. */
export const replacement = (error: unknown): { readonly accepted: Accepted | null } | null => {
  if (!(error instanceof WorkerdError) || error.data['restarting'] !== true) return null;
  return { accepted: (error.data['accepted'] as Accepted | undefined) ?? null };
};

/** What a connection says of its owner in `hello`. */
export interface Greeting {
  readonly client?: string | undefined;
  readonly via?: string | undefined;
}

export class Connection {
  readonly #path: string;
  readonly #openedMono = sinceBoot();
  readonly #peer: Peer;
  /** Settles with the answer to `hello`, which travels with the first request in one write. */
  readonly greeted: Promise<void>;
  readonly #streams = new Map<string, EventStream>();
  /** Events may come in the same chunk as the answer that names their subscription. */
  #unclaimed: WorkerEvent[] = [];
  #subscribing = 0;

  constructor(socket: Socket, path: string, greeting: Greeting) {
    this.#path = path;
    this.#peer = new Peer({
      socket,
      onNotification: (method, params) => {
        if (method === 'event') this.#event(params as WorkerEvent);
      },
      onClose: (why) => {
        for (const stream of this.#streams.values()) stream.fail(connectionLost(why));
      },
    });
    this.greeted = this.#greet(greeting);
    // Whoever calls hears of it; a client that never calls has nobody to tell.
    this.greeted.catch(() => {});
  }

  get closed(): boolean {
    return this.#peer.closed;
  }

  async #greet({ client = 'workerctl', via }: Greeting): Promise<void> {
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
      reject(unreachable(this.#path, 'no answer in 5s'));
      this.#peer.destroy('it did not answer in 5 s');
    }, answerWithinMs);
    try {
      const answer = (await Promise.race([this.#peer.request('hello', params), late])) as { protocol?: unknown };
      if (answer?.protocol !== protocolVersion) throw new WorkerdError('usage', 'protocol mismatch');
    } catch (error) {
      if (error instanceof WorkerdError && error.code === 'daemon.unreachable') throw error;
      if (error instanceof WorkerdError && error.code === 'daemon.stopping') throw error;
      this.#peer.destroy('it speaks another protocol');
      throw unreachable(this.#path, 'protocol mismatch');
    } finally {
      clearTimeout(timer);
    }
  }

  async request(method: string, params: object): Promise<unknown> {
    try {
      return (await Promise.all([this.#peer.request(method, params), this.greeted]))[0];
    } catch (error) {
      // A broken greeting is the better reason: it says why the connection ended.
      await this.greeted;
      throw error;
    }
  }

  /** Asks by a method that answers with a subscription, whose events go to `stream`. */
  async subscribe(method: string, params: object, stream: EventStream): Promise<Subscribed> {
    this.#subscribing += 1;
    try {
      const answer = (await this.request(method, params)) as Subscribed;
      const { subscription } = answer;
      if (subscription !== undefined) {
        this.#streams.set(subscription, stream);
        for (const event of this.#unclaimed) if (event.subscription === subscription) stream.push(event);
      }
      return answer;
    } finally {
      this.#subscribing -= 1;
      if (this.#subscribing === 0) this.#unclaimed = [];
    }
  }

  unsubscribe(subscription: string | undefined): void {
    if (subscription === undefined || !this.#streams.delete(subscription) || this.#peer.closed) return;
    this.#peer.request('unwatch', { subscription }).catch(() => {});
  }

  #event(event: WorkerEvent): void {
    const stream = this.#streams.get(event.subscription);
    if (stream !== undefined) stream.push(event);
    else if (this.#subscribing > 0) this.#unclaimed.push(event);
  }

  /**
   * It ended because the daemon was replaced: what was not answered was not done. Also where it was opened when the
   * replacement had begun: the daemon that goes still listens until everything else is answered.
   */
  get wasReplaced(): boolean {
    return wasHandedOver(this.#path, this.#openedMono);
  }

  close(why: string): void {
    this.#peer.close(why);
  }

  destroy(why: string): void {
    this.#peer.destroy(why);
  }
}

export interface Subscribed {
  readonly subscription?: string;
}
