/**
 * The daemon's line to the shim: finds a living one or starts one, speaks the frozen protocol, reconnects, and hands
 * facts on in order. "Does not answer" is never taken for "dead": a second shim is started only when the socket refuses
 * and the process known to be the shim is gone.
 */
import type { Socket } from 'node:net';
import { WorkerdError } from '../shared/errors.ts';
import { failpoint, failpointAfterTurn } from '../shared/failpoints.ts';
import type { Places } from '../shared/paths.ts';
import { Peer } from '../shared/peer.ts';
import { shimToken } from '../shared/shim-token.ts';
import { KnownShim } from './known-shim.ts';
import type { Clock, Logger, ProcessTable, Shim, ShimListener, Store } from './ports.ts';
import {
  type Fact,
  type HelloResult,
  type Remark,
  type ShimMethods,
  type StateNote,
  shimProtocolVersion,
} from './shim/protocol.ts';
import { startShim, tryConnect } from './shim-start.ts';

export interface ShimLinkOptions {
  readonly places: Places;
  /** argv that starts a shim; `null`: it is somebody else's to start (`--external-shim`). */
  readonly command: readonly string[] | null;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly processes: ProcessTable;
  readonly store: Pick<Store, 'meta' | 'setMeta'>;
  readonly listener: ShimListener;
}

/** How soon a shim that cannot be reached is looked for again. */
const retryMs = 200;
/** … one that does not start, as each try costs a start of Node: twice as long every time, up to this. */
const longestRetryMs = 2000;
/** What goes on and on is in the log this often. */
const sayAgainMs = 60_000;
const neverSaid = { why: '', atMono: Number.NEGATIVE_INFINITY };
/** Nobody listens there. Anything else (EMFILE, EAGAIN) says nothing of the shim. */
const refusing: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTDIR', 'ENOTSOCK']);
/** One that has not greeted back by then stands still, for as long as it may. */
const greetMs = 1000;

export class ShimLink implements Shim {
  readonly #options: ShimLinkOptions;
  readonly #token: string;
  #peer: Peer | null = null;
  #closed = false;
  #establishing = false;
  #settled = false;
  readonly #silence = Promise.withResolvers<void>();
  #lastSeq = 0;
  #acknowledged = 0;
  /** What it told could not be written: nothing later is taken, or acknowledged, before that is told again. */
  #refused = false;
  #cancelRetry: () => void = () => {};
  /** Facts that arrived in this turn: handed on together. */
  #facts: Fact[] = [];
  #waiting: (() => void)[] = [];
  #hello: HelloResult | null = null;
  readonly known: KnownShim;
  #heardMono = 0;
  /** Since when one is looked for. */
  #soughtMono = 0;
  #startRetryMs = retryMs;
  /** The last failure that was logged since a shim answered. */
  #said = neverSaid;

  constructor(options: ShimLinkOptions) {
    this.#options = options;
    this.#token = shimToken(options.places.shimToken);
    this.known = new KnownShim(options);
  }

  get connected(): boolean {
    return this.#peer !== null;
  }

  get settled(): boolean {
    return this.#settled && this.#peer !== null;
  }

  get pid(): number | null {
    return this.#hello?.pid ?? null;
  }

  /** As it introduced itself, and when it last said anything; `null`: there is no connection to one. */
  get shim(): (HelloResult & { readonly heardMono: number }) | null {
    return this.#hello === null ? null : { ...this.#hello, heardMono: this.#heardMono };
  }

  /** Resolves once a shim answers and its runs are known; with an external shim that may take long. */
  async start(): Promise<void> {
    await this.#establish();
  }

  /** One is there and has not greeted back, or none can be had: it may be long before `start` resolves. */
  get silence(): Promise<void> {
    return this.#silence.promise;
  }

  async call<M extends keyof ShimMethods>(
    method: M,
    params: ShimMethods[M]['params'],
  ): Promise<ShimMethods[M]['result']> {
    const peer = this.#peer;
    if (peer === null) throw new WorkerdError('internal', 'the shim does not answer', { reason: 'shim' });
    const result = (await peer.request(method, params)) as ShimMethods[M]['result'];
    this.#hears();
    return result;
  }

  #hears(): void {
    this.#heardMono = this.#options.clock.mono();
  }

  /** All facts up to this one are on disk. */
  acknowledge(upTo: number): void {
    if (this.#refused) return;
    this.#acknowledged = Math.max(this.#acknowledged, upTo);
    this.known.writeOwed();
    void this.call('ack', { upTo }).catch(() => {});
    failpointAfterTurn('facts.acknowledged');
  }

  /** What was told in this turn could not be written; `retell` follows when it may be tried again. */
  refuse(): void {
    this.#refused = true;
    this.#facts = [];
  }

  /** Asks for all that was not acknowledged again: it could not be written. */
  retell(): void {
    this.#refused = false;
    this.#lastSeq = this.#acknowledged;
    void this.call('facts', { after: this.#acknowledged }).catch(() => {});
  }

  /** Until a shim answers, and what it had kept is known. */
  ready(): Promise<void> {
    if (this.settled) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Tells the shim to end; its going is expected. The pid of what is about to be gone. */
  async shutdown(): Promise<number> {
    this.#closed = true;
    return (await this.call('shutdown', {})).pid;
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry();
    this.#peer?.close('the daemon ends');
    this.#peer = null;
  }

  /** One at a time: a shim that dies while it is being greeted is looked for by the loop that greeted it. */
  async #establish(): Promise<void> {
    if (this.#establishing) return;
    this.#establishing = true;
    try {
      await this.#seek();
    } finally {
      this.#establishing = false;
    }
  }

  async #seek(): Promise<void> {
    const { places, clock } = this.#options;
    this.#soughtMono = clock.mono();
    while (!this.#closed) {
      const attempt = await tryConnect(places.shimSocket);
      if ('socket' in attempt) {
        try {
          await this.#greet(attempt.socket);
          return;
        } catch (error) {
          this.#failed(`it did not take the daemon's greeting: ${wordsOf(error)}`, this.#afterRefusal(error));
          attempt.socket.destroy();
        }
      } else if (this.#options.command !== null && refusing.has(attempt.error.code ?? '') && this.known.isDead) {
        await this.#spawn(this.#options.command);
        continue;
      } else {
        const whose = this.#options.command === null ? 'a service manager starts it' : 'its process may be there';
        this.#missed(`${places.shimSocket} cannot be reached (${attempt.error.code}), and ${whose}`);
      }
      await this.#pause();
    }
  }

  async #greet(socket: Socket): Promise<void> {
    const { log, listener } = this.#options;
    const peer: Peer = new Peer({
      socket,
      onNotification: (method, params) => this.#told(method, params),
      onClose: (why) => {
        if (this.#peer !== peer) return;
        this.#peer = null;
        this.#hello = null;
        this.#settled = false;
        if (this.#closed) return;
        log.warn({ why }, 'lost the connection to the shim');
        listener.lost(why);
        void this.#establish();
      },
    });
    const ask = async <M extends keyof ShimMethods>(method: M, params: ShimMethods[M]['params']) =>
      (await peer.request(method, params)) as ShimMethods[M]['result'];
    const { clock } = this.#options;
    const cancel = clock.at(clock.mono() + greetMs, () => {
      listener.notReached('one takes connections and does not answer: it may be stopped by a signal');
      this.#silence.resolve();
    });
    const hello: HelloResult = await ask('hello', { protocol: shimProtocolVersion, token: this.#token }).finally(
      cancel,
    );
    const { pid } = hello;
    if (this.known.meet(hello)) {
      // Its numbers are above those of the one before, unless the clock went back and the disk was full, or the like.
      this.#lastSeq = 0;
      this.#acknowledged = 0;
    }
    const { runs } = await ask('list', {});
    this.#peer = peer;
    this.#hello = hello;
    this.#said = neverSaid;
    this.#hears();
    log.info({ pid, version: hello.version, runs: runs.length }, 'connected to the shim');
    await listener.connected(runs);
    await ask('facts', { after: 0 });
    // What was kept has been told before this is answered: nobody is served from an older truth.
    await ask('list', {});
    this.#settled = true;
    listener.told();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #told(method: string, params: unknown): void {
    const { listener, log } = this.#options;
    this.#hears();
    if (method === 'fact') {
      if (this.#refused) return;
      const fact = params as Fact;
      if (fact.seq <= this.#lastSeq) return;
      failpoint('facts.received');
      this.#lastSeq = fact.seq;
      if (this.#facts.length === 0) queueMicrotask(() => this.#handOn());
      this.#facts.push(fact);
    } else if (method === 'state') {
      this.#handOn();
      listener.state(params as StateNote);
    } else if (method === 'remark') {
      log.warn(params as object, 'the shim remarks');
      listener.remark(params as Remark);
    }
  }

  #handOn(): void {
    if (this.#facts.length === 0) return;
    const facts = this.#facts;
    this.#facts = [];
    this.#options.listener.facts(facts);
  }

  async #spawn(command: readonly string[]): Promise<void> {
    const { env, places, processes } = this.#options;
    const failed = await startShim(command, { env, log: places.shimLog, processes });
    if (failed === null) {
      this.#startRetryMs = retryMs;
      return;
    }
    this.#failed(`it did not start: ${failed}`);
    await this.#pause(this.#startRetryMs);
    this.#startRetryMs = Math.min(longestRetryMs, 2 * this.#startRetryMs);
  }

  /** It answers, and will go on answering that: none is started beside it. */
  #afterRefusal(error: unknown): string | undefined {
    if (!(error instanceof WorkerdError) || error.code !== 'usage') return undefined;
    const { pid } = this.known.identity ?? {};
    return `End it, which no worker notices, and another is started: kill -9 ${pid ?? 'PID (workerctl doctor names it)'}`;
  }

  /** A try came to nothing. Nobody waits for ever for one that comes to something. */
  #missed(why: string, next?: string): void {
    const { clock, listener } = this.#options;
    listener.notReached(why, next);
    if (clock.mono() - this.#soughtMono >= greetMs) this.#silence.resolve();
  }

  #failed(why: string, next?: string): void {
    const { clock, log } = this.#options;
    this.#missed(why, next);
    const { why: before, atMono } = this.#said;
    if (why === before && clock.mono() - atMono < sayAgainMs) return;
    this.#said = { why, atMono: clock.mono() };
    log.error({ why }, 'no shim; trying again');
  }

  #pause(ms = retryMs): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const cancel = clock.at(clock.mono() + ms, resolve);
      this.#cancelRetry = () => {
        cancel();
        resolve();
      };
    });
  }
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
