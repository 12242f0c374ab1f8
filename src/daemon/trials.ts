/**
 * Orders to start a run that a shim died over: as nobody knows which of them it was, each is given to the next shim alone,
 * and one that has cost as many shims as that is given to none any more. The others are started as they were to be.
 */
import { mostShimsLost } from './core/restart.ts';
import { type OrderContext, spawnOrder } from './orders.ts';
import type { Clock, Logger, Shim } from './ports.ts';
import type { Reconciler } from './reconciler.ts';
import type { Registry } from './registry.ts';
import { lostFact, refusedFact } from './run-facts.ts';

export interface TrialsOptions {
  readonly registry: Registry;
  readonly shim: Shim & { readonly pid: number | null };
  readonly reconciler: Pick<Reconciler, 'conclude'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly orders: OrderContext;
}

export class Trials {
  readonly #options: TrialsOptions;
  /** Names, in the order in which they are tried. */
  #waiting: string[] = [];
  /** The run that the shim was given alone. */
  #onTrial: string | null = null;
  #shimPid: number | null = null;
  #shimDied = false;

  constructor(options: TrialsOptions) {
    this.#options = options;
  }

  /** A shim answers: what waited is judged anew. */
  connected(): void {
    const { pid } = this.#options.shim;
    this.#shimDied = this.#shimPid !== null && this.#shimPid !== pid;
    this.#shimPid = pid;
    this.#waiting = [];
  }

  /** A run was ordered, and this shim knows nothing of it. */
  async missing(name: string): Promise<void> {
    const { registry, log } = this.#options;
    const worker = registry.get(name);
    const run = worker?.run ?? null;
    if (worker === null || run === null) return;
    const before = run.shimsLost ?? 0;
    if (!this.#shimDied && before === 0) {
      await this.#order(name);
      return;
    }
    const lost = this.#shimDied ? Math.max(1, before + (this.#onTrial === run.id ? 1 : 0)) : before;
    if (lost !== before) {
      log.warn({ name, run: run.id, shims: lost }, 'a shim died before it said what came of this order');
      registry.update(name, { ...worker, run: { ...run, shimsLost: lost } });
    }
    if (lost < mostShimsLost) this.#waiting.push(name);
    else this.#giveUp(name, `${lost} shims died when they were asked to start it`);
  }

  /** All that is missing is known: begins with the first. */
  begin(): Promise<void> {
    this.#onTrial = null;
    return this.#next();
  }

  /** The shim told of these runs: it has outlived the order. */
  heard(runs: readonly { readonly run: string }[]): void {
    if (this.#onTrial === null || !runs.some(({ run }) => run === this.#onTrial)) return;
    this.#onTrial = null;
    void this.#next();
  }

  async #next(): Promise<void> {
    const { registry } = this.#options;
    for (let name = this.#waiting.shift(); name !== undefined; name = this.#waiting.shift()) {
      const worker = registry.get(name);
      if (worker?.run?.stage !== 'ordered') continue;
      if (worker.intent.want === 'down') {
        this.#giveUp(name, 'the shim died when it was asked to start it');
        continue;
      }
      this.#onTrial = worker.run.id;
      // What it costs is to be known also to the next daemon.
      await registry.committed().catch(() => {});
      if (await this.#order(name)) return;
      this.#onTrial = null;
    }
  }

  /** False: nothing will be told of it. */
  async #order(name: string): Promise<boolean> {
    const { registry, shim, reconciler, clock, log, orders } = this.#options;
    const worker = registry.get(name);
    if (worker?.run?.stage !== 'ordered') return false;
    try {
      await shim.call('spawn', spawnOrder(worker, worker.run, orders));
      return true;
    } catch (error) {
      // A shim that went away: the next one is met in a moment.
      if (!shim.connected) return true;
      log.error({ name, run: worker.run.id, error: String(error) }, 'the shim refused to start the worker');
      reconciler.conclude(name, refusedFact(clock.now(), error));
      return false;
    }
  }

  #giveUp(name: string, reason: string): void {
    const { registry, reconciler, clock, log } = this.#options;
    const run = registry.get(name)?.run ?? null;
    if (run === null) return;
    log.error({ name, run: run.id, reason }, 'not asked for again');
    reconciler.conclude(name, lostFact(run, reason, clock.now()));
  }
}
