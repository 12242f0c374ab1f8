/**
 * What is passed on to a living run: signals, messages, published state. A shim that is away for a moment is waited for;
 * where one went away, or stands still, with the answer due, it is said that nobody knows.
 */
import { WorkerdError } from '../shared/errors.ts';
import type { Json, JsonObject } from '../shared/worker.ts';
import { isLive, type Run, type WorkerRecord } from './core/model.ts';
import { phaseOf } from './core/view.ts';
import { type Clock, isShimAway, type Shim } from './ports.ts';
import type { ShimMethods } from './shim/protocol.ts';

export interface DeliveriesOptions {
  readonly known: (name: string) => WorkerRecord;
  readonly shim: Shim & { ready(): Promise<void> };
  readonly clock: Clock;
}

/** A new shim answers within a fraction of it; one that does not is stopped, or cannot be started. */
const shimMs = 5000;
const untold = Symbol('no answer in time');

export class Deliveries {
  readonly #options: DeliveriesOptions;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  async signal(name: string, signal: string): Promise<void> {
    await this.#ask(name, 'signal', (run) => {
      if (run.kind === 'thread') {
        throw new WorkerdError('usage', `${name} is a thread: it has no process of its own to signal`, { name });
      }
      return { run: run.id, signal, to: 'group' };
    });
  }

  async send(name: string, text: string): Promise<void> {
    const { known, shim } = this.#options;
    const { spec, run } = known(name);
    const { delivered } =
      spec.stdin && spec.kind !== 'thread'
        ? await this.#ask(name, 'input', ({ id }) => ({ run: id, text: `${text}\n` }))
        : await this.#ask(name, 'down', ({ id }) => ({ run: id, message: { message: text } }));
    if (delivered) return;
    // It may have ended, and the shim told of that before it answers this.
    await this.#inTime(shim.call('ack', { upTo: 0 })).catch(() => {});
    if (this.#runningRun(name).id !== run?.id) throw notRunning(name, 'it has ended');
    throw new WorkerdError('limit.exceeded', `${name} does not read what it is sent; try again later`, { name });
  }

  /** The run that took it, with its state as it is now. Said twice, it is the same: a new shim is asked again. */
  async publish(name: string, patch: Readonly<Record<string, Json>>): Promise<{ run: string } & Published> {
    let run = '';
    const taken = await this.#ask(
      name,
      'publish',
      ({ id }) => {
        run = id;
        return { run: id, patch: patch as JsonObject };
      },
      true,
    );
    return { run, ...taken };
  }

  async #ask<M extends 'signal' | 'down' | 'input' | 'publish'>(
    name: string,
    method: M,
    params: (run: Run) => ShimMethods[M]['params'],
    again = false,
  ): Promise<ShimMethods[M]['result']> {
    const { shim } = this.#options;
    const order = params(this.#runningRun(name));
    if (!shim.settled) {
      if ((await this.#inTime(shim.ready())) === untold) {
        throw new WorkerdError('worker.busy', `${name} cannot be reached now: ${noShim}`, { name, reason: 'shim' });
      }
      // It may have ended meanwhile.
      return this.#ask(name, method, params, again);
    }
    try {
      const answer = await this.#inTime(shim.call(method, order));
      if (answer !== untold) return answer;
    } catch (error) {
      // It has ended, and its end is on its way.
      if (error instanceof WorkerdError && error.code === 'worker.not-found') throw notRunning(name, 'it has ended');
      if (!isShimAway(error)) throw error;
      if (again) return this.#ask(name, method, params, again);
    }
    const words = `it is not known whether ${name} got it: ${noAnswer}`;
    throw new WorkerdError('worker.busy', words, { name, reason: 'shim' });
  }

  #runningRun(name: string): Run {
    const worker = this.#options.known(name);
    const { run } = worker;
    if (isLive(run) && run.stage !== 'ordered') return run;
    throw notRunning(name, phaseOf(worker));
  }

  async #inTime<T>(answer: Promise<T>): Promise<T | typeof untold> {
    const { clock } = this.#options;
    const { promise, resolve } = Promise.withResolvers<typeof untold>();
    const cancel = clock.at(clock.mono() + shimMs, () => resolve(untold));
    // Given up, its failure is nobody's.
    answer.catch(() => {});
    try {
      return await Promise.race([answer, promise]);
    } finally {
      cancel();
    }
  }
}

const notRunning = (name: string, why: string): WorkerdError =>
  new WorkerdError('worker.not-running', `${name} does not run (${why})`, { name });

type Published = ShimMethods['publish']['result'];

const seeMore = 'Try again, and see: workerctl daemon status';
export const noShim = `no shim, the process that holds all workers, answers the daemon. ${seeMore}`;
const noAnswer = `the shim, the process that holds all workers, went away or stands still. ${seeMore}`;
