/**
 * Gives back the memory of a burst once it is over. V8 collects what it must to go on, and keeps what it has: after a
 * thousand starts a daemon would hold, until the next thousand, twice what it needs. So whatever is done is told here;
 * when nothing has been done for a moment and memory has grown, it is collected, once. Without anything to do there is
 * no timer.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** So long nobody has asked for anything. */
const quietMs = 500;
/** Each costs some 20 to 50 ms of CPU, in which nobody is answered. */
const atMostEveryMs = 5000;
/** What is less is not worth it: the young generation alone comes and goes by 4 MiB. */
const leastGrowthBytes = 6 * 1024 * 1024;

export interface LeisureOptions {
  /** What can be done without until it is asked for again. */
  readonly letGo?: () => void;
  /** Bytes of this process that are in memory. */
  readonly resident?: () => number;
  readonly collect?: () => void;
}

/** All there is to collect, and the pages to the system at once; V8 by itself would be in no hurry. */
const collectAll = (): void => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how: object) => void;
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
};

export class Leisure {
  readonly #letGo: () => void;
  readonly #resident: () => number;
  readonly #collect: () => void;
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;
  /** Since the last collection; at first all that the start has left behind is to go. `null`: it is to be looked. */
  #kept: number | null = 0;
  #collectedMs = Number.NEGATIVE_INFINITY;

  constructor({
    letGo = () => {},
    resident = () => process.memoryUsage.rss(),
    collect = collectAll,
  }: LeisureOptions = {}) {
    this.#letGo = letGo;
    this.#resident = resident;
    this.#collect = collect;
  }

  /** Something is being done now. */
  busy(): void {
    this.#isBusy = true;
    if (this.#timer !== null) return;
    // Not right after a collection: other threads give pages back a little later.
    this.#kept ??= this.#resident();
    this.#lookIn(quietMs);
  }

  #lookIn(ms: number): void {
    this.#isBusy = false;
    this.#timer = setTimeout(() => this.#look(), ms);
    this.#timer.unref();
  }

  #look(): void {
    this.#timer = null;
    if (this.#isBusy) {
      this.#lookIn(quietMs);
      return;
    }
    if (this.#resident() - (this.#kept ?? 0) < leastGrowthBytes) return;
    const now = performance.now();
    const waitMs = this.#collectedMs + atMostEveryMs - now;
    if (waitMs > 0) {
      this.#lookIn(Math.max(waitMs, quietMs));
      return;
    }
    this.#letGo();
    this.#collect();
    this.#kept = null;
    this.#collectedMs = performance.now();
  }
}
