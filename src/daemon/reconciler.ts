/**
 * Makes what is observed follow what is wanted, worker by worker: asks the plan, carries the action out, asks again.
 * Facts of the shim come in here and are folded; verbs only write intent and call `add`. Acts only on what is committed.
 */
import { failpoint, failpointAfterTurn } from '../shared/failpoints.ts';
import { Closer } from './closer.ts';
import { Bucket } from './core/bucket.ts';
import { KeyedQueue } from './core/keyed-queue.ts';
import { fold, type RunFact } from './core/lifecycle.ts';
import { isLive, type WorkerRecord } from './core/model.ts';
import { nameOfRun, newRun, runId } from './core/new-run.ts';
import { plan } from './core/plan.ts';
import { StartWindow } from './core/start-window.ts';
import type { Ender } from './ender.ts';
import type { FifoKeeper } from './fifo-keeper.ts';
import { type Hosts, isHostRun } from './hosts.ts';
import { type OrderContext, spawnOrder } from './orders.ts';
import { type Clock, isShimAway, type Logger, type Shim } from './ports.ts';
import type { Registry } from './registry.ts';
import { logFact, refusedFact } from './run-facts.ts';
import type { Fact, StateNote } from './shim/protocol.ts';
import { Stopper } from './stopper.ts';

export interface ReconcilerOptions {
  readonly registry: Registry;
  readonly shim: Shim & { acknowledge(upTo: number): void };
  readonly hosts: Hosts;
  readonly ender: Ender;
  readonly fifos: FifoKeeper;
  readonly clock: Clock;
  readonly log: Logger;
  readonly orders: OrderContext;
  readonly bootId: string;
  readonly nonce: () => string;
  /** In [0, 1). */
  readonly chance: () => number;
}

/** The bucket of automatic restarts; in any second no more than both begin. */
const restartBurst = 10;
const restartsPerSecond = 20;
/** An action that could not be carried out (disk, shim) is tried again after this. */
const retryMs = 1000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #queue: KeyedQueue;
  readonly #bucket: Bucket;
  readonly #closer: Closer;
  readonly #stopper: Stopper;
  readonly #window = new StartWindow(restartBurst + restartsPerSecond);
  readonly #timers = new Map<string, () => void>();
  /** Whose leftovers are to be ended, and who waits for that. */
  readonly #endLeftovers = new Map<string, (() => void)[]>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#closer = new Closer({ ...options, conclude: (name, fact) => this.conclude(name, fact) });
    this.#stopper = new Stopper(options);
    this.#bucket = new Bucket({ burst: restartBurst, perSecond: restartsPerSecond, nowMono: clock.mono() });
    this.#queue = new KeyedQueue(
      (name) => this.#reconcile(name),
      (name, error) => {
        log.error({ name, error: String(error) }, 'could not bring the worker where it is wanted; trying again');
        this.#lookAgain(name, clock.mono() + retryMs);
      },
    );
  }

  add(name: string): void {
    this.#queue.add(name);
  }

  addAll(): void {
    for (const name of this.#options.registry.names()) this.add(name);
  }

  /** Looks now what the newest run of a worker that is not alive has left behind; how many processes. */
  findLeftovers(name: string): Promise<number> {
    return this.#closer.findLeftovers(name);
  }

  /** Ends what a worker that is not alive has left behind; resolves when that was done as far as it can be. */
  endLeftovers(name: string): Promise<void> {
    return new Promise((resolve) => {
      this.#endLeftovers.set(name, [...(this.#endLeftovers.get(name) ?? []), resolve]);
      this.add(name);
    });
  }

  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  // ── what was observed ────────────────────────────────────────────────────────────────────────────────────────────

  facts(facts: readonly Fact[]): void {
    for (const fact of facts) {
      if (isHostRun(fact.run)) this.#hostFact(fact);
      else this.#fact(fact);
    }
    const last = facts.at(-1);
    const { registry, shim } = this.#options;
    if (last === undefined) return;
    failpoint('facts.folded');
    // Not acknowledged before it is on disk; a refused commit is told again by the shim.
    registry.committed().then(
      () => {
        failpoint('facts.committed');
        shim.acknowledge(last.seq);
      },
      () => {},
    );
  }

  #hostFact(fact: Fact): void {
    const { hosts, fifos } = this.#options;
    if (fact.kind === 'spawned') {
      fifos.hold(fact.run);
      hosts.spawned(fact.run, fact.pid, fact.startTime);
    } else if (fact.kind === 'exited') {
      fifos.release(fact.run);
      hosts.exited(fact.run);
      this.#closer.release(fact.run);
    }
  }

  #fact(fact: Fact): void {
    const name = nameOfRun(fact.run);
    const worker = this.#options.registry.get(name);
    if (worker?.run?.id === fact.run) this.observe(name, fact);
    else if (fact.kind === 'exited') this.#closer.release(fact.run);
  }

  /** Folds one fact about the newest run of a worker. */
  observe(name: string, fact: RunFact): void {
    const { registry, log, fifos, hosts, clock } = this.#options;
    const worker = registry.get(name);
    const run = worker?.run ?? null;
    if (worker === null || run === null) return;
    const next = fold(run, fact);
    if (next === 'impossible') {
      log.error({ name, run: run.id, stage: run.stage, fact: fact.kind }, 'a fact out of order; left alone');
      return;
    }
    if (next !== run) {
      if (fact.kind === 'spawned') {
        fifos.hold(run.id);
        this.#window.begun(run.id, clock.mono());
      }
      if (fact.kind === 'exited') {
        fifos.release(run.id);
        this.#window.failed(run.id);
        if (run.host !== null) hosts.threadEnded(run.host, run.id);
      }
      logFact(log, name, next, fact);
      registry.update(name, { ...worker, run: next });
    }
    this.add(name);
  }

  /** An end that no shim will tell again: folded until the store has taken it. */
  conclude(name: string, fact: RunFact): void {
    const { registry, clock } = this.#options;
    const run = registry.get(name)?.run ?? null;
    this.observe(name, fact);
    registry.committed().catch(() => {
      clock.at(clock.mono() + retryMs, () => {
        const now = registry.get(name)?.run ?? null;
        if (isLive(now) && now.id === run?.id) this.conclude(name, fact);
      });
    });
  }

  state(note: StateNote): void {
    const { registry } = this.#options;
    const name = nameOfRun(note.run);
    const worker = registry.get(name);
    const run = worker?.run ?? null;
    if (worker === null || run === null || run.id !== note.run || !isLive(run)) return;
    if (note.revision <= run.stateRevision) return;
    registry.publish(name, {
      ...worker,
      run: { ...run, state: note.state, stateAt: note.at, stateRevision: note.revision },
    });
  }

  // ── what to do about it ──────────────────────────────────────────────────────────────────────────────────────────

  async #reconcile(name: string): Promise<void> {
    const { registry, clock } = this.#options;
    for (;;) {
      const worker = registry.get(name);
      if (worker === null) return this.#rest(name);
      const action = plan(worker, clock.mono(), { endLeftovers: this.#endLeftovers.has(name) });
      switch (action.kind) {
        case 'rest':
          return this.#rest(name);
        case 'look-again':
          return this.#lookAgain(name, action.atMono);
        case 'spawn':
          if (!(await this.#spawn(worker, action.automatic))) return;
          break;
        case 'ask':
          await this.#stopper.ask(worker);
          break;
        case 'force':
          await this.#stopper.force(worker);
          break;
        case 'kill':
          await this.#stopper.kill(worker);
          break;
        case 'name':
          if (await this.#stopper.kill(worker)) await this.#closer.nameLeader(registry.get(name) ?? worker);
          break;
        case 'close':
          await this.#closer.close(worker);
          break;
        case 'end-leftovers':
          await this.#clearLeftovers(worker);
          break;
        default:
          return action satisfies never;
      }
    }
  }

  #lookAgain(name: string, atMono: number): void {
    this.#rest(name);
    const cancel = this.#options.clock.at(atMono, () => {
      this.#timers.delete(name);
      this.add(name);
    });
    this.#timers.set(name, cancel);
  }

  /** Nothing is to be done now: also whoever waits for leftovers to be ended has been seen to. */
  #rest(name: string): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
    for (const resolve of this.#endLeftovers.get(name) ?? []) resolve();
    this.#endLeftovers.delete(name);
  }

  /** The run is written before the shim is asked. False: not now; something will call again. */
  async #spawn(worker: WorkerRecord, automatic: boolean): Promise<boolean> {
    const { registry, shim, hosts, clock, orders, nonce, bootId, log, ender } = this.#options;
    const { name } = worker;
    if (!shim.settled) return false;
    const waitMs = automatic ? this.#window.wait(clock.mono()) || this.#bucket.take(clock.mono()) : 0;
    if (waitMs > 0) {
      this.#lookAgain(name, clock.mono() + waitMs);
      return false;
    }
    const id = runId(name, worker.generation + 1, nonce());
    ender.expect(id);
    if (automatic) this.#window.order(id);
    const host = worker.spec.kind === 'thread' ? hosts.place(worker, id) : null;
    const run = newRun(worker, { id, host, automatic, now: clock.now(), bootId });
    const counted = automatic && worker.backoff?.counted !== false;
    registry.update(name, {
      ...worker,
      generation: run.generation,
      run,
      backoff: null,
      reason: null,
      stopOrder: null,
      restarts: worker.restarts + (counted ? 1 : 0),
    });
    try {
      await registry.committed();
    } catch (error) {
      this.#window.failed(id);
      ender.forget(run);
      if (host !== null) hosts.threadEnded(host, id);
      throw error;
    }
    try {
      if (host !== null) await hosts.asked(host);
      failpoint('orders.spawn.before');
      const answered = shim.call('spawn', spawnOrder(worker, run, orders));
      failpointAfterTurn('orders.spawn.asked');
      await answered;
      failpoint('orders.spawn.answered');
    } catch (error) {
      // A shim that went away is asked again, with the same run, when one answers (adoption.ts).
      if (isShimAway(error)) return false;
      log.error({ name, run: id, error: String(error) }, 'the shim refused to start the worker');
      this.conclude(name, refusedFact(clock.now(), error));
    }
    return true;
  }

  async #clearLeftovers(worker: WorkerRecord): Promise<void> {
    const { name } = worker;
    const waiting = this.#endLeftovers.get(name) ?? [];
    this.#endLeftovers.delete(name);
    try {
      await this.#closer.clearLeftovers(worker);
    } finally {
      for (const resolve of waiting) resolve();
    }
  }
}
