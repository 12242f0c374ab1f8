/**
 * Ctrl-C and SIGTERM while `run` stays with a worker: the first one stops it, a second one kills it. They count from
 * before the worker is asked for, so that none is left running by a key that came too early.
 */
import { constants } from 'node:os';
import type { Client } from '../shared/client.ts';
import { WorkerdError } from '../shared/errors.ts';
import type { Context } from './context.ts';

const signals = ['SIGINT', 'SIGTERM'] as const;
/** Most workers are gone sooner. */
const sayMoreAfterMs = 1000;
/** What a worker that was interrupted said last, a piece at a time. */
const readWithinMs = 2000;

export class Interrupts {
  readonly #context: Context;
  readonly #undo: readonly (() => void)[];
  readonly #givenUp = new AbortController();
  readonly #refused = Promise.withResolvers<WorkerdError>();
  #count = 0;
  #signal: (typeof signals)[number] = 'SIGINT';
  #leave: (() => void) | null = null;
  #passed = 0;
  #worker: { readonly client: Client; readonly name: string } | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: Context) {
    this.#context = context;
    this.#undo = signals.map((signal) => context.io.onSignal(signal, () => this.#hear(signal)));
  }

  /** What to exit with where there was one: 130 for Ctrl-C, 143 for SIGTERM. */
  get code(): number | null {
    return this.#count === 0 ? null : 128 + constants.signals[this.#signal];
  }

  /** A second one before there was a worker: nobody waits for it any longer. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal;
  }

  /** Why the worker cannot be ended, where that is so. */
  get refused(): Promise<WorkerdError> {
    return this.#refused.promise;
  }

  /** Some of its output was taken. */
  passed(): void {
    this.#passed += 1;
  }

  /**
   * Of a worker that has ended: whether its output was left behind. So it is with the next signal, and after an earlier
   * one where nobody reads it.
   */
  async leaves(output: Promise<unknown>): Promise<boolean> {
    const leaving = Promise.withResolvers<void>();
    this.#leave = leaving.resolve;
    clearTimeout(this.#timer);
    let seen = -1;
    const look = () => {
      if (this.#count > 0 && seen === this.#passed) leaving.resolve();
      seen = this.#passed;
      this.#timer = setTimeout(look, readWithinMs);
    };
    look();
    try {
      return await Promise.race([output.then(() => false), leaving.promise.then(() => true)]);
    } finally {
      clearTimeout(this.#timer);
      this.#leave = null;
    }
  }

  /** As the signal does by itself: an exit would wait for the write that is stuck. */
  end(): void {
    this.#context.io.endBy(this.#signal);
  }

  /** From now on they are meant for this worker, and so is one that came before. */
  attach(client: Client, name: string): void {
    this.#worker = { client, name };
    if (this.#count > 0) this.#end();
  }

  stop(): void {
    clearTimeout(this.#timer);
    for (const undo of this.#undo) undo();
  }

  #hear(signal: (typeof signals)[number]): void {
    if (this.#count === 0) this.#signal = signal;
    this.#count += 1;
    if (this.#leave !== null) this.#leave();
    else if (this.#worker !== null) this.#end();
    else if (this.#count > 1) {
      this.#givenUp.abort(new WorkerdError('internal', `ended by ${signal}`, { exitCode: this.code }));
    }
  }

  #end(): void {
    const worker = this.#worker;
    if (worker === null || this.#count > 2) return;
    const { client, name } = worker;
    client.call('stop', { name, force: this.#count > 1 }).catch((error: unknown) => {
      if (error instanceof WorkerdError && error.code === 'worker.busy') this.#refused.resolve(error);
    });
    if (this.#count === 1 && this.#context.io.stderr.isTty) {
      this.#timer = setTimeout(
        () => this.#context.note(`${name} was asked to stop; Ctrl-C again kills it`),
        sayMoreAfterMs,
      );
      this.#timer.unref();
    } else clearTimeout(this.#timer);
  }
}
