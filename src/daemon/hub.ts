/**
 * Publishes transitions to watchers. Each subscriber hears a snapshot of what it asked for, then every change in the
 * order it was committed. State is latest-wins for one that does not keep up; everything else is kept in order up to a
 * bound, beyond which it hears `gap` and snapshots anew. Nothing is hidden, and nothing grows without end.
 */
import { isGlob, matchesGlob } from '../shared/glob.ts';
import type { Peer } from '../shared/peer.ts';
import type { WorkerEvent } from '../shared/protocol.ts';
import type { WorkerRecord } from './core/model.ts';
import { phaseOf, timestamp, viewOf } from './core/view.ts';
import type { Transition } from './registry.ts';

export type EventType = WorkerEvent['type'];

/** An event before it is addressed to a subscription. */
interface Published {
  readonly type: EventType;
  readonly name: string;
  readonly generation: number;
  /** All but `subscription`, encoded once for every subscriber: `"cursor":…}}`. */
  readonly encoded: string;
}

export interface SubscriptionOptions {
  readonly id: string;
  readonly peer: Pick<Peer<never>, 'send' | 'backlogged' | 'onDrain'>;
  readonly names: readonly string[] | null;
  readonly types: ReadonlySet<EventType> | null;
  /** It has heard of an earlier time, and of nothing between then and now. */
  readonly missed?: boolean;
}

/** Events kept for one that does not read, besides the newest state of each worker. */
const maxQueued = 1024;

class Subscription {
  readonly #options: SubscriptionOptions;
  readonly #prefix: string;
  readonly #matches: (name: string) => boolean;
  #queue: Published[] = [];
  readonly #states = new Map<string, Published>();
  #dropped = 0;
  readonly #forgetDrain: () => void;
  readonly #snapshots: (subscription: Subscription) => readonly Published[];
  readonly #gap: (dropped: number) => Published;

  constructor(
    options: SubscriptionOptions,
    snapshots: (subscription: Subscription) => readonly Published[],
    gap: (dropped: number) => Published,
  ) {
    this.#options = options;
    this.#snapshots = snapshots;
    this.#gap = gap;
    this.#prefix = `{"jsonrpc":"2.0","method":"event","params":{"subscription":${JSON.stringify(options.id)},`;
    const { names } = options;
    const literal = new Set(names?.filter((name) => !isGlob(name)));
    const globs = names?.filter(isGlob) ?? [];
    this.#matches = (name) => names === null || literal.has(name) || globs.some((glob) => matchesGlob(glob, name));
    this.#forgetDrain = options.peer.onDrain(() => this.#drain());
  }

  wants(event: { readonly name: string; readonly type: EventType }): boolean {
    const { types } = this.#options;
    if (types !== null && !types.has(event.type)) return false;
    return this.#matches(event.name);
  }

  push(event: Published): void {
    if (!this.#options.peer.backlogged && this.#queue.length === 0 && this.#dropped === 0) {
      this.#send(event);
      return;
    }
    if (event.type === 'state') {
      // Latest wins: the one that waits is replaced where it stands, so that the order with other events holds.
      const waiting = this.#states.get(event.name);
      const at = waiting === undefined ? -1 : this.#queue.indexOf(waiting);
      if (at !== -1) this.#queue.splice(at, 1);
      this.#states.set(event.name, event);
    }
    if (this.#queue.length >= maxQueued) {
      this.#dropped += this.#queue.length + 1;
      this.#queue = [];
      this.#states.clear();
      return;
    }
    if (this.#dropped > 0) this.#dropped += 1;
    else this.#queue.push(event);
  }

  close(): void {
    this.#forgetDrain();
    this.#queue = [];
    this.#states.clear();
  }

  #drain(): void {
    const { peer } = this.#options;
    if (this.#dropped > 0 && !peer.backlogged) {
      this.#send(this.#gap(this.#dropped));
      this.#dropped = 0;
      for (const event of this.#snapshots(this)) this.#send(event);
    }
    while (this.#queue.length > 0 && !peer.backlogged) {
      const event = this.#queue.shift();
      if (event === undefined) break;
      if (this.#states.get(event.name) === event) this.#states.delete(event.name);
      this.#send(event);
    }
  }

  #send(event: Published): void {
    this.#options.peer.send(this.#prefix + event.encoded);
  }
}

export interface HubOptions {
  /** Cursors live as long as the daemon: they begin with what tells this life from others. */
  readonly epoch: string;
  readonly now: () => number;
  readonly records: () => Iterable<WorkerRecord>;
}

export class Hub {
  readonly #options: HubOptions;
  readonly #subscriptions = new Map<string, Subscription>();
  #count = 0;
  #next = 1;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  get cursor(): string {
    return `${this.#options.epoch}-${this.#count}`;
  }

  /** `start` is called by the caller once its reply is on its way: then the snapshot follows, and every change. */
  subscribe(options: Omit<SubscriptionOptions, 'id'>): { readonly id: string; readonly start: () => void } {
    const id = `s${this.#next}`;
    this.#next += 1;
    const subscription = new Subscription(
      { ...options, id },
      (each) => this.#snapshots(each),
      (dropped) => this.#publish('gap', '', 0, { dropped }),
    );
    return {
      id,
      start: () => {
        this.#subscriptions.set(id, subscription);
        if (options.missed === true) subscription.push(this.#publish('gap', '', 0, { dropped: 0 }));
        for (const event of this.#snapshots(subscription)) subscription.push(event);
      },
    };
  }

  unsubscribe(id: string): boolean {
    const subscription = this.#subscriptions.get(id);
    subscription?.close();
    return this.#subscriptions.delete(id);
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  announce(transitions: readonly Transition[]): void {
    for (const transition of transitions) {
      const { name } = transition;
      for (const { type, body } of changesOf(transition)) {
        this.#count += 1;
        const generation = transition.after?.generation ?? transition.before?.generation ?? 0;
        let event: Published | null = null;
        for (const subscription of this.#subscriptions.values()) {
          if (!subscription.wants({ name, type })) continue;
          event ??= this.#publish(type, name, generation, body());
          subscription.push(event);
        }
      }
    }
  }

  #snapshots(subscription: Subscription): readonly Published[] {
    const events: Published[] = [];
    for (const worker of this.#options.records()) {
      if (!subscription.wants({ name: worker.name, type: 'snapshot' })) continue;
      events.push(this.#publish('snapshot', worker.name, worker.generation, { worker: viewOf(worker) }));
    }
    return events;
  }

  #publish(type: EventType, name: string, generation: number, body: object): Published {
    const fields = { cursor: this.cursor, at: timestamp(this.#options.now()), type, name, generation, ...body };
    return { type, name, generation, encoded: `${JSON.stringify(fields).slice(1)}}` };
  }
}

interface Change {
  readonly type: EventType;
  readonly body: () => object;
}

/** What watchers are told of one transition, in order. */
export const changesOf = ({ before, after }: Transition): readonly Change[] => {
  if (after === null) return [{ type: 'removed', body: () => ({}) }];
  const changes: Change[] = [];
  if (before === null || phaseMatters(before, after)) {
    changes.push({ type: 'phase', body: () => ({ worker: viewOf(after) }) });
  }
  const run = after.run;
  const was = before?.run?.id === run?.id ? (before?.run ?? null) : null;
  if (run !== null && was !== null && run.stateRevision > was.stateRevision && run.state !== null) {
    // Told before the phase in which it was already contained would make it look new.
    changes.unshift({ type: 'state', body: () => ({ state: run.state, stateRevision: run.stateRevision }) });
  }
  if (run?.ready === true && was?.ready !== true && run.readyDeclared)
    changes.push({ type: 'ready', body: () => ({}) });
  return changes;
};

/** What makes a `phase` event. A pid that becomes known, or an exit not yet proven complete, is no change of phase. */
const phaseMatters = (before: WorkerRecord, after: WorkerRecord): boolean =>
  before.generation !== after.generation ||
  before.enabled !== after.enabled ||
  before.restarts !== after.restarts ||
  before.spec !== after.spec ||
  before.leftovers.length !== after.leftovers.length ||
  before.backoff?.untilAt !== after.backoff?.untilAt ||
  phaseOf(before) !== phaseOf(after);
