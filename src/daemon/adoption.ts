/**
 * A shim answers (at the daemon's start, or a new one after the old was killed): brings the registry's open runs and
 * what the shim holds together. Looks instead of guessing: a run the shim does not hold is alive only where a process
 * of that pid and start time is. The shim reads its FIFOs on either way; the end of one that lives is looked for (orphans.ts).
 */
import { failpoint } from '../shared/failpoints.ts';
import { type Exit, isWorkerName } from '../shared/worker.ts';
import { isLive, isOpen, type Run, type StopOrder, type WorkerRecord } from './core/model.ts';
import { nameOfRun } from './core/new-run.ts';
import type { FifoKeeper } from './fifo-keeper.ts';
import { type Hosts, isHostRun } from './hosts.ts';
import { adoptOrder, type OrderContext } from './orders.ts';
import { isGone, Orphans } from './orphans.ts';
import type { Clock, Logger, ProcessTable, Shim, SweepTarget } from './ports.ts';
import { recordFrom, recordSeen } from './rebuild.ts';
import type { Reconciler } from './reconciler.ts';
import type { Registry } from './registry.ts';
import { lostFact } from './run-facts.ts';
import type { Fact, Known, RunStatus } from './shim/protocol.ts';
import { findSurvivors } from './survivors.ts';
import type { Sweeper } from './sweeper.ts';
import { Trials } from './trials.ts';

export interface AdoptionOptions {
  readonly registry: Registry;
  readonly shim: Shim & { readonly pid: number | null };
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

/** More than any worker publishes before it is on disk: revisions rise, whatever was lost. */
const unseenRevisions = 1_000_000;
const otherBoot = 'the machine was restarted';
const shimDied = { kind: 'lost', reason: 'the shim died' } as const satisfies Exit;
const hostDied = { kind: 'lost', reason: 'thread host died' } as const satisfies Exit;

export class Adoption {
  readonly #options: AdoptionOptions;
  readonly #orphans: Orphans;
  readonly #trials: Trials;
  #isFirst = true;
  #metRuns = false;
  /** Taken over from the shim after they had ended. */
  readonly #endedUnseen = new Set<string>();

  constructor(options: AdoptionOptions) {
    this.#options = options;
    this.#trials = new Trials(options);
    const { clock, processes, registry } = options;
    this.#orphans = new Orphans({
      clock,
      processes,
      isEnding: (run) => {
        const now = registry.get(nameOfRun(run))?.run;
        return now?.id === run && now.stop !== null;
      },
      // Should the shim be gone, the next one is told when it is met.
      onGone: (run) => void this.#conclude(run).catch(() => {}),
    });
  }

  /** Known without any shim, which may come late: before that, nobody may take who has their pids now for them. */
  loseOtherBoots(): void {
    const { registry, processes } = this.#options;
    for (const { name, run } of [...registry.all()]) {
      if (isLive(run) && run.bootId !== processes.bootId) this.#lose(name, otherBoot);
    }
  }

  async connected(runs: readonly RunStatus[]): Promise<void> {
    const { registry, reconciler, log, fifos } = this.#options;
    failpoint('adoption.begun');
    this.#orphans.forgetAll();
    this.#trials.connected();
    // What is ordered from now on goes to this shim, which did not know of it when it said what it holds.
    const earlier = new Set([...this.#options.hosts.all()].map(({ run }) => run));
    for (const { run } of registry.all()) if (isLive(run)) earlier.add(run.id);
    const isOfEarlierLife = this.#isFirst;
    await this.#rebuild(runs);
    const held = new Map(runs.map((status) => [status.run, status]));
    await findSurvivors(this.#options, held);
    const goneHosts: string[] = [];
    for (const { run } of [...this.#options.hosts.all()]) {
      const status = held.get(run);
      if (status === undefined) {
        const mayBeOurs = !earlier.has(run) && this.#options.hosts.identityOf(run) === null;
        if (!mayBeOurs && !(await this.#adoptHost(run))) goneHosts.push(run);
      } else if (!status.exited) {
        fifos.hold(run);
        if (status.adopted) this.#lookFor(run, status);
      }
    }
    if (isOfEarlierLife) await this.#aheadOfWatchers(held);
    for (const name of [...registry.names()]) {
      // As it is now: looking takes turns of the loop, and verbs come in between.
      const worker = registry.get(name);
      const run = worker?.run ?? null;
      if (worker === null || !isLive(run)) continue;
      const status = held.get(run.id);
      if (status !== undefined) this.#resume(worker, run, status);
      else if (earlier.has(run.id) || run.stage !== 'ordered') await this.#missing(worker, run);
    }
    // With the threads that were in it, all at once: nothing is started in it meanwhile.
    for (const run of goneHosts) await this.#options.shim.call('conclude', { run, exit: hostDied });
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
    reconciler.addAll();
    void this.#trials.begin();
  }

  /** They are the reconciler's; but a shim that tells of a run has outlived its order. */
  facts(facts: readonly Fact[]): void {
    this.#options.reconciler.facts(facts);
    this.#trials.heard(facts);
  }

  /** Workers have changed. */
  stirred(): void {
    this.#orphans.stirred();
  }

  close(): void {
    this.#orphans.forgetAll();
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
    // From here on what is observed is the truth, and runs may be ordered.
    this.#options.reconciler.addAll();
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

  /** The store gets states once a second: watchers of the daemon before this one may have seen newer ones. */
  async #aheadOfWatchers(held: ReadonlyMap<string, RunStatus>): Promise<void> {
    const { registry, processes } = this.#options;
    for (const worker of [...registry.all()]) {
      const { run } = worker;
      if (!isLive(run) || run.stage === 'ordered' || run.bootId !== processes.bootId || held.has(run.id)) continue;
      registry.update(worker.name, { ...worker, run: { ...run, stateRevision: run.stateRevision + unseenRevisions } });
    }
    // A registry that refuses is said elsewhere, and keeps no worker from being read on.
    await registry.committed().catch(() => {});
  }

  async #missing(worker: WorkerRecord, run: Run): Promise<void> {
    const { processes, shim, orders, fifos, clock, log } = this.#options;
    const { name } = worker;
    if (run.bootId !== processes.bootId) return this.#lose(name, otherBoot);
    if (run.stage === 'ordered') return this.#orderAgain(worker, run);
    if (run.pid === null || run.startTime === null) return this.#lose(name, shimDied.reason);
    const identity = { pid: run.pid, startTime: run.startTime };
    // Also of one that is gone: what it wrote last, and what it said of its end, waits in its pipes.
    fifos.hold(run.id);
    const known: Known = {
      running: run.reachedRunning,
      ready: run.ready && run.readyDeclared,
      state: run.state,
      stateAt: run.stateAt,
      ranMs: Math.max(0, clock.now() - (run.startedAt ?? clock.now())),
    };
    log.warn({ name, ...identity }, 'reading on what a dead shim left');
    const order = { ...adoptOrder(worker, run, orders), ...identity, revision: run.stateRevision, known };
    const taken = await shim.call('adopt', order);
    // What the worker publishes from now on are patches to what it had published before.
    if (taken.known !== true && run.state !== null) await shim.call('publish', { run: run.id, patch: run.state });
    // A thread is told of with its host.
    if (run.host === null && isGone(processes, identity)) await this.#conclude(run.id);
    else this.#orphans.watch(run.id, identity);
  }

  /** In the store, and nobody knows whether a shim that is gone began with it. */
  async #orderAgain(worker: WorkerRecord, run: Run): Promise<void> {
    const { sweeper, hosts } = this.#options;
    const { name } = worker;
    // Killed between fork and report: somebody of this run lives, but nobody knows who leads it.
    if ((await sweeper.look(anyOf(run.id))).length > 0) return this.#lose(name, 'the shim died while starting it');
    if (run.host !== null && !hosts.isUsable(run.host)) return this.#lose(name, hostDied.reason);
    return this.#trials.missing(name);
  }

  /** Before its threads: what it says of them is for the shim that reads on. False: it is gone. */
  async #adoptHost(run: string): Promise<boolean> {
    const { hosts, fifos, processes, sweeper, log } = this.#options;
    const identity = hosts.identityOf(run);
    if (identity === null) {
      // Killed between fork and report: one that no thread was sent to, and that nobody would ever end.
      for (const stray of await sweeper.look(anyOf(run))) {
        log.warn({ run, pid: stray.pid }, 'ending a thread host that no shim had told of');
        processes.signal(stray, 'SIGKILL');
      }
      await hosts.askAgain(run);
      return true;
    }
    fifos.hold(run);
    await hosts.adopt(run);
    if (isGone(processes, identity)) {
      hosts.died(run);
      return false;
    }
    this.#orphans.watch(run, identity);
    return true;
  }

  /** Its end is for us to see: no shim is its parent. */
  #lookFor(run: string, { pid, startTime }: { readonly pid: number | null; readonly startTime: number | null }): void {
    if (pid !== null && startTime !== null) this.#orphans.watch(run, { pid, startTime });
  }

  /** Of a run that nobody saw end: the shim reads what is left of it, and what it said itself of its end counts. */
  async #conclude(run: string): Promise<void> {
    const { registry, hosts, shim } = this.#options;
    if (hosts.identityOf(run) !== null) hosts.died(run);
    const inHost = (registry.get(nameOfRun(run))?.run?.host ?? null) !== null || isHostRun(run);
    await shim.call('conclude', { run, exit: inHost ? hostDied : shimDied });
  }

  /** Nobody saw how it ended, and nothing is made up. */
  #lose(name: string, reason: string): void {
    const { clock, log, reconciler, registry } = this.#options;
    const run = registry.get(name)?.run ?? null;
    if (run === null) return;
    log.warn({ name, reason }, 'a run was lost');
    reconciler.conclude(name, lostFact(run, reason, clock.now()));
  }
}

const anyOf = (run: string): SweepTarget => ({ run, group: null, since: null, until: null, mark: null, also: [] });

/** One whose name leads anywhere as a path is shown and can be removed, and nothing of it is ever run or sought. */
export const soundRecord = (worker: WorkerRecord): WorkerRecord =>
  isWorkerName(worker.name)
    ? worker
    : { ...worker, enabled: false, intent: { want: 'down' }, stopOrder: null, backoff: null, run: null };

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
              deadlineMono: monoOf(stop.deadlineMono, stop.deadlineAt, longestGraceMs(run, worker.stopOrder)),
              // The daemon that wrote this down may not have got to say it: asked again, until the same deadline.
              stepMono: stop.step === 'asked' ? Number.NEGATIVE_INFINITY : clock.mono(),
            },
          },
  };
};
const longestBackoffMs = 66_000;
/** Whoever asked for the stop may have given it more time than its definition does. */
const longestGraceMs = (run: Run, order: StopOrder | null): number => Math.max(run.graceMs, order?.graceMs ?? 0);
