/**
 * Stops while no shim answers. A worker's processes are ended without one, by proven identity; but how it ended, and what
 * it wrote last, the next shim tells. Where none comes, nobody waits for that for ever.
 */
import { WorkerdError } from '../shared/errors.ts';
import { isLive, type Run } from './core/model.ts';
import { noShim } from './deliveries.ts';
import { isGone } from './orphans.ts';
import type { Clock, ProcessTable, Shim } from './ports.ts';
import type { Reconciler } from './reconciler.ts';
import type { Registry } from './registry.ts';
import { lostFact } from './run-facts.ts';

export interface WithoutShimOptions {
  readonly registry: Registry;
  readonly shim: Shim;
  readonly processes: ProcessTable;
  readonly reconciler: Pick<Reconciler, 'conclude'>;
  readonly clock: Clock;
}

/** A new shim answers within a fraction of it, and SIGKILL has done what it can. */
const patienceMs = 5000;
/** While there is none, and somebody waits. */
const lookMs = 500;

interface Waiting {
  readonly name: string;
  readonly refuse: (error: WorkerdError) => void;
}

export class WithoutShim {
  readonly #options: WithoutShimOptions;
  readonly #waiting = new Set<Waiting>();
  #cancel: (() => void) | null = null;
  #awayMono: number | null = null;

  constructor(options: WithoutShimOptions) {
    this.#options = options;
  }

  /**
   * As what is waited for ends; or refused in words, once there has been no shim for long and nothing more can be done
   * without. Then nobody waits any longer: the signal says so.
   */
  async unlessNone<T>(name: string, wait: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const over = new AbortController();
    const end = wait(over.signal);
    const { promise, reject } = Promise.withResolvers<never>();
    const waiting: Waiting = { name, refuse: reject };
    this.#waiting.add(waiting);
    // Given up, its failure is nobody's.
    end.catch(() => {});
    this.stirred();
    try {
      return await Promise.race([end, promise]);
    } finally {
      this.#waiting.delete(waiting);
      over.abort();
    }
  }

  /** The daemon ends, and no later shim could read on: its end is lost. False: nobody knows whether it was begun. */
  lose(name: string): boolean {
    const { registry, processes, reconciler, clock } = this.#options;
    const run = registry.get(name)?.run ?? null;
    const leader = isLive(run) ? leaderOf(run) : null;
    if (run === null || leader === null) return false;
    // Of a thread it is the host: whoever else is in there is to end, too.
    processes.signalGroup(leader, 'SIGKILL');
    reconciler.conclude(name, lostFact(run, 'no shim saw its end', clock.now()));
    return true;
  }

  /** The shim was lost, or somebody waits: where it is there, nothing is looked at. */
  stirred(): void {
    if (this.#cancel === null) this.#look();
  }

  #look(): void {
    this.#cancel = null;
    const { shim, clock } = this.#options;
    if (shim.connected || this.#waiting.size === 0) {
      this.#awayMono = null;
      return;
    }
    const nowMono = clock.mono();
    this.#awayMono ??= nowMono;
    if (nowMono - this.#awayMono >= patienceMs) {
      for (const { name, refuse } of this.#waiting) {
        const words = this.#words(name, nowMono);
        if (words !== null) refuse(new WorkerdError('worker.busy', `${words}: ${noShim}`, { name, reason: 'shim' }));
      }
    }
    this.#cancel = clock.at(nowMono + lookMs, () => this.#look());
  }

  /** `null`: more is being done. */
  #words(name: string, nowMono: number): string | null {
    const run = this.#options.registry.get(name)?.run ?? null;
    if (!isLive(run)) return null;
    const leader = leaderOf(run);
    if (leader === null) return `${name} was about to be started, and is ended once it is known what came of that`;
    if (isGone(this.#options.processes, leader)) {
      return `${name} has ended; how it ended, and what it wrote last, is known once a shim answers`;
    }
    return run.stop !== null && nowMono >= run.stop.deadlineMono + patienceMs ? `${name} cannot be ended now` : null;
  }
}

const leaderOf = ({ pid, startTime }: Run) => (pid === null || startTime === null ? null : { pid, startTime });
