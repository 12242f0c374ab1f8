/** A clock that only goes when it is told to. `advance` is synchronous; `run` lets the event loop turn at each step. */
import type { Clock } from '../../src/daemon/ports.ts';

interface Timer {
  readonly mono: number;
  readonly callback: () => void;
}

const epoch = Date.parse('2026-01-02T03:04:05.678Z');

/** Lets everything happen that needs no time: promises, commits, announcements. */
export const turns = async (count = 8): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
};

export class FakeClock implements Clock {
  #mono = 0;
  #timers: Timer[] = [];

  now(): number {
    return epoch + this.#mono;
  }

  mono(): number {
    return this.#mono;
  }

  at(mono: number, callback: () => void): () => void {
    const timer = { mono, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  /** Deadlines that wait. */
  get pending(): number {
    return this.#timers.length;
  }

  /** When the next deadline is due; `null`: none waits. */
  get nextMono(): number | null {
    return this.#timers.length === 0 ? null : Math.min(...this.#timers.map(({ mono }) => mono));
  }

  advance(ms: number): void {
    const untilMono = this.#mono + ms;
    while (this.#fireNext(untilMono));
    this.#mono = untilMono;
  }

  async run(ms: number): Promise<void> {
    const untilMono = this.#mono + ms;
    await turns();
    while (this.#fireNext(untilMono)) await turns();
    this.#mono = untilMono;
    await turns();
  }

  #fireNext(untilMono: number): boolean {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.mono <= untilMono && (next === undefined || timer.mono < next.mono)) next = timer;
    }
    if (next === undefined) return false;
    this.#timers = this.#timers.filter((each) => each !== next);
    this.#mono = Math.max(this.#mono, next.mono);
    next.callback();
    return true;
  }
}
