/**
 * Held requests: whoever waits for something to become true of a worker. Looked at once at the beginning and at every
 * committed transition, so that what was true for a moment is not missed.
 */
import { WorkerdError } from '../shared/errors.ts';
import type { WorkerRecord } from './core/model.ts';
import type { Clock } from './ports.ts';
import type { Registry, Transition } from './registry.ts';

/** `undefined`: not yet. What it throws ends the waiting. */
export type Look<T> = (worker: WorkerRecord | null) => T | undefined;

export interface WaitOptions {
  readonly timeoutMs?: number | undefined;
  /** What was waited for, for the words of a timeout. */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
}

interface Listener {
  readonly what: string;
  /** Gives back what ends its waiting, once that has come. */
  readonly hear: (worker: WorkerRecord | null) => (() => void) | null;
}
type Interruption = () => WorkerdError;

export class Waiters {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #interrupts = new Set<(why: Interruption) => void>();
  #interrupted: Interruption | null = null;

  constructor(registry: Registry, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
  }

  /**
   * What was committed together may be a start and an end of the same run. Whoever waited for the earlier, or asked
   * earlier for something else, is answered in an earlier turn: how long the way of an answer is then does not change
   * their order.
   */
  announce(transitions: readonly Transition[]): void {
    const rounds: (() => void)[][] = [];
    const roundsOf = new Map<string, number>();
    const nextRound = (name: string): (() => void)[] => {
      const index = roundsOf.get(name) ?? 0;
      roundsOf.set(name, index + 1);
      const round = rounds[index] ?? [];
      rounds[index] = round;
      return round;
    };
    for (const { name, after } of transitions) {
      let what: string | null = null;
      let round: (() => void)[] = [];
      for (const listener of [...(this.#listeners.get(name) ?? [])]) {
        const answer = listener.hear(after);
        if (answer === null) continue;
        if (listener.what !== what) round = nextRound(name);
        ({ what } = listener);
        round.push(answer);
      }
    }
    settle(rounds);
  }

  /** Whoever waits, now or later, is told this instead. */
  interrupt(why: Interruption): void {
    this.#interrupted = why;
    for (const interrupt of [...this.#interrupts]) interrupt(why);
  }

  async until<T>(name: string, look: Look<T>, options: WaitOptions): Promise<T> {
    await this.#registry.committed(name);
    const now = look(this.#registry.get(name));
    if (now !== undefined) {
      // Another verb of this very turn may have changed it: what is answered holds.
      await this.#registry.committed(name);
      return now;
    }
    const { signal, timeoutMs, what } = options;
    signal?.throwIfAborted();
    if (this.#interrupted !== null) throw this.#interrupted();
    return new Promise<T>((resolve, reject) => {
      let cancel: () => void = () => {};
      const done = () => {
        cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#interrupts.delete(onInterrupt);
        this.#remove(name, listener);
      };
      const onInterrupt = (why: Interruption) => {
        done();
        reject(why());
      };
      const onAbort = () => {
        done();
        reject(signal?.reason);
      };
      const hear: Listener['hear'] = (worker) => {
        try {
          const found = look(worker);
          if (found === undefined) return null;
          done();
          return () => resolve(found);
        } catch (error) {
          done();
          return () => reject(error);
        }
      };
      const listener: Listener = { what, hear };
      if (timeoutMs !== undefined) {
        cancel = this.#clock.at(this.#clock.mono() + timeoutMs, () => {
          done();
          const time = timeoutMs < 1000 ? `${timeoutMs} ms` : `${timeoutMs / 1000} s`;
          reject(new WorkerdError('wait.timeout', `${name}: not ${what} within ${time}`, { name, timeoutMs }));
        });
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#interrupts.add(onInterrupt);
      this.#add(name, listener);
    });
  }

  #add(name: string, listener: Listener): void {
    const listeners = this.#listeners.get(name) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(name, listeners);
  }

  #remove(name: string, listener: Listener): void {
    const listeners = this.#listeners.get(name);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(name);
  }
}

/** A turn for each round. */
const settle = (rounds: readonly (readonly (() => void)[])[], index = 0): void => {
  for (const answer of rounds[index] ?? []) answer();
  if (index + 1 < rounds.length) setImmediate(settle, rounds, index + 1);
};
