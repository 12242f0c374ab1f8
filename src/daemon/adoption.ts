/**
 * A shim answers (at the daemon's start, or a new one after the old was killed): brings the registry's open runs and
 * what the shim holds together. Looks instead of guessing: a run the shim does not hold is alive only where a process
 * of that pid and start time is; then the shim reads its FIFOs on and its end is looked for once a second.
 */
import { failpoint } from '../shared/failpoints.ts';
import type { Exit } from '../shared/worker.ts';
import { isLive, isOpen, type Run, type WorkerRecord } from './core/model.ts';
import type { FifoKeeper } from './fifo-keeper.ts';
import type { Hosts } from './hosts.ts';
import { nameOfRun, type OrderContext, spawnOrder } from './orders.ts';
import type { Clock, Logger, ProcessTable, Shim } from './ports.ts';
import { recordFrom, recordSeen } from './rebuild.ts';
import type { Reconciler } from './reconciler.ts';
import type { Registry } from './registry.ts';
import { lostFact } from './run-facts.ts';
import type { RunStatus } from './shim/protocol.ts';
import type { Sweeper } from './sweeper.ts';

export interface AdoptionOptions {
  readonly registry: Registry;
  readonly shim: Shim;
  readonly reconciler: Reconciler;
  readonly hosts: Hosts;
  readonly fifos: FifoKeeper;
  readonly processes: ProcessTable;
  readonly sweeper: Sweeper;
  readonly clock: Clock;
  readonly log: Logger;
  readonly orders: OrderContext;
  /** The registry was begun by this daemon: there was none, or it was damaged. */
  readonly isNewRegistry: () => boolean;
}

const isHost = ({ kind }: RunStatus): boolean => kind === 'host';

/** An older registry may know the worker, and an earlier run of it. */
const isUnknown = (worker: WorkerRecord | null, status: RunStatus): boolean =>
  worker === null || (worker.run?.id !== status.run && status.generation >= worker.generation);

const lookMs = 1000;

export class Adoption {
  readonly #options: AdoptionOptions;
  /** Runs whose end no shim will see. */
  readonly #orphans = new Map<string, { readonly pid: number; readonly startTime: number }>();
  #cancelLook: () => void = () => {};
  #isFirst = true;
  #metRuns = false;
  /** Taken over from the shim after they had ended. */
  readonly #endedUnseen = new Set<string>();

  constructor(options: AdoptionOptions) {
    this.#options = options;
  }

  async connected(runs: readonly RunStatus[]): Promise<void> {
    const { registry, reconciler, log } = this.#options;
    failpoint('adoption.begun');
    this.#orphans.clear();
    await this.#rebuild(runs);
    const held = new Map(runs.map((status) => [status.run, status]));
    for (const { run } of [...this.#options.hosts.all()]) {
      const status = held.get(run);
      if (status === undefined) await this.#adoptHost(run);
      else if (status.adopted && !status.exited) this.#lookFor(run, status);
    }
    for (const name of [...registry.names()]) {
      // As it is now: looking takes turns of the loop, and verbs come in between.
      const worker = registry.get(name);
      const run = worker?.run ?? null;
      if (worker === null || !isLive(run)) continue;
      const status = held.get(run.id);
      if (status !== undefined) this.#resume(worker, run, status);
      else await this.#missing(worker, run);
    }
    const hosts = new Set([...this.#options.hosts.all()].map(({ run }) => run));
    for (const status of runs) {
      const run = registry.get(nameOfRun(status.run))?.run ?? null;
      const known = status.kind === 'host' ? hosts.has(status.run) : run?.id === status.run && run.stage !== 'closed';
      // Killed between writing its end down and letting go of it.
      if (status.exited && !known) void this.#options.shim.call('release', { run: status.run }).catch(() => {});
      else if (status.kind !== 'host' && run?.id !== status.run) {
        log.warn({ run: status.run, pid: status.pid }, 'the shim holds a run that the registry does not know');
      }
    }
    this.#lookForOrphans();
    reconciler.addAll();
  }

  close(): void {
    this.#cancelLook();
  }

  /** The shim that was met held runs: others than this daemon had started them. */
  get metRuns(): boolean {
    return this.#metRuns;
  }

  /** What was kept has been told: a run that has ended, and whose end is not told again, had it in the lost registry. */
  told(): void {
    for (const id of this.#endedUnseen) {
      const name = nameOfRun(id);
      const run = this.#options.registry.get(name)?.run ?? null;
      if (isLive(run) && run.id === id) this.#lose(name, 'its end was in a registry that was lost');
    }
    this.#endedUnseen.clear();
  }

  /** Runs that the registry does not know, as it was lost or is an old copy: nothing lives that is not listed. */
  async #rebuild(runs: readonly RunStatus[]): Promise<void> {
    const { registry, hosts, shim, processes, clock, log } = this.#options;
    const isNew = this.#options.isNewRegistry() && this.#isFirst;
    if (this.#isFirst) this.#metRuns = runs.length > 0;
    this.#isFirst = false;
    const hostRuns = new Set([...hosts.all()].map(({ run }) => run));
    // Hosts first: threads join them.
    for (const status of [...runs.filter(isHost), ...runs.filter((each) => !isHost(each))]) {
      if (isHost(status) ? hostRuns.has(status.run) : !isUnknown(registry.get(nameOfRun(status.run)), status)) {
        continue;
      }
      // Killed between writing its end down and letting go of it, where the registry is as it was.
      if (status.exited && (!isNew || isHost(status))) continue;
      const { keep } = await shim.call('kept', { run: status.run }).catch(() => ({ keep: [] as readonly string[] }));
      if (isHost(status)) {
        if (keep[0] !== undefined) hosts.restore(status.run, keep[0], status);
        continue;
      }
      const seen = { ...processes.lookOf(status.pid ?? 0), bootId: processes.bootId, now: clock.now() };
      const worker = recordFrom(status, keep) ?? recordSeen(status, seen);
      log.warn(
        { name: worker.name, run: status.run, pid: status.pid },
        'not in the registry: taken over from the shim',
      );
      registry.update(worker.name, worker);
      if (worker.run?.host != null) hosts.joined(worker.run.host, worker.run.id);
      if (status.exited) this.#endedUnseen.add(status.run);
    }
  }

  /** Facts not acknowledged yet follow by themselves; the newest state does not. */
  #resume(worker: WorkerRecord, run: Run, status: RunStatus): void {
    const { fifos, registry } = this.#options;
    if (!status.exited) fifos.hold(run.id);
    if (status.adopted && !status.exited) this.#lookFor(run.id, run);
    if (status.state === null || status.stateRevision <= run.stateRevision) return;
    registry.publish(worker.name, {
      ...worker,
      run: { ...run, state: status.state, stateAt: status.stateAt, stateRevision: status.stateRevision },
    });
  }

  async #missing(worker: WorkerRecord, run: Run): Promise<void> {
    const { processes, shim, orders, sweeper, log } = this.#options;
    const { name } = worker;
    if (run.bootId !== processes.bootId) return this.#lose(name, 'the machine was restarted');
    if (run.stage === 'ordered') {
      const target = { run: run.id, group: null, since: null, until: null, mark: null, also: [] };
      // Killed between fork and report: somebody of this run lives, but nobody knows who leads it.
      if ((await sweeper.look(target)).length > 0) return this.#lose(name, 'the shim died while starting it');
      if (run.host !== null && this.#hostIsGone(run.host)) return this.#lose(name, 'thread host died');
      await shim.call('spawn', spawnOrder(worker, run, orders));
      return;
    }
    if (run.pid === null || run.startTime === null) return this.#lose(name, 'the shim died');
    const startTime = processes.startTimeOf(run.pid);
    // Unreadable is neither alive nor dead: it is looked at again.
    if (startTime !== run.startTime && startTime !== 'unknown') {
      return this.#lose(name, run.host === null ? 'the shim died' : 'thread host died');
    }
    const identity = { pid: run.pid, startTime: run.startTime };
    log.warn({ name, ...identity }, 'reading on what a dead shim left');
    await shim.call('adopt', { ...spawnOrder(worker, run, orders), ...identity, revision: run.stateRevision });
    // What the worker publishes from now on are patches to what it had published before.
    if (run.state !== null) await shim.call('publish', { run: run.id, patch: run.state });
    this.#orphans.set(run.id, identity);
  }

  /** Before its threads: what it says of them is for the shim that reads on. */
  async #adoptHost(run: string): Promise<void> {
    const { hosts } = this.#options;
    if (this.#hostIsGone(run)) {
      hosts.exited(run);
      return;
    }
    await hosts.adopt(run);
    const identity = hosts.identityOf(run);
    if (identity !== null) this.#orphans.set(run, identity);
  }

  /** Its end is for us to see: no shim is its parent. */
  #lookFor(run: string, { pid, startTime }: { readonly pid: number | null; readonly startTime: number | null }): void {
    if (pid !== null && startTime !== null) this.#orphans.set(run, { pid, startTime });
  }

  #hostIsGone(host: string): boolean {
    const identity = this.#options.hosts.identityOf(host);
    return identity === null || this.#options.processes.startTimeOf(identity.pid) !== identity.startTime;
  }

  /** Nobody saw how it ended, and nothing is made up. */
  #lose(name: string, reason: string): void {
    const { clock, log, reconciler, registry } = this.#options;
    const run = registry.get(name)?.run ?? null;
    if (run === null) return;
    log.warn({ name, reason }, 'a run was lost');
    reconciler.conclude(name, lostFact(run, reason, clock.now()));
  }

  #lookForOrphans(): void {
    const { clock, processes, shim } = this.#options;
    this.#cancelLook();
    if (this.#orphans.size === 0) return;
    this.#cancelLook = clock.at(clock.mono() + lookMs, () => {
      for (const [run, { pid, startTime }] of this.#orphans) {
        const now = processes.startTimeOf(pid);
        if (now === startTime || now === 'unknown') continue;
        this.#orphans.delete(run);
        const host = this.#options.registry.get(nameOfRun(run))?.run?.host ?? null;
        const exit: Exit = { kind: 'lost', reason: host === null ? 'the shim died' : 'thread host died' };
        void shim.call('conclude', { run, exit }).catch(() => {});
      }
      this.#lookForOrphans();
    });
  }
}

/** A record whose name leads anywhere as a path: it is shown and can be removed, and nothing is ever run or sought. */
export const inertRecord = (worker: WorkerRecord): WorkerRecord => ({
  ...worker,
  enabled: false,
  intent: { want: 'down' },
  stopOrder: null,
  backoff: null,
  run: null,
});

/** A record from the store. Its deadlines hold since boot; of another boot's the wall clock is all that is left. */
export const resumeRecord = (worker: WorkerRecord, clock: Clock, bootId: string): WorkerRecord => {
  const { run, backoff } = worker;
  const isThisBoot = run?.bootId === bootId;
  const monoOf = (mono: number | undefined, at: number, mostMs: number) => {
    const leftMs = isThisBoot && mono !== undefined ? mono - clock.mono() : at - clock.now();
    return clock.mono() + Math.min(mostMs, Math.max(0, leftMs));
  };
  const stop = isOpen(run) ? run.stop : null;
  return {
    ...worker,
    backoff:
      backoff === null ? null : { ...backoff, untilMono: monoOf(backoff.untilMono, backoff.untilAt, longestBackoffMs) },
    run:
      run === null || stop === null
        ? run
        : {
            ...run,
            stop: {
              ...stop,
              deadlineMono: monoOf(stop.deadlineMono, stop.deadlineAt, run.graceMs),
              // The daemon that wrote this down may not have got to say it: asked again, until the same deadline.
              stepMono: stop.step === 'asked' ? Number.NEGATIVE_INFINITY : clock.mono(),
            },
          },
  };
};
const longestBackoffMs = 66_000;
