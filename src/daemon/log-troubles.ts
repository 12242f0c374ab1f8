/** Logs that cannot be written, as the shim remarks: of which workers, and why, for as long as those runs are open. */
import { isOpen, type WorkerRecord } from './core/model.ts';
import { nameOfRun } from './core/new-run.ts';
import { logTrouble } from './problems.ts';
import type { Remark, RunStatus } from './shim/protocol.ts';

export class LogTroubles {
  readonly #recordOf: (name: string) => WorkerRecord | null;
  /** By run. */
  readonly #why = new Map<string, string>();

  constructor(recordOf: (name: string) => WorkerRecord | null) {
    this.#recordOf = recordOf;
  }

  remark({ run, message, log }: Remark): void {
    if (run === null || log === undefined) return;
    if (log === 'failing') this.#why.set(run, message);
    else this.#why.delete(run);
  }

  /** A shim answers, that may be another: what was remarked to nobody is in what it holds. */
  connected(runs: readonly RunStatus[]): void {
    this.#why.clear();
    for (const { run, logFailing } of runs) if (logFailing !== undefined) this.#why.set(run, logFailing);
  }

  inWords(logs: string): string | null {
    const byName = new Map<string, string>();
    for (const [id, why] of this.#why) {
      const name = nameOfRun(id);
      const run = this.#recordOf(name)?.run ?? null;
      if (run?.id === id && isOpen(run)) byName.set(name, why);
      else this.#why.delete(id);
    }
    return logTrouble(byName, logs);
  }
}
