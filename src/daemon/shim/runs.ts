/**
 * The table of runs: takes the daemon's orders, in their order, and lets nothing of a run be left behind. Knows which
 * thread lives in which host. Decides nothing: who is started, stopped or started again is the daemon's business.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { WorkerdError } from '../../shared/errors.ts';
import { failpoint, failpointAfterTurn } from '../../shared/failpoints.ts';
import { hasCode } from '../../shared/log-file.ts';
import type { Exit, JsonObject } from '../../shared/worker.ts';
import type { NewFact } from './facts.ts';
import { findMarked } from './identity.ts';
import { FifoPool } from './pipes.ts';
import type { LogTurn, RunStatus, ShimMethods, SpawnParams } from './protocol.ts';
import { type Adopted, Run, type RunHooks } from './run.ts';
import { SharedTexts } from './shared-texts.ts';
import { execute, failureOf, prepare, SpawnError } from './spawn.ts';

export interface RunTableOptions {
  /** Of the FIFOs: a directory per run. */
  readonly directory: string;
  readonly tell: (fact: NewFact) => void;
  readonly stateChanged: (run: Run) => void;
  readonly remark: (run: string | null, message: string, log?: LogTurn) => void;
}

/** More would stall the loop. */
const spawnsPerTurn = 8;
const toldToEnd = () => new SpawnError('ECANCELED', 'the shim was told to end');
const maxFailedHosts = 64;
const readOnAgainMs = 1000;
const hostDied: Exit = { kind: 'lost', reason: 'thread host died' };

export class RunTable {
  readonly #options: RunTableOptions;
  readonly #pool: FifoPool;
  readonly #runs = new Map<string, Run>();
  /** Released, but something still holds their pipes. */
  readonly #lingering = new Set<Run>();
  readonly #kept = new SharedTexts();
  readonly #queue: Run[] = [];
  readonly #hooks: RunHooks;
  /** Thread hosts that could not be started, and why: that is how their threads end, too. */
  readonly #failedHosts = new Map<string, Exit>();
  /** Said by an adopted host of threads that are not adopted yet. */
  readonly #earlyEnds = new Map<string, Exit>();
  #working = false;
  #ending = false;
  #onExit: (() => void) | null = null;

  constructor(options: RunTableOptions) {
    this.#options = options;
    this.#pool = new FifoPool(join(options.directory, 'pool'));
    this.#hooks = {
      tell: (fact) => {
        options.tell(fact);
        if (fact.kind === 'exited') this.#exited();
      },
      stateChanged: options.stateChanged,
      remark: options.remark,
      threadExited: (host, thread, exit) => {
        const run = this.#runs.get(thread);
        if (run === undefined && host.adopted) this.#earlyEnds.set(thread, exit);
        if (run?.order.host === host.id) run.endedAs(exit);
      },
      closed: (run) => this.#forgetIfDone(run),
    };
  }

  /** What lives is read on also where nothing can be started now. */
  async open(): Promise<void> {
    try {
      await this.#pool.open();
    } catch (error) {
      this.#options.remark(null, `nothing can be started now: ${failureOf(error).message}`);
    }
  }

  get all(): readonly Run[] {
    return [...this.#runs.values()];
  }
  get live(): readonly Run[] {
    return this.all.filter((run) => !run.exited);
  }

  find(id: string | null): Run | null {
    return id === null ? null : (this.#runs.get(id) ?? null);
  }

  list(): readonly RunStatus[] {
    return this.all.map((run) => run.status());
  }

  /** The run of this id, or an error that says that there is none. */
  get(id: string): Run {
    const run = this.#runs.get(id);
    if (run === undefined) throw new WorkerdError('worker.not-found', `the shim knows of no run ${id}`);
    return run;
  }

  spawn(order: SpawnParams): void {
    if (this.#runs.has(order.run)) return;
    if (this.#ending) throw new WorkerdError('daemon.stopping', 'the shim is ending: it starts nothing more');
    failpoint('shim.spawn.ordered');
    const run = this.#create(order);
    this.#queue.push(run);
    if (!this.#working) void this.#work();
  }

  adopt(order: ShimMethods['adopt']['params']): void {
    if (this.#runs.has(order.run)) return;
    const { pid, startTime, revision, known } = order;
    const run = this.#create(order, { pid, startTime, revision, ...(known === undefined ? {} : { known }) });
    run.forgetLaunch();
    this.#readOn(run);
    const end = this.#earlyEnds.get(run.id);
    this.#earlyEnds.delete(run.id);
    if (end !== undefined) run.endedAs(end);
  }

  /** What it writes would wait in its pipes for ever, and it with them: without descriptors it is tried again. */
  #readOn(run: Run, isFirst = true): void {
    if (run.exited) return;
    try {
      run.readOn();
    } catch (error) {
      run.closeAll();
      const { message } = failureOf(error);
      if (isFirst) this.#options.remark(run.id, `cannot read on what ${run.order.name} writes: ${message}`);
      if (hasCode(error, 'EMFILE', 'ENFILE')) setTimeout(() => this.#readOn(run, false), readOnAgainMs).unref();
    }
  }

  conclude(id: string, exit: Exit): void {
    const run = this.get(id);
    if (!run.adopted) throw new WorkerdError('usage', `run ${id} is a child of the shim, which sees its end itself`);
    this.#concludeThreads(run);
    run.endedAs(exit);
  }

  release(id: string): void {
    this.#earlyEnds.delete(id);
    const run = this.#runs.get(id);
    if (run === undefined) {
      // A run of a shim that was killed: its FIFOs are nobody's any more.
      const lingers = [...this.#lingering].some((each) => each.id === id);
      if (!lingers) rmSync(join(this.#options.directory, id), { recursive: true, force: true });
      return;
    }
    if (!run.exited) throw new WorkerdError('worker.busy', `run ${id} has not ended`);
    failpoint('shim.release.before');
    this.#runs.delete(id);
    this.#kept.drop(run.order.keep ?? []);
    run.release();
    if (!run.closed) this.#lingering.add(run);
    this.#forgetIfDone(run);
  }

  publish(id: string, patch: JsonObject): { state: JsonObject; revision: number } {
    const run = this.get(id);
    if (run.exited) throw new WorkerdError('worker.not-running', `run ${id} has ended`);
    const fault = run.publish(patch);
    if (fault !== null) throw new WorkerdError('limit.exceeded', fault, { limit: 'maxStateBytes' });
    return { state: run.state.value ?? {}, revision: run.state.revision };
  }

  /** Nothing is started from now on. Calls back at each exit; resolves once nothing is alive. */
  end(onExit: () => void): Promise<void> {
    this.#ending = true;
    for (const run of this.#queue.splice(0)) {
      run.endedByShim = true;
      run.spawnFailed({ kind: 'spawn-failed', ...toldToEnd().failure });
    }
    return new Promise((resolve) => {
      this.#onExit = () => {
        if (this.live.length === 0) resolve();
        else onExit();
      };
      this.#exited();
    });
  }

  /** After the last exit: ends what the runs left alive, as far as their marker proves it theirs. */
  endLeftovers(runs: ReadonlySet<string>): void {
    for (const pid of findMarked(runs)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone meanwhile.
      }
    }
  }

  async close(): Promise<void> {
    for (const run of [...this.#runs.values(), ...this.#lingering]) {
      run.closeAll();
      // Whoever lives on still writes there, and the next shim reads it.
      if (run.exited) run.channels.removeDirectory();
    }
    await this.#pool.close();
  }

  #create(asked: SpawnParams, adopted?: Adopted): Run {
    const order = { ...asked, keep: this.#kept.share(asked.keep ?? []) };
    const run = new Run(order, join(this.#options.directory, order.run), this.#hooks, adopted);
    this.#runs.set(order.run, run);
    return run;
  }

  /** One after the other: a thread's order may follow its host's. */
  async #work(): Promise<void> {
    this.#working = true;
    let inTurn = 0;
    for (let run = this.#queue.shift(); run !== undefined; run = this.#queue.shift()) {
      try {
        if (run.order.kind === 'thread') await this.#startThread(run, run.order.host ?? '');
        else await this.#startProcess(run);
      } catch (error) {
        this.#failed(run, { kind: 'spawn-failed', ...failureOf(error) });
      } finally {
        run.forgetLaunch();
      }
      inTurn += 1;
      if (inTurn % spawnsPerTurn === 0) await nextTurn();
    }
    this.#working = false;
  }

  async #startProcess(run: Run): Promise<void> {
    const program = await prepare(run.order);
    run.channels.makeDirectory();
    await this.#pool.take(run.channels.paths);
    if (this.#ending) throw toldToEnd();
    if (program.identity !== null) run.channels.chown(program.identity);
    const ends = run.channels.openWorkerEnds();
    try {
      run.open();
      failpoint('shim.spawn.piped');
      const pid = execute(program, run.order, [...ends.stdio], {
        onExit: (code, signal) => {
          this.#concludeThreads(run);
          run.processEnded(code, signal);
        },
        onFailed: (failure) => this.#failed(run, { kind: 'spawn-failed', ...failure }),
      });
      failpoint('shim.spawn.forked');
      if (pid !== null) run.spawned(pid);
      failpointAfterTurn('shim.spawn.told');
    } finally {
      ends.close();
    }
  }

  #failed(run: Run, exit: Exit): void {
    if (run.order.kind === 'host') {
      this.#failedHosts.set(run.id, exit);
      // Their threads are in the queue by now, or follow at once.
      const [oldest] = this.#failedHosts.keys();
      if (this.#failedHosts.size > maxFailedHosts && oldest !== undefined) this.#failedHosts.delete(oldest);
    }
    run.spawnFailed(exit);
  }

  async #startThread(run: Run, hostId: string): Promise<void> {
    const failed = this.#failedHosts.get(hostId);
    if (failed !== undefined) return run.spawnFailed(failed);
    // A shim that died may have told the host already: then the thread has these FIFOs open, and they stay.
    const mayBeThere = run.channels.exist;
    if (!mayBeThere) {
      run.channels.makeDirectory();
      await this.#pool.take(run.channels.paths);
    }
    if (this.#ending) throw toldToEnd();
    run.open();
    const host = this.#runs.get(hostId);
    run.spawned(host?.pid ?? null, host?.startTime ?? null);
    const [out, err, up, down] = (['out', 'err', 'up', 'down'] as const).map((channel) => run.channels.path(channel));
    const launch = { launch: run.order.launch, run: run.id, fifos: { out, err, up, down } } as JsonObject;
    const end = this.#earlyEnds.get(run.id);
    this.#earlyEnds.delete(run.id);
    if (end !== undefined) run.endedAs(end);
    else if (host === undefined || !host.alive || !host.send(launch)) run.endedAs(hostDied);
    else if (mayBeThere) run.send({ again: true });
  }

  #concludeThreads(host: Run): void {
    if (host.order.kind !== 'host') return;
    for (const run of this.live) {
      if (run.order.host === host.id && run.alive) run.endedAs(hostDied);
    }
  }

  #forgetIfDone(run: Run): void {
    if (!run.released || !run.closed) return;
    this.#lingering.delete(run);
    run.channels.removeDirectory();
  }

  #exited(): void {
    this.#onExit?.();
  }
}
