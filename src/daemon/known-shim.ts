/** Which process the shim is: the last that answered, known also to the next daemon. "Dead" is said of that one alone. */
import type { Identity } from './core/model.ts';
import { isGone } from './orphans.ts';
import type { Logger, ProcessTable, Store } from './ports.ts';

export interface KnownShimOptions {
  readonly store: Pick<Store, 'meta' | 'setMeta'>;
  readonly processes: Pick<ProcessTable, 'bootId' | 'startTimeOf' | 'signal'>;
  readonly log: Logger;
}

const meta = 'shim';

export class KnownShim {
  readonly #options: KnownShimOptions;
  /** The last that answered this daemon. */
  #met: Identity | null = null;
  #owed = false;

  constructor(options: KnownShimOptions) {
    this.#options = options;
  }

  /** It answers. True: another did before it. */
  meet({ pid, startTime }: Identity): boolean {
    const isAnother = pid !== this.#met?.pid || startTime !== this.#met.startTime;
    this.#met = { pid, startTime };
    this.#write();
    return isAnother;
  }

  /** What could not be written down when it answered is written as soon as there is room. */
  writeOwed(): void {
    if (this.#owed) this.#write();
  }

  /** For the next daemon. A disk that is full is no reason to be without a shim: then it is written later. */
  #write(): void {
    const { store, processes, log } = this.#options;
    try {
      store.setMeta(meta, JSON.stringify({ ...this.#met, bootId: processes.bootId }));
      this.#owed = false;
    } catch (error) {
      if (!this.#owed) log.warn({ error: String(error) }, 'which shim it is cannot be written down yet');
      this.#owed = true;
    }
  }

  /** `null`: there was none in this boot. */
  get identity(): Identity | null {
    if (this.#met !== null) return this.#met;
    const { store, processes } = this.#options;
    const text = store.meta(meta);
    if (text === null) return null;
    const known = knownIn(text);
    return known?.bootId === processes.bootId ? known : null;
  }

  /** Its process is gone, or there was none. */
  get isDead(): boolean {
    const known = this.identity;
    return known === null || isGone(this.#options.processes, known);
  }

  /** It is to end workers, or to end: as with them, one that was stopped by a signal hears of it once it goes on. */
  wake(): void {
    const known = this.identity;
    if (known !== null) this.#options.processes.signal(known, 'SIGCONT');
  }
}

/** A page may be sound, and what is in it garbled: then it is not known. */
const knownIn = (text: string): (Identity & { readonly bootId: string }) | null => {
  try {
    return JSON.parse(text) as Identity & { readonly bootId: string };
  } catch {
    return null;
  }
};
