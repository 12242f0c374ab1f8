/** One look at the process table serves all runs that ask in the same turn. */
import type { KnownLeftover } from './core/model.ts';
import type { ProcessTable, SweepTarget } from './ports.ts';

interface Asked extends PromiseWithResolvers<readonly KnownLeftover[]> {
  readonly target: SweepTarget;
}

export class Sweeper {
  readonly #processes: ProcessTable;
  #asked: Asked[] = [];

  constructor(processes: ProcessTable) {
    this.#processes = processes;
  }

  /**
   * What lives of a run: its group, its marker, and what was known of its tree. Rejects where the machine cannot be
   * looked at now (no descriptor left): nothing is proven then.
   */
  look(target: SweepTarget): Promise<readonly KnownLeftover[]> {
    const asked = { target, ...Promise.withResolvers<readonly KnownLeftover[]>() };
    this.#asked.push(asked);
    if (this.#asked.length === 1) queueMicrotask(() => queueMicrotask(() => this.#sweep()));
    return asked.promise;
  }

  #sweep(): void {
    const asked = this.#asked;
    this.#asked = [];
    try {
      const found = this.#processes.sweep(asked.map(({ target }) => target));
      for (const { target, resolve } of asked) resolve(found.get(target.run) ?? []);
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }
}
