/**
 * `ctx` over the two ends of a control channel. Publishing never waits; what ends a run (`say`, `flush`) does, and is
 * then with the reader. The channel is read when the event loop turns and by `shouldStop()`, whichever comes first.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout } from 'node:timers';
import type { Json, Progress, StopRequest, WorkerContext } from './contract.ts';
import { Messages } from './messages.ts';
import { PublishedState } from './published-state.ts';
import { isRecord, type Launch, LineReader, LineWriter, type UpLine } from './wire.ts';

const flushEveryMs = 10;
const lookEveryMs = 1;
/** How rarely a reader that takes nothing (a dead shim) is tried in the end. */
const slowestRetryMs = 1000;

export interface RuntimeOptions {
  readonly launch: Launch;
  readonly kind: WorkerContext['kind'];
  readonly up: number;
  readonly down: number;
}

export class Runtime {
  readonly ctx: WorkerContext<Json>;
  readonly #up: LineWriter;
  readonly #down: LineReader;
  readonly #state = new PublishedState();
  readonly #messages = new Messages(note);
  readonly #abort = new AbortController();
  #stop: StopRequest | null = null;
  #ready = false;
  /** Said once, and true for as long as it runs. */
  readonly #holds: UpLine[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #flushAt = 0;
  #retryMs = flushEveryMs;
  #timed = false;
  #leaving = false;

  constructor({ launch, kind, up, down }: RuntimeOptions) {
    this.#up = new LineWriter(up);
    this.#down = new LineReader(down, (line) => this.#hear(line));
    this.ctx = this.#context(launch, kind);
  }

  /** Starts reading; from then on the channel keeps the event loop alive. */
  listen(): void {
    this.#down.listen();
  }

  /** Was it to stop, and is this how it shows? */
  isStopping(error: unknown): boolean {
    if (this.#stop === null) return false;
    return error === this.#abort.signal.reason || (isRecord(error) && error['name'] === 'AbortError');
  }

  say(line: UpLine): void {
    if ('running' in line || 'ready' in line) this.#holds.push(line);
    this.#up.write(JSON.stringify(line));
  }

  /** Ended, with JSON text as the result. */
  sayReturned(result: string): void {
    this.#up.write(`{"exit":{"kind":"returned"},"result":${result}}`);
  }

  /** Returns once everything that was published is written. */
  flush(): void {
    this.#up.write(this.#state.dirty ? this.#state.pendingLine() : undefined);
    this.#state.sent();
  }

  /** The loop will not turn again: what is published from now on is written at once. */
  leave(): void {
    this.#leaving = true;
    this.flush();
  }

  #context(launch: Launch, kind: WorkerContext['kind']): WorkerContext<Json> {
    const publish = (patch: Readonly<Record<string, unknown>>): void => {
      if (!isRecord(patch)) throw new TypeError('cannot publish: a patch is an object, e.g. publish({ counter: 1 })');
      this.#state.merge(patch);
      this.#flushIfDue(performance.now());
    };
    const look = (): StopRequest | null => this.#look();
    const state = () => this.#state.view();
    return {
      name: launch.name,
      kind,
      generation: launch.generation,
      params: launch.params,
      signal: this.#abort.signal,
      messages: this.#messages,
      publish,
      get stop() {
        return look();
      },
      get state() {
        return state();
      },
      shouldStop: () => look() !== null,
      progress: (done, total = null, unit = null) => publish({ progress: { done, total, unit } satisfies Progress }),
      ready: () => {
        if (this.#ready) return;
        this.#ready = true;
        this.flush();
        this.say({ ready: true });
      },
    };
  }

  #look(): StopRequest | null {
    const now = performance.now();
    if (now - this.#lookedAt < lookEveryMs) return this.#stop;
    this.#lookedAt = now;
    this.#down.poll();
    this.#flushIfDue(now);
    return this.#stop;
  }

  #flushIfDue(now: number): void {
    if (this.#leaving) this.flush();
    else if (now >= this.#flushAt) this.#tryFlush(now);
    else this.#flushLater(this.#flushAt - now);
  }

  #tryFlush(now: number): void {
    const taken = this.#up.finish() && (!this.#state.dirty || this.#up.offer(this.#state.pendingLine()));
    if (taken) this.#state.sent();
    this.#retryMs = taken ? flushEveryMs : Math.min(this.#retryMs * 2, slowestRetryMs);
    this.#flushAt = now + this.#retryMs;
    if (!taken || !this.#up.finish()) this.#flushLater(this.#retryMs);
  }

  /** One timer at a time, never taken back: in a busy loop it costs nothing, and one that comes for nothing is cheap. */
  #flushLater(ms: number): void {
    if (this.#timed || !(this.#state.dirty || !this.#up.finish())) return;
    this.#timed = true;
    const timer = setTimeout(() => {
      this.#timed = false;
      this.#flushIfDue(performance.now());
    }, ms);
    timer.unref();
  }

  #hear(line: Readonly<Record<string, unknown>>): void {
    const { stop, message, state, error, again } = line;
    if (isRecord(stop)) this.#hearStop(stop);
    else if (again === true) this.#sayAgain();
    else if (typeof message === 'string') this.#messages.push(message);
    else if (isRecord(state)) this.#hearState(state);
    else if (typeof error === 'string') note(error);
  }

  /** Whoever heard it the first time is gone, and may have kept it to itself. */
  #sayAgain(): void {
    this.#up.write(this.#state.againLine());
    for (const line of this.#holds) this.#up.write(JSON.stringify(line));
  }

  #hearStop(stop: Readonly<Record<string, unknown>>): void {
    const first = this.#stop === null;
    const { reason, deadline, by } = stop;
    this.#stop = Object.freeze({ reason: String(reason), deadline: String(deadline), by: (by ?? null) as Json });
    if (!first) return;
    this.#messages.end();
    const error = new Error(`stop requested: ${this.#stop.reason}`);
    error.name = 'AbortError';
    this.#abort.abort(error);
  }

  #hearState(patch: Readonly<Record<string, unknown>>): void {
    try {
      this.#state.mergeOutside(patch);
    } catch (error) {
      note(`a patch from outside was left out: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Ours among the worker's own lines. */
export function note(text: string): void {
  process.stderr.write(`workerd: ${text}\n`);
}
