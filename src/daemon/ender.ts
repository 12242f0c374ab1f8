/**
 * Ends runs and all that they spawned: asks, forces, kills, and proves that nothing is left. Decides nothing about when.
 * Signals go through the shim, which holds the process; without a shim to the process itself, by proven identity.
 */
import type { Actor, JsonObject } from '../shared/worker.ts';
import { type Identity, isLive, type KnownLeftover, type Run } from './core/model.ts';
import { outlivesKillMs } from './core/unended.ts';
import type { Hosts } from './hosts.ts';
import { isGone, isUnknown } from './orphans.ts';
import {
  type Clock,
  isShimAway,
  type Logger,
  type ProcessMark,
  type ProcessTable,
  type Shim,
  type SweepTarget,
} from './ports.ts';
import type { Sweeper } from './sweeper.ts';

export interface EnderOptions {
  readonly shim: Shim;
  readonly hosts: Hosts;
  readonly processes: ProcessTable;
  readonly sweeper: Sweeper;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface StopMessage {
  readonly reason: string;
  readonly deadline: string;
  readonly by: Actor | null;
}

/** /proc counts start times in these. */
const ticksOf = (ms: number): number => Math.ceil(ms / 10);
/** There is no event for "a group has become empty". */
const lookMs = 20;
/** After this many looks at the known ones, everything is looked at again: they may have spawned more. */
const looksPerSweep = 10;
/** A shim that has not answered by then stands still (it may be stopped, not dead): signals go past it. */
const answerMs = 2000;
/** A thread that lives on for so long after its host was told blocks in native code. */
const terminateMs = 250;

const keyOf = ({ pid, startTime }: Identity): string => `${pid} ${startTime}`;

interface Unsaid {
  readonly run: string;
  readonly message: JsonObject;
  readonly onTaken: () => void;
}

export class Ender {
  readonly #options: EnderOptions;
  /** Taken before a run was ordered: what it spawned is younger. */
  readonly #marks = new Map<string, ProcessMark | null>();
  /** Descendants seen before the first stop signal, by run: `env -i` loses them the marker. */
  readonly #trees = new Map<string, readonly Identity[]>();
  /** What no shim has taken: said to the next one. */
  readonly #unsaid = new Set<Unsaid>();
  /** Threads whose host was told to terminate them: when the shim took that; `null`: it has not yet. */
  readonly #terminated = new Map<string, number | null>();

  constructor(options: EnderOptions) {
    this.#options = options;
  }

  /** A run is about to be ordered. */
  expect(run: string): void {
    this.#marks.set(run, this.#options.processes.mark());
  }

  /** Cooperatively; a command by its stop signal too. */
  async ask(run: Run, message: StopMessage): Promise<void> {
    this.#rememberTree(run);
    const { reason, deadline, by } = message;
    const stop = { reason, deadline, by: by === null ? null : { ...by } };
    const told = this.#down(run.id, { stop });
    if (run.kind === 'command') {
      const signal = run.stopSignal as NodeJS.Signals;
      await this.#signal(run, signal);
      this.#signalEscaped(run, signal);
      // A stopped process takes its signal only once it goes on.
      await this.#signal(run, 'SIGCONT');
    }
    await told;
  }

  /** A module whose grace is over: its process by SIGTERM (it has no handler of ours), a thread by terminate(). */
  async force(run: Run): Promise<void> {
    this.#rememberTree(run);
    if (run.kind === 'thread') {
      if (run.host === null) return;
      const { clock } = this.#options;
      this.#terminated.set(run.id, null);
      await this.#down(run.host, { terminate: { run: run.id } }, () => this.#terminated.set(run.id, clock.mono()));
      return;
    }
    await this.#signal(run, 'SIGTERM');
    await this.#signal(run, 'SIGCONT');
  }

  /** SIGKILL; a thread goes with its host, whose other threads are healed. False: it was not said yet. */
  async kill(run: Run): Promise<boolean> {
    this.#rememberTree(run);
    if (run.kind === 'thread') {
      if (run.host === null) return false;
      // The other threads in there are not to suffer for a shim that was away, or stood still, when it was told.
      const takenMono = this.#terminated.get(run.id);
      if (takenMono === undefined) await this.force(run);
      if (takenMono == null || this.#options.clock.mono() - takenMono < terminateMs) return false;
      await this.#killHost(run.host);
      return true;
    }
    await this.#signal(run, 'SIGKILL');
    this.#signalEscaped(run, 'SIGKILL');
    return true;
  }

  /**
   * What is left of a run whose leader is gone. `deadline` (asked at each look) says until when that may end by itself
   * after its stop signal; `null`: leave it alone. Gives back what lives on, also what outlives SIGKILL by `patienceMs`.
   */
  async clear(
    run: Run,
    deadline: () => number | null,
    known: readonly KnownLeftover[] = [],
    patienceMs = outlivesKillMs,
  ): Promise<readonly KnownLeftover[]> {
    const { clock, processes } = this.#options;
    let left = await this.look(run, known);
    const asked = new Set<string>();
    let killedMono: number | null = null;
    for (let look = 1; left.length > 0; look += 1) {
      const untilMono = deadline();
      if (untilMono === null) return left;
      const nowMono = clock.mono();
      if (nowMono >= untilMono) {
        killedMono ??= nowMono;
        for (const each of left) processes.signal(each, 'SIGKILL');
        if (nowMono - killedMono > patienceMs) return this.#inTheirStates(left);
      } else for (const each of left) this.#askOnce(each, run, asked);
      await this.#pause();
      left = left.filter((each) => !isGone(processes, each));
      if (left.length === 0 || look % looksPerSweep === 0) left = await this.look(run, [...known, ...left]);
    }
    return left;
  }

  /** What of a run is alive now; `known` was found earlier, and may have lost its marker. */
  async look(run: Run, known: readonly KnownLeftover[] = []): Promise<readonly KnownLeftover[]> {
    const { processes, sweeper } = this.#options;
    // Whoever has its numbers now, after a boot, is somebody else.
    if (run.bootId !== processes.bootId) return [];
    const found = await sweeper.look(this.#target(run, known));
    // Unreadable now is not gone, and nobody finds it by looking.
    const unknown = new Map(known.filter((each) => isUnknown(processes, each)).map((each) => [each.pid, each]));
    for (const { pid } of found) unknown.delete(pid);
    return [...found, ...unknown.values()];
  }

  /** All that lives of a run whose leader was killed, the host of a thread with it, each in the state that keeps it. */
  async stubborn(run: Run): Promise<readonly KnownLeftover[]> {
    const { sweeper, hosts } = this.#options;
    const own = await this.look(run);
    const host = run.host === null ? null : hosts.identityOf(run.host);
    if (run.host === null || host === null) return this.#inTheirStates(own);
    const target = { run: run.host, group: host.pid, since: host.startTime, until: null, mark: null, also: [] };
    return this.#inTheirStates([...(await sweeper.look(target)), ...own]);
  }

  #inTheirStates(left: readonly KnownLeftover[]): readonly KnownLeftover[] {
    return left.flatMap((each) => {
      const { processes } = this.#options;
      const state = processes.stateOf(each);
      if (state === null) return isUnknown(processes, each) ? [each] : [];
      return [{ ...each, state }];
    });
  }

  /** It is closed; what it left behind is in the registry. */
  forget(run: Run): void {
    this.#trees.delete(run.id);
    this.#marks.delete(run.id);
    this.#terminated.delete(run.id);
    for (const each of this.#unsaid) if (each.run === run.id) this.#unsaid.delete(each);
  }

  #askOnce(process: KnownLeftover, run: Run, asked: Set<string>): void {
    const key = keyOf(process);
    if (asked.has(key)) return;
    asked.add(key);
    this.#options.processes.signal(process, run.kind === 'command' ? (run.stopSignal as NodeJS.Signals) : 'SIGTERM');
    this.#options.processes.signal(process, 'SIGCONT');
  }

  #target(run: Run, known: readonly KnownLeftover[]): SweepTarget {
    return {
      run: run.id,
      group: run.kind === 'thread' ? null : run.pid,
      since: run.startTime,
      until: run.startTime === null || run.ranMs === null ? null : run.startTime + ticksOf(run.ranMs) + ticksOf(1000),
      mark: this.#marks.get(run.id) ?? null,
      also: [...(this.#trees.get(run.id) ?? []), ...known],
    };
  }

  #rememberTree(run: Run): void {
    if (run.kind === 'thread' || run.pid === null || run.startTime === null || !isLive(run)) return;
    const seen = this.#trees.get(run.id) ?? [];
    const known = new Set(seen.map(keyOf));
    const leader: Identity = { pid: run.pid, startTime: run.startTime };
    const fresh = this.#options.processes.descendants(leader).filter((each) => !known.has(keyOf(each)));
    this.#trees.set(run.id, [...seen, ...fresh]);
  }

  /** Descendants that are not in the leader's group would not hear a signal to it; those that are hear it twice. */
  #signalEscaped(run: Run, signal: NodeJS.Signals): void {
    const { processes } = this.#options;
    for (const each of this.#trees.get(run.id) ?? []) {
      if (processes.groupOf(each) !== run.pid) processes.signal(each, signal);
    }
  }

  async #signal(run: Run, signal: NodeJS.Signals): Promise<void> {
    await this.#signalLeader(run.id, signal, run.pid, run.startTime);
  }

  async #killHost(host: string): Promise<void> {
    this.#options.hosts.killed(host);
    const identity = this.#options.hosts.identityOf(host);
    await this.#signalLeader(host, 'SIGKILL', identity?.pid ?? null, identity?.startTime ?? null);
  }

  /** Through the shim that holds the process; where none does, or it cannot, to the process itself, proven to be it. */
  async #signalLeader(run: string, signal: NodeJS.Signals, pid: number | null, startTime: number | null) {
    const { shim, processes } = this.#options;
    let delivered = false;
    await this.#told(async () => {
      ({ delivered } = await shim.call('signal', { run, signal, to: 'group' }));
    });
    if (delivered) return;
    if (pid !== null && startTime !== null) processes.signalGroup({ pid, startTime }, signal);
  }

  async #down(run: string, message: JsonObject, onTaken: () => void = () => {}): Promise<void> {
    const { shim } = this.#options;
    const unsaid: Unsaid = { run, message, onTaken };
    let isDue = true;
    const told = await this.#told(async () => {
      try {
        await shim.call('down', { run, message });
        isDue = false;
        onTaken();
      } catch (error) {
        // One that has just come knows of nothing yet, and is told of what lives in a moment.
        isDue = isShimAway(error) || !shim.settled;
        throw error;
      } finally {
        // Also long after it was given up: one that stood still goes on, and takes it.
        if (!isDue) this.#unsaid.delete(unsaid);
      }
    });
    // One that stands still may be killed before it takes it.
    if (!told && isDue) this.#unsaid.add(unsaid);
  }

  /** A shim answers, and reads on: a module whose shim was away is asked to stop as any other is. */
  sayAgain(): void {
    const unsaid = [...this.#unsaid];
    this.#unsaid.clear();
    for (const { run, message, onTaken } of unsaid) void this.#down(run, message, onTaken);
  }

  /** False: there is no shim, it does not know the run, it went away, or it stands still: then nobody waits for it. */
  async #told(call: () => Promise<unknown>): Promise<boolean> {
    const { shim, clock, log } = this.#options;
    if (!shim.connected) return false;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = clock.at(clock.mono() + answerMs, () => reject(new Error(`no answer within ${answerMs} ms`)));
    try {
      await Promise.race([call(), late]);
      return true;
    } catch (error) {
      log.warn({ error: String(error) }, 'the shim could not pass it on');
      return false;
    } finally {
      cancel();
    }
  }

  #pause(): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      clock.at(clock.mono() + lookMs, resolve);
    });
  }
}
