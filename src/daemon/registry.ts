/**
 * The sole owner of worker records: memory, store and announcements. `update` changes memory at once and queues the
 * change; all changes of one turn share one commit, and only then are they announced, in the order they were made.
 * A commit that fails takes the whole turn back: nobody has heard of it. What ends a worker on request is exempt (`insist`):
 * it holds in memory and is written as soon as the store takes it. Published state alone is announced without
 * a commit; the store gets it at most once a second and with the next change.
 */
import type { WorkerRecord } from './core/model.ts';
import { phaseOf } from './core/view.ts';
import type { Clock, HostRow, Logger, Store } from './ports.ts';

export interface Transition {
  readonly name: string;
  readonly before: WorkerRecord | null;
  readonly after: WorkerRecord | null;
}

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  /** After the commit, in order. */
  readonly announce: (transitions: readonly Transition[]) => void;
  readonly onWritten?: () => void;
  /** The store refused; memory is as before the turn. */
  readonly onRefused: (error: Error) => void;
}

const persistStateMs = 1000;

interface Waiter {
  /** Whose change it waits for; `null`: all of the turn's. */
  readonly name: string | null;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #records = new Map<string, WorkerRecord>();
  #transitions: Transition[] = [];
  #durable = new Set<string>();
  #undo = new Map<string, WorkerRecord | null>();
  /** Forgotten this turn, also where the name was defined anew since: its old runs go. */
  #removed = new Set<string>();
  #runs: { name: string; run: NonNullable<WorkerRecord['run']> }[] = [];
  #hosts = new Map<string, HostRow | null>();
  #waiters: Waiter[] = [];
  #flush: NodeJS.Immediate | null = null;
  readonly #insisted = new Set<string>();
  /** Held in memory though the store has refused it. */
  #owed: ReadonlySet<string> = new Set();
  readonly #staleStates = new Set<string>();
  #persistStates: (() => void) | null = null;
  #sorted: readonly string[] | null = null;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Takes over what the store holds; announces nothing. */
  load(records: readonly WorkerRecord[]): void {
    for (const record of records) this.#records.set(record.name, record);
    this.#sorted = null;
  }

  get(name: string): WorkerRecord | null {
    return this.#records.get(name) ?? null;
  }

  /** All names, sorted by code unit. */
  names(): readonly string[] {
    this.#sorted ??= [...this.#records.keys()].sort();
    return this.#sorted;
  }

  /** As everybody was told so far: what this turn has changed is not on disk, and may yet be taken back. */
  announced(name: string): WorkerRecord | null {
    const before = this.#undo.get(name);
    return before === undefined ? this.get(name) : before;
  }

  /** The names that everybody was told of, sorted. */
  announcedNames(): readonly string[] {
    if (this.#undo.size === 0) return this.names();
    const names = new Set(this.names());
    for (const [name, before] of this.#undo) {
      if (before === null) names.delete(name);
      else names.add(name);
    }
    return [...names].sort();
  }

  all(): IterableIterator<WorkerRecord> {
    return this.#records.values();
  }

  /** The only way a record changes; `null` forgets it. */
  update(name: string, after: WorkerRecord | null): void {
    const before = this.get(name);
    if (before === after) return;
    if (!this.#undo.has(name)) this.#undo.set(name, before);
    if (before?.run && after?.run && before.run.generation !== after.run.generation) {
      this.#runs.push({ name, run: before.run });
    }
    if (after === null) {
      this.#removed.add(name);
      this.#runs = this.#runs.filter((row) => row.name !== name);
    }
    this.#durable.add(name);
    this.#apply({ name, before, after });
  }

  /** New published state of the newest run: announced, not committed at once. */
  publish(name: string, after: WorkerRecord): void {
    const before = this.get(name);
    if (!this.#undo.has(name)) this.#undo.set(name, before);
    if (!this.#durable.has(name)) this.#stale(name);
    this.#apply({ name, before, after });
  }

  updateHost(run: string, row: HostRow | null): void {
    this.#hosts.set(run, row);
    this.#schedule();
  }

  /**
   * Resolves once all that was changed so far is on disk and announced; rejects where the store refused it. With a name
   * also where what was changed of that one holds all the same.
   */
  committed(name: string | null = null): Promise<void> {
    if (this.#flush === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ name, resolve, reject });
    });
  }

  /** It is to end, and does so though that cannot be written: until something is written, it is not taken back. */
  insist(name: string): void {
    this.#insisted.add(name);
  }

  /** Memory is ahead of the store. */
  owes(name: string): boolean {
    return this.#owed.has(name);
  }

  /** The store may take now what it has refused. */
  retry(): void {
    if (this.#owed.size > 0) this.#schedule();
  }

  /** Commits what is pending now; throws where the store refuses. */
  flushNow(): void {
    if (this.#flush !== null) clearImmediate(this.#flush);
    for (const name of this.#staleStates) this.#durable.add(name);
    this.#staleStates.clear();
    this.#commit();
  }

  close(): void {
    this.#persistStates?.();
    this.flushNow();
  }

  #apply(transition: Transition): void {
    const { name, after } = transition;
    if (after === null || !this.#records.has(name)) this.#sorted = null;
    if (after === null) this.#records.delete(name);
    else this.#records.set(name, after);
    // Defined and wanted by one request: one step, so that a worker which is started is not first heard of as stopped.
    // Called off in the same turn it is another, or it would first be heard of as stopping.
    const last = this.#transitions.at(-1);
    const isOneStep = after !== null && phaseOf(after) !== 'stopping';
    if (last?.name === name && last.before === null && last.after !== null && isOneStep) {
      this.#transitions[this.#transitions.length - 1] = { name, before: null, after };
    } else this.#transitions.push(transition);
    this.#schedule();
  }

  #schedule(): void {
    this.#flush ??= setImmediate(() => this.#commit());
  }

  #stale(name: string): void {
    this.#staleStates.add(name);
    if (this.#persistStates !== null) return;
    const { clock } = this.#options;
    this.#persistStates = clock.at(clock.mono() + persistStateMs, () => {
      this.#persistStates = null;
      for (const stale of this.#staleStates) this.#durable.add(stale);
      this.#staleStates.clear();
      this.#schedule();
    });
  }

  #commit(): void {
    this.#flush = null;
    const transitions = this.#transitions;
    const waiters = this.#waiters;
    this.#transitions = [];
    this.#waiters = [];
    let refused: Error | null = null;
    let takenBack: ReadonlySet<string> = new Set();
    try {
      this.#write();
    } catch (error) {
      refused = error instanceof Error ? error : new Error(String(error));
      takenBack = this.#takeBack();
    }
    this.#durable = new Set(this.#owed);
    this.#undo = new Map();
    this.#removed = new Set();
    this.#runs = [];
    this.#hosts = new Map();
    const holds = (name: string) => refused === null || (this.#owed.has(name) && !takenBack.has(name));
    const held = refused === null ? transitions : transitions.filter(({ name }) => holds(name));
    if (refused === null || held.length > 0) this.#options.announce(held);
    for (const { name, resolve, reject } of waiters) {
      if (refused === null || (name !== null && holds(name))) resolve();
      else reject(refused);
    }
    if (refused !== null) this.#options.onRefused(refused);
  }

  #write(): void {
    if (this.#durable.size === 0 && this.#hosts.size === 0) return;
    const workers: WorkerRecord[] = [];
    for (const name of this.#durable) {
      const record = this.get(name);
      if (record !== null) workers.push(record);
      this.#staleStates.delete(name);
    }
    const hosts = [...this.#hosts.values()].filter((row) => row !== null);
    const removedHosts = [...this.#hosts].filter(([, row]) => row === null).map(([run]) => run);
    this.#options.store.commit({ workers, removed: [...this.#removed], runs: this.#runs, hosts, removedHosts });
    this.#owed = new Set();
    this.#insisted.clear();
    this.#options.onWritten?.();
  }

  /** The names of what is as it was before the turn. */
  #takeBack(): ReadonlySet<string> {
    const takenBack = new Set<string>();
    const owed = new Set(this.#owed);
    for (const [name, before] of this.#undo) {
      if (this.#insisted.has(name) && before !== null && this.get(name)?.intent.want === 'down') {
        owed.add(name);
        continue;
      }
      takenBack.add(name);
      if (before === null) this.#records.delete(name);
      else this.#records.set(name, before);
    }
    this.#owed = owed;
    this.#sorted = null;
    return takenBack;
  }
}
