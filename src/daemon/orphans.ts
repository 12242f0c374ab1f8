/**
 * Runs that an earlier shim spawned: no shim is their parent, so nobody tells of their end, and it has to be looked for.
 * Once a second, and often while one of them is to end: whoever asked for that waits for it.
 */
import type { Identity } from './core/model.ts';
import type { Clock, ProcessTable } from './ports.ts';

export interface OrphansOptions {
  readonly clock: Clock;
  readonly processes: ProcessTable;
  /** It was told to end. */
  readonly isEnding: (run: string) => boolean;
  readonly onGone: (run: string) => void;
}

const lookMs = 1000;
const endingLookMs = 20;

export class Orphans {
  readonly #options: OrphansOptions;
  readonly #known = new Map<string, Identity>();
  #cancel: () => void = () => {};
  #dueMono = Number.POSITIVE_INFINITY;

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  watch(run: string, { pid, startTime }: Identity): void {
    this.#known.set(run, { pid, startTime });
    this.stirred();
  }

  /** Something changed about the workers: one of these may be to end now. */
  stirred(): void {
    if (this.#known.size === 0) return;
    const { clock, isEnding } = this.#options;
    const often = [...this.#known.keys()].some(isEnding);
    const dueMono = clock.mono() + (often ? endingLookMs : lookMs);
    if (dueMono >= this.#dueMono) return;
    this.#cancel();
    this.#dueMono = dueMono;
    this.#cancel = clock.at(dueMono, () => this.#look());
  }

  forgetAll(): void {
    this.#cancel();
    this.#dueMono = Number.POSITIVE_INFINITY;
    this.#known.clear();
  }

  #look(): void {
    const { processes, onGone } = this.#options;
    this.#dueMono = Number.POSITIVE_INFINITY;
    for (const [run, identity] of [...this.#known]) {
      if (!isGone(processes, identity)) continue;
      this.#known.delete(run);
      onGone(run);
    }
    this.stirred();
  }
}

export const isUnknown = (processes: ProcessTable, { pid }: Identity): boolean =>
  processes.startTimeOf(pid) === 'unknown';

/** Unreadable is neither alive nor dead: it is looked at again. */
export const isGone = (processes: Pick<ProcessTable, 'startTimeOf'>, { pid, startTime }: Identity): boolean => {
  const now = processes.startTimeOf(pid);
  return now !== startTime && now !== 'unknown';
};
