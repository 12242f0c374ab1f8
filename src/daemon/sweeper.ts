/** One look at the process table serves all runs that ask in the same turn. */
import type { KnownLeftover } from './core/model.ts';
import type { ProcessTable, SweepTarget } from './ports.ts';

export class Sweeper {
  readonly #processes: ProcessTable;
  #asked: { target: SweepTarget; resolve: (found: readonly KnownLeftover[]) => void }[] = [];

  constructor(processes: ProcessTable) {
    this.#processes = processes;
  }

  /** What lives of a run: its group, its marker, and what was known of its tree. */
  look(target: SweepTarget): Promise<readonly KnownLeftover[]> {
    return new Promise((resolve) => {
      this.#asked.push({ target, resolve });
      if (this.#asked.length === 1) queueMicrotask(() => queueMicrotask(() => this.#sweep()));
    });
  }

  #sweep(): void {
    const asked = this.#asked;
    this.#asked = [];
    const found = this.#processes.sweep(asked.map(({ target }) => target));
    for (const { target, resolve } of asked) resolve(found.get(target.run) ?? []);
  }
}
