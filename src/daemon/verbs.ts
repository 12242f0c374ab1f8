/**
 * The verbs that change a worker. Each writes intent (or definition), wakes the reconciler, and, where it is to wait,
 * answers once what was asked for has come true. None of them starts or stops anything itself.
 */
import { WorkerdError } from '../shared/errors.ts';
import { failpoint } from '../shared/failpoints.ts';
import type { Params, Result } from '../shared/protocol.ts';
import { type Actor, type Caller, isAlive, isWorkerName, type Spec, type WorkerView } from '../shared/worker.ts';
import { begun, unbegun } from './begun.ts';
import { isOpen, outlivesKill, type Run, type StopOrder, type WorkerRecord } from './core/model.ts';
import { triedAgain } from './core/unended.ts';
import { phaseOf, viewOf } from './core/view.ts';
import { Definer, invalid } from './definer.ts';
import { checkSpec, isSameDefinition, notFound } from './definitions.ts';
import { alreadyRunning, inWords, notEnded, specConflict } from './failures.ts';
import type { LogStore } from './log-store.ts';
import { type Clock, isShimAway } from './ports.ts';
import type { Reconciler } from './reconciler.ts';
import type { Registry } from './registry.ts';
import { startLook, wantedGeneration } from './wait-conditions.ts';
import type { Waiters } from './waiters.ts';
import type { WithoutShim } from './without-shim.ts';

export interface VerbsOptions {
  readonly registry: Registry;
  readonly reconciler: Reconciler;
  readonly waiters: Waiters;
  readonly withoutShim: WithoutShim;
  readonly clock: Clock;
  readonly logs: LogStore;
  /** For workers of clients that name no caller. */
  readonly baseCaller: Caller;
  /** The runs of a worker, the newest first. */
  readonly history: (name: string, limit: number) => Iterable<Run>;
  /** The daemon is about to end: nothing new is started. */
  readonly stopping: () => boolean;
}

export interface Session {
  readonly actor: Actor;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

export class Verbs {
  readonly #options: VerbsOptions;
  readonly #definer: Definer;

  constructor(options: VerbsOptions) {
    this.#options = options;
    this.#definer = new Definer(options);
  }

  async start(params: Params<'start'>, session: Session): Promise<Result<'start'>> {
    this.#refuseWhileStopping();
    if (params.resume !== undefined) return this.#goOn(params, params.resume, session);
    const name = this.#definer.define(params);
    const worker = this.#known(name);
    const phase = phaseOf(worker);
    const keeps = isAlive(phase) && phase !== 'backoff' && phase !== 'stopping' && params.ifRunning !== 'replace';
    if (isAlive(phase) && params.ifRunning === 'fail') throw alreadyRunning(worker);
    if (params.enable === true) this.#change(name, { enabled: true });
    let outcome: Result<'start'>['outcome'] = 'already-running';
    if (!keeps) {
      outcome = isOpen(worker.run) && phase !== 'stopping' ? 'replaced' : 'started';
      this.#want(name, session.actor, { reason: 'replace', by: session.actor, graceMs: null, force: false });
    }
    const generation = keeps ? wantedGeneration(worker) : worker.generation + 1;
    const reached = this.#reached(name, generation, params.wait, params.timeoutMs, session);
    return { outcome, worker: await begun(reached, { name, outcome, generation }) };
  }

  /** What the daemon before this one had begun: nothing is done again, the end is waited for. */
  async #goOn(params: Params<'start'>, resume: NonNullable<Params<'start'>['resume']>, session: Session) {
    const { name, wait, timeoutMs } = params;
    const { outcome, generation } = resume;
    if (name === undefined) throw invalid('name', 'name must be given with resume');
    const reached = this.#reached(name, generation, wait, timeoutMs, session);
    return { outcome, worker: await begun(reached, { name, outcome, generation }) };
  }

  async stop(params: Params<'stop'>, session: Session): Promise<Result<'stop'>> {
    const { registry, reconciler, waiters, withoutShim } = this.#options;
    const { name } = params;
    const worker = this.#known(name);
    const order: StopOrder = {
      reason: 'stop',
      by: session.actor,
      graceMs: params.graceMs ?? null,
      force: params.force,
    };
    const generation = params.resume?.generation ?? worker.generation;
    if (params.resume === undefined) {
      if (!isAlive(phaseOf(worker))) return this.#stopLeftovers(worker, order, params);
      this.#unwant(name, order);
    }
    if (params.wait) {
      const gone = (now: WorkerRecord | null) => {
        if (now === null || isOver(now, generation)) return now ?? worker;
        if (outlivesKill(now)) throw notEnded(now);
        return undefined;
      };
      const waiting = withoutShim.unlessNone(name, (over) => {
        const signal = AbortSignal.any([session.signal, over]);
        return waiters.until(name, gone, { what: 'stopped', signal });
      });
      const ended = await begun(waiting, { name, outcome: 'stopped', generation });
      const now = registry.get(name) ?? ended;
      // What an earlier end of its own had left: its restart, which would have ended that, was called off.
      if (now.leftovers.length === 0 || isAlive(phaseOf(now))) return { outcome: 'stopped', worker: viewOf(ended) };
      await this.#stopLeftovers(now, order, params);
      return { outcome: 'stopped', worker: this.#view(name) };
    }
    await registry.committed(name);
    reconciler.add(name);
    return { outcome: 'stopped', worker: this.#view(name) };
  }

  /** A stopped worker's leftovers apart, `stop` of it changes nothing. */
  async #stopLeftovers(worker: WorkerRecord, order: StopOrder, params: Params<'stop'>) {
    const { registry, reconciler } = this.#options;
    const { name } = worker;
    const leftovers = await reconciler.findLeftovers(name);
    if (leftovers === 0) {
      await registry.committed(name);
      return { outcome: 'not-running' as const, worker: this.#view(name) };
    }
    registry.insist(name);
    this.#change(name, { stopOrder: order });
    const cleared = reconciler.endLeftovers(name);
    if (params.wait) {
      await cleared;
      const now = registry.get(name);
      if (now !== null && now.leftovers.length > 0) throw notEnded(now);
    }
    await registry.committed(name);
    return { outcome: 'stopped' as const, worker: this.#view(name) };
  }

  async restart(params: Params<'restart'>, session: Session): Promise<Result<'restart'>> {
    this.#refuseWhileStopping();
    const { name, resume } = params;
    const worker = this.#known(name);
    const outcome = resume?.outcome ?? (isAlive(phaseOf(worker)) ? 'restarted' : 'started');
    const generation = resume?.generation ?? worker.generation + 1;
    if (resume === undefined) {
      this.#want(name, session.actor, {
        reason: 'restart',
        by: session.actor,
        graceMs: params.graceMs ?? null,
        force: false,
      });
    }
    const wait = params.wait ? 'ready' : 'none';
    const reached = this.#reached(name, generation, wait, undefined, session);
    return { outcome, worker: await begun(reached, { name, outcome, generation }) };
  }

  async remove(params: Params<'remove'>, session: Session): Promise<Result<'remove'>> {
    const { registry, logs, reconciler } = this.#options;
    const { name } = params;
    let generation = 0;
    // Also of a stopped one: what it left behind goes with it. Whoever starts it meanwhile is met at the next look.
    for (let worker: WorkerRecord | null = this.#known(name); worker !== null; worker = registry.get(name)) {
      const phase = phaseOf(worker);
      if (isAlive(phase) && !params.force) {
        const message = `${name} is ${inWords[phase]}. Stop it first (workerctl stop ${name}), or remove it with --force`;
        throw new WorkerdError('worker.busy', message, { name, phase });
      }
      await unbegun(this.stop({ name, force: false, wait: true }, session));
      const now = registry.get(name);
      if (now === null) return { removed: true };
      ({ generation } = now);
      if (!isAlive(phaseOf(now)) && !isOpen(now.run)) break;
    }
    registry.update(name, null);
    await registry.committed();
    failpoint('remove.committed');
    reconciler.add(name);
    // One of that name may have been defined anew by now: what it writes is its own.
    // What cannot be a name leads anywhere as a path, and no worker of it ever ran.
    if (!params.keepLogs && isWorkerName(name))
      await logs.remove(name, registry.get(name) === null ? null : generation);
    return { removed: true };
  }

  async enable(name: string, enabled: boolean): Promise<WorkerView> {
    this.#known(name);
    this.#change(name, { enabled });
    await this.#options.registry.committed();
    return this.#view(name);
  }

  async define(params: Params<'define'>): Promise<WorkerView> {
    const worker = this.#options.registry.get(params.name);
    const spec = params.spec as Spec;
    checkSpec(params.name, spec, params.caller ?? this.#options.baseCaller);
    if (worker !== null && isAlive(phaseOf(worker)) && !isSameDefinition(worker.spec, spec)) {
      throw specConflict(worker, spec);
    }
    this.#definer.write(params.name, spec, params.caller ?? this.#options.baseCaller);
    await this.#options.registry.committed();
    return this.#view(params.name);
  }

  /** Every worker is to end: the orderly end of the daemon. Gives back those that could not be ended. */
  async stopAll(session: Session): Promise<readonly WorkerRecord[]> {
    const { registry, waiters, withoutShim } = this.#options;
    const order: StopOrder = { reason: 'shutdown', by: session.actor, graceMs: null, force: false };
    const names = [...registry.names()];
    for (const name of names) {
      const worker = registry.get(name);
      if (worker !== null && isAlive(phaseOf(worker))) this.#unwant(name, order);
    }
    const gone = (now: WorkerRecord | null) =>
      now === null || !isAlive(phaseOf(now)) || outlivesKill(now) ? true : undefined;
    const end = async (name: string) => {
      const until = (signal?: AbortSignal) => waiters.until(name, gone, { what: 'stopped', signal });
      await withoutShim.unlessNone(name, until).catch((error: unknown) => {
        if (!isShimAway(error) || !withoutShim.lose(name)) throw error;
        return until();
      });
      // What ended by itself earlier may have left something alive: nobody would look after it any more.
      const worker = registry.get(name);
      if (worker !== null && !outlivesKill(worker)) {
        await this.#stopLeftovers(worker, order, { name, force: false, wait: true });
      }
    };
    // What cannot be ended (uninterruptible) is in the registry, and does not keep the daemon from ending.
    await Promise.allSettled(names.map(end));
    const all = names.map((name) => registry.get(name));
    return all.filter((worker) => worker !== null && worker.leftovers.length > 0) as WorkerRecord[];
  }

  /** Starts a worker on behalf of the daemon itself. */
  wantEnabled(name: string, by: Actor): void {
    this.#want(name, by, { reason: 'restart', by, graceMs: null, force: false });
  }

  // ── intent ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A run newer than all there were; `stopOrder` is for the one that may be in its way. */
  #want(name: string, by: Actor, stopOrder: StopOrder): void {
    const worker = this.#known(name);
    const alreadyEnding = isOpen(worker.run) && worker.run.stop !== null;
    this.#change(name, {
      run: worker.run === null ? null : triedAgain(worker.run),
      intent: { want: 'up', atLeast: worker.generation + 1 },
      startedBy: by,
      stopOrder: alreadyEnding ? worker.stopOrder : stopOrder,
      backoff: null,
      restarts: 0,
      shortRuns: 0,
    });
  }

  /** Down; joins a stop that is under way, of which the shorter grace holds. */
  #unwant(name: string, order: StopOrder): void {
    const { clock, registry } = this.#options;
    // Who wants it gone is not told to make room on a disk first.
    registry.insist(name);
    const worker = this.#known(name);
    const { run } = worker;
    if (!isOpen(run)) {
      this.#change(name, {
        intent: { want: 'down' },
        settled: 'stopped',
        reason: null,
        backoff: null,
        stopOrder: order,
      });
      return;
    }
    const graceMs = order.graceMs ?? run.graceMs;
    const deadlineMono = clock.mono() + graceMs;
    const stop =
      run.stop !== null && deadlineMono < run.stop.deadlineMono
        ? { ...run.stop, deadlineMono, deadlineAt: clock.now() + graceMs }
        : run.stop;
    const force = order.force || (run.stop !== null && worker.stopOrder?.force === true);
    this.#change(name, { intent: { want: 'down' }, stopOrder: { ...order, force }, run: triedAgain({ ...run, stop }) });
  }

  #change(name: string, change: Partial<WorkerRecord>): void {
    this.#options.registry.update(name, { ...this.#known(name), ...change });
    this.#options.reconciler.add(name);
  }

  // ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Waits until the run of this generation is where it was to be, whatever follows. */
  async #reached(
    name: string,
    generation: number,
    wait: 'none' | 'running' | 'ready',
    timeoutMs: number | undefined,
    session: Session,
  ): Promise<WorkerView> {
    const { waiters, registry } = this.#options;
    if (wait === 'none') {
      await registry.committed();
      return this.#view(name);
    }
    const look = startLook(name, generation, wait, (wanted, newest) => this.#earlier(name, wanted, newest));
    return waiters.until(name, look, { what: wait, timeoutMs, signal: session.signal });
  }

  #earlier(name: string, generation: number, newest: Run): Run | null {
    const runs = this.#options.history(name, newest.generation - generation + 1);
    for (const run of runs) if (run.generation === generation) return run;
    return null;
  }

  #known(name: string): WorkerRecord {
    const { registry } = this.#options;
    const worker = registry.get(name);
    if (worker === null) throw notFound(name, registry.names());
    return worker;
  }

  #view(name: string): WorkerView {
    return viewOf(this.#known(name));
  }

  #refuseWhileStopping(): void {
    if (this.#options.stopping()) {
      throw new WorkerdError('daemon.stopping', 'the daemon is about to end and starts nothing any more');
    }
  }
}

/** The run of that generation, which was to be stopped, is over; a newer one may have been asked for since. */
const isOver = (worker: WorkerRecord, generation: number): boolean =>
  !isAlive(phaseOf(worker)) ||
  (worker.run !== null &&
    (worker.run.generation > generation || (worker.run.generation === generation && !isOpen(worker.run))));
