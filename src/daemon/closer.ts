/**
 * The end of a run after its leader's: what it left is looked for and, where an end was asked for, ended; then the run is
 * closed and the shim may forget it. What outlives SIGKILL is named, and keeps the run from being closed.
 */
import { failpoint } from '../shared/failpoints.ts';
import { fold, type RunFact } from './core/lifecycle.ts';
import { isLive, isOpen, type KnownLeftover, type Run, type WorkerRecord } from './core/model.ts';
import { settle } from './core/settle.ts';
import { named, outlived } from './core/unended.ts';
import type { Ender } from './ender.ts';
import type { Clock, Logger, Shim } from './ports.ts';
import type { Registry } from './registry.ts';
import { lostFact } from './run-facts.ts';

export interface CloserOptions {
  readonly registry: Registry;
  readonly shim: Shim;
  readonly ender: Ender;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly chance: () => number;
  /** An end that no shim will tell. */
  readonly conclude: (name: string, fact: RunFact) => void;
}

/** A run that is not written yet is released after this, or later. */
const retryMs = 1000;

export class Closer {
  readonly #options: CloserOptions;

  constructor(options: CloserOptions) {
    this.#options = options;
  }

  /** The leader is gone. Where an end was asked for, nothing may be left; otherwise what is left is written down. */
  async close(worker: WorkerRecord): Promise<void> {
    const { registry, ender, clock, chance } = this.#options;
    const { name, run } = worker;
    if (run === null) return;
    const beganMono = clock.mono();
    const deadline = () => this.#clearDeadline(name, run, beganMono);
    const isNamed = run.stop?.outlived === true;
    const leftovers = await ender.clear(run, deadline, worker.leftovers, isNamed ? 0 : undefined);
    const now = registry.get(name);
    if (now?.run?.id !== run.id) return;
    if (leftovers.length > 0 && deadline() !== null) {
      // Somebody has asked again meanwhile, and is to be told what came of that.
      if (isNamed && now.run.stop?.outlived !== true) return;
      return this.#name(now, leftovers);
    }
    failpoint('stop.closed');
    const closed = fold(now.run, { kind: 'emptied', at: clock.now() });
    if (closed === 'impossible') return;
    const closing = { leftovers, now: clock.now(), nowMono: clock.mono(), chance: chance() };
    registry.update(name, settle({ ...now, run: closed }, closing));
    ender.forget(run);
    this.#releaseWhenWritten(name, run.id);
  }

  /** Its leader was killed, some seconds ago. */
  async nameLeader(worker: WorkerRecord): Promise<void> {
    const { registry, ender, clock } = this.#options;
    const { name, run } = worker;
    if (run === null) return;
    const left = await ender.stubborn(run);
    const now = registry.get(name);
    const stop = now?.run?.stop ?? null;
    if (now?.run?.id !== run.id || now.run.stage !== run.stage || stop === null) return;
    // Gone, and only the news of it is on its way.
    if (left.length > 0) {
      if (stop.outlived !== true) this.#loseNeighbours(run);
      await this.#name(now, left);
    } else registry.update(name, { ...now, run: { ...now.run, stop: { ...stop, stepMono: clock.mono() } } });
  }

  /** Of a thread host that was killed nothing runs but what is in the kernel: the threads beside it are gone. */
  #loseNeighbours({ host, id }: Run): void {
    const { registry, clock, conclude } = this.#options;
    if (host === null) return;
    for (const { name, run } of [...registry.all()]) {
      if (!isLive(run) || run.host !== host || run.id === id || run.stop !== null) continue;
      conclude(name, lostFact(run, 'thread host died', clock.now()));
    }
  }

  async #name(worker: WorkerRecord, left: readonly KnownLeftover[]): Promise<void> {
    const { registry, clock, log } = this.#options;
    const { name, run } = worker;
    if (run?.stop?.outlived !== true) {
      log.error({ name, run: run?.id, pids: pidsOf(left) }, 'cannot be ended: it outlives SIGKILL');
    }
    registry.update(name, outlived(worker, left, { now: clock.now(), nowMono: clock.mono() }));
    await registry.committed(name);
  }

  /** Until when what is left of a run may take to end; `null`: nobody asked for it to be ended. */
  #clearDeadline(name: string, run: Run, beganMono: number): number | null {
    const worker = this.#options.registry.get(name);
    if (worker === null || worker.run?.id !== run.id) return null;
    const { stop } = worker.run;
    if (worker.stopOrder?.force === true) return Number.NEGATIVE_INFINITY;
    if (stop !== null) return stop.deadlineMono;
    if (worker.intent.want === 'up' && worker.run.generation >= worker.intent.atLeast) return null;
    return beganMono + run.graceMs;
  }

  /** Looks now what the newest run of a worker that is not alive has left behind; how many processes. */
  async findLeftovers(name: string): Promise<number> {
    const { registry, ender } = this.#options;
    const run = registry.get(name)?.run ?? null;
    if (run === null || isOpen(run)) return 0;
    const leftovers = await ender.look(run, registry.get(name)?.leftovers);
    const worker = registry.get(name);
    if (worker?.run?.id !== run.id) return 0;
    if (leftovers.length > 0 || worker.leftovers.length > 0) registry.update(name, { ...worker, leftovers });
    if (leftovers.length === 0 && worker.leftovers.length > 0) this.release(run.id);
    return leftovers.length;
  }

  /** Ends what a closed run left alive, as far as it can be. */
  async clearLeftovers(worker: WorkerRecord): Promise<void> {
    const { ender, clock, registry } = this.#options;
    const { name, run } = worker;
    if (run === null) return;
    const untilMono = clock.mono() + (worker.stopOrder?.graceMs ?? run.graceMs);
    const isForced = () => registry.get(name)?.stopOrder?.force === true;
    const leftovers = await ender.clear(
      run,
      () => (isForced() ? Number.NEGATIVE_INFINITY : untilMono),
      worker.leftovers,
    );
    this.#leftoversCleared(name, leftovers);
    await registry.committed(name);
    if (leftovers.length === 0) this.release(run.id);
  }

  #leftoversCleared(name: string, leftovers: readonly KnownLeftover[]): void {
    const { registry, log } = this.#options;
    const worker = registry.get(name);
    if (worker === null) return;
    if (leftovers.length > 0) {
      log.error({ name, pids: pidsOf(leftovers) }, 'leftovers cannot be ended: they outlive SIGKILL');
    }
    if (leftovers.length === 0 || worker.intent.want === 'down') {
      registry.update(name, { ...worker, leftovers });
      return;
    }
    // Never two of one worker at once: what cannot be ended keeps the next one from starting.
    registry.update(name, {
      ...worker,
      leftovers,
      intent: { want: 'down' },
      settled: 'failed',
      reason: `leftovers cannot be ended: ${named(leftovers)}`,
      backoff: null,
    });
  }

  #releaseWhenWritten(name: string, run: string): void {
    const { registry, clock } = this.#options;
    const later = () => void clock.at(clock.mono() + retryMs, () => this.#releaseWhenWritten(name, run));
    registry.committed().then(() => (registry.owes(name) ? later() : this.release(run)), later);
  }

  /** The shim may forget it. Said again where leftovers are gone: a new shim keeps the directory of a run as long as one lives in it. */
  release(run: string): void {
    failpoint('release.before');
    void this.#options.shim.call('release', { run }).catch(() => {});
  }
}

/** For the log: arguments may hold what is nobody else's business. */
const pidsOf = (processes: readonly KnownLeftover[]): readonly number[] => processes.map(({ pid }) => pid);
