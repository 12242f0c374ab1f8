/**
 * The sole owner of worker records: memory, store and announcements. `update` changes memory at once and queues the
 * change; all changes of one turn share one commit, and only then are they announced, in the order they were made.
 * A commit that fails takes the whole turn back: nobody has heard of it. Published state alone is announced without
 * a commit; the store gets it at most once a second and with the next change.
 */
import type { WorkerRecord } from './core/model.ts';
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
  /** The store refused; memory is as before the turn. */
  readonly onRefused: (error: Error) => void;
}

const persistStateMs = 1000;

interface Waiter {
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

  /** Resolves once all that was changed so far is on disk and announced; rejects where the store refused it. */
  committed(): Promise<void> {
    if (this.#flush === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
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
    const last = this.#transitions.at(-1);
    if (last?.name === name && last.before === null && last.after !== null && after !== null) {
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
    try {
      this.#write();
    } catch (error) {
      const refused = error instanceof Error ? error : new Error(String(error));
      this.#takeBack();
      for (const waiter of waiters) waiter.reject(refused);
      this.#options.onRefused(refused);
      return;
    } finally {
      this.#durable = new Set();
      this.#undo = new Map();
      this.#removed = new Set();
      this.#runs = [];
      this.#hosts = new Map();
    }
    this.#options.announce(transitions);
    for (const waiter of waiters) waiter.resolve();
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
  }

  #takeBack(): void {
    for (const [name, before] of this.#undo) {
      if (before === null) this.#records.delete(name);
      else this.#records.set(name, before);
    }
    this.#sorted = null;
  }
}
