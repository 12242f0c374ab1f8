/** A store in memory that counts its commits, keeps what they said, and refuses where it is told to. */
import type { Run, WorkerRecord } from '../../src/daemon/core/model.ts';
import type { HostRow, Logger, Store, StoreChanges } from '../../src/daemon/ports.ts';

export class FakeStore implements Store {
  readonly commits: StoreChanges[] = [];
  /** The next commit throws this. */
  refuse: Error | null = null;
  readonly workers = new Map<string, WorkerRecord>();
  readonly runs = new Map<string, Map<number, Run>>();
  readonly #meta = new Map<string, string>();

  load(): { readonly workers: readonly WorkerRecord[]; readonly hosts: readonly HostRow[] } {
    return { workers: [...this.workers.values()], hosts: [] };
  }

  /** In the order of the real one: what was removed goes first. */
  commit(changes: StoreChanges): void {
    const refused = this.refuse;
    this.refuse = null;
    if (refused !== null) throw refused;
    this.commits.push(changes);
    for (const name of changes.removed) {
      this.workers.delete(name);
      this.runs.delete(name);
    }
    for (const worker of changes.workers) {
      this.workers.set(worker.name, worker);
      if (worker.run !== null) this.#writeRun(worker.name, worker.run);
    }
    for (const { name, run } of changes.runs) this.#writeRun(name, run);
  }

  #writeRun(name: string, run: Run): void {
    const runs = this.runs.get(name) ?? new Map<number, Run>();
    runs.set(run.generation, run);
    this.runs.set(name, runs);
  }

  history(name: string, limit: number): readonly Run[] {
    return [...(this.runs.get(name)?.values() ?? [])].sort((a, b) => b.generation - a.generation).slice(0, limit);
  }

  meta(key: string): string | null {
    return this.#meta.get(key) ?? null;
  }

  setMeta(key: string, value: string): void {
    this.#meta.set(key, value);
  }

  close(): void {}
}

export const silentLog: Logger = { debug() {}, info() {}, warn() {}, error() {} };
