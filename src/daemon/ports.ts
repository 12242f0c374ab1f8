/** What the control plane needs of the world, as types: time, the store, the shim, the process table, the log. */

import { WorkerdError } from '../shared/errors.ts';
import type { Identity, KnownLeftover, Run, WorkerRecord } from './core/model.ts';
import type { Fact, Remark, RunStatus, ShimMethods, StateNote } from './shim/protocol.ts';

export interface Clock {
  /** Wall clock, milliseconds since the epoch: for records. */
  now(): number;
  /** Monotonic milliseconds: for deadlines. */
  mono(): number;
  /** Calls once at a monotonic time; the returned function cancels it. */
  at(mono: number, callback: () => void): () => void;
}

export interface Logger {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** A thread host as the store keeps it. */
export interface HostRow {
  readonly run: string;
  /** What threads must share to share a host. */
  readonly key: string;
  readonly pid: number | null;
  readonly startTime: number | null;
  readonly bootId: string;
}

/** One transaction's worth of changes. */
export interface StoreChanges {
  readonly workers: readonly WorkerRecord[];
  readonly removed: readonly string[];
  /** Runs other than a worker's newest, which goes with its record. */
  readonly runs: readonly { readonly name: string; readonly run: Run }[];
  readonly hosts: readonly HostRow[];
  readonly removedHosts: readonly string[];
}

export interface Store {
  load(): { readonly workers: readonly WorkerRecord[]; readonly hosts: readonly HostRow[] };
  /** All or nothing, and safe on disk when it returns; throws where the disk says no. */
  commit(changes: StoreChanges): void;
  /** The newest runs first, each read when it is asked for; to be gone through at once. */
  history(name: string, limit: number): Iterable<Run>;
  meta(key: string): string | null;
  setMeta(key: string, value: string): void;
  close(): void;
}

/** The shim as the reconciler sees it: asks; facts come back by themselves. */
export interface Shim {
  readonly connected: boolean;
  /** What it holds and had kept is known: new runs may be ordered. */
  readonly settled: boolean;
  call<M extends keyof ShimMethods>(method: M, params: ShimMethods[M]['params']): Promise<ShimMethods[M]['result']>;
}

/** The shim was not there, or went away before it answered: whether it did what it was asked is not known. */
export const isShimAway = (error: unknown): boolean =>
  error instanceof WorkerdError && (error.code === 'daemon.unreachable' || error.data['reason'] === 'shim');

export interface ShimListener {
  facts(facts: readonly Fact[]): void;
  state(note: StateNote): void;
  /** A shim answers: what it knows, before any fact. */
  connected(runs: readonly RunStatus[]): Promise<void> | void;
  /** All that it had kept has been told. */
  told(): void;
  lost(why: string): void;
  /** A try to reach one, or to start one, came to nothing; it is tried again. `next`: what would help. */
  notReached(why: string, next?: string): void;
  remark(remark: Remark): void;
}

/** A process as it looks from outside. */
export interface Look {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** What the process table says; `null` where it cannot be read, which is neither alive nor dead. */
export interface ProcessTable {
  readonly bootId: string;
  /** Start time of a living process; `null` when there is none (a zombie is none), `'unknown'` when unreadable. */
  startTimeOf(pid: number): number | null | 'unknown';
  /** Now; `null` where the kernel does not tell. */
  mark(): ProcessMark | null;
  /** Living processes of the groups, sessions and run markers given, each with the run it was found for. */
  sweep(targets: readonly SweepTarget[]): ReadonlyMap<string, readonly KnownLeftover[]>;
  /** Descendants of a process, for those that lose their marker (`env -i`) and leave the group; none of who has its pid now. */
  descendants(target: Identity): readonly Identity[];
  /** What it was started with; what cannot be read is empty. */
  lookOf(pid: number): Look;
  /** Paths of what it has open, as far as it may be looked at. */
  openedBy(pid: number): readonly string[];
  /** The kernel's letter for what it does (proc_pid_stat(5)); `null` when it is gone. */
  stateOf(target: Identity): string | null;
  /** The process group it is in; `null` when it is gone. */
  groupOf(target: Identity): number | null;
  /** Signals the group that a living process leads, once it is proven to be the one meant. */
  signalGroup(leader: Identity, signal: NodeJS.Signals): boolean;
  /** Signals one process that is proven to be the one meant; false when it is not (any more). */
  signal(target: Identity, signal: NodeJS.Signals): boolean;
}

/** A moment, in the numbers that the kernel gives to processes. */
export interface ProcessMark {
  readonly lastPid: number;
  /** Processes and threads ever made. */
  readonly forks: number;
}

export interface SweepTarget {
  readonly run: string;
  /** The process group of its leader; `null` for threads. */
  readonly group: number | null;
  /** Start time of its leader: what is older is not of this run. */
  readonly since: number | null;
  /**
   * When its leader ended, about; `null`: not known, or it has not. Whoever is in a group of that number, without a
   * leader and without our marker, and began later, may be of another that was given the number since.
   */
  readonly until: number | null;
  /** Taken before any process of it was made; `null`: unknown, and every process is looked at. */
  readonly mark: ProcessMark | null;
  /** Found earlier, by tree. */
  readonly also: readonly Identity[];
}
