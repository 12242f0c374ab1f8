/**
 * Publishes transitions to watchers. Each subscriber hears a snapshot of what it asked for, then every change in the
 * order it was committed (subscription.ts says what becomes of one that does not keep up); one that was away for a
 * moment hears what it missed.
 */
import { isOpen, type WorkerRecord } from './core/model.ts';
import { isOver, phaseOf, timestamp, viewOf } from './core/view.ts';
import { RecentEvents } from './recent-events.ts';
import type { Transition } from './registry.ts';
import { type EventType, type Published, Subscription, type SubscriptionOptions } from './subscription.ts';

export interface HubOptions {
  /** Cursors live as long as the daemon: they begin with what tells this life from others. */
  readonly epoch: string;
  readonly now: () => number;
  readonly names: () => Iterable<string>;
  readonly get: (name: string) => WorkerRecord | null;
}

/** Encoded once for all who hear the same; more than this is pushed event by event, by what each can take. */
const maxSharedBytes = 256 * 1024;

type Events = readonly { readonly type: EventType; readonly name: string; readonly published: () => Published }[];
type Watcher = SubscriptionOptions['peer'];

export class Hub {
  readonly #options: HubOptions;
  readonly #subscriptions = new Map<Watcher, Map<string, Subscription>>();
  /** Ids are a connection's own, so that equal watches on many connections hear the very same bytes. */
  readonly #lastIds = new WeakMap<Watcher, number>();
  readonly #recent = new RecentEvents();
  #count = 0;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  get cursor(): string {
    return `${this.#options.epoch}-${this.#count}`;
  }

  /**
   * `start` is called by the caller once its reply is on its way: then the snapshot follows, and every change; or, for
   * one that knows an earlier `since`, what came after it. Where that is not known any more, a gap, then snapshots.
   */
  subscribe(
    options: Omit<SubscriptionOptions, 'id'>,
    since?: string,
  ): { readonly id: string; readonly start: () => void } {
    const { peer } = options;
    const number = (this.#lastIds.get(peer) ?? 0) + 1;
    this.#lastIds.set(peer, number);
    const id = `s${number}`;
    const subscription = new Subscription(
      { ...options, id },
      {
        names: this.#options.names,
        snapshot: (name) => this.#snapshot(name),
        gap: (dropped, snapshots) =>
          this.#publish({ type: 'gap', name: '', generation: 0, body: { dropped, snapshots } }),
        cursor: () => this.cursor,
      },
    );
    // Counted from now on: whoever asks for many in one breath is not to get them all.
    const others = this.#subscriptions.get(peer);
    if (others === undefined) this.#subscriptions.set(peer, new Map([[id, subscription]]));
    else others.set(id, subscription);
    return {
      id,
      start: () => {
        if (this.#subscriptions.get(peer)?.get(id) !== subscription) return;
        // Lines that were written meanwhile are not kept here: where they are wanted, that is a gap.
        const missed = since === undefined || options.logs !== undefined ? null : this.#missed(since);
        if (missed !== null) subscription.resume(missed);
        else subscription.begin(since !== undefined);
      },
    };
  }

  /** `null`: nobody knows any more. */
  #missed(since: string): readonly Published[] | null {
    const { epoch } = this.#options;
    const count = since.startsWith(`${epoch}-`) ? Number(since.slice(epoch.length + 1)) : NaN;
    if (!Number.isSafeInteger(count) || count > this.#count) return null;
    return this.#recent.since(count)?.map((event) => event.encode()) ?? null;
  }

  unsubscribe(peer: Watcher, id: string): boolean {
    const own = this.#subscriptions.get(peer);
    own?.get(id)?.close();
    const known = own?.delete(id) ?? false;
    if (own?.size === 0) this.#subscriptions.delete(peer);
    return known;
  }

  get size(): number {
    let size = 0;
    for (const own of this.#subscriptions.values()) size += own.size;
    return size;
  }

  announce(transitions: readonly Transition[]): void {
    const events = transitions.flatMap((transition) => this.#eventsOf(transition));
    if (events.length === 0) return;
    const shared = new Map<string, Buffer | null>();
    for (const own of this.#subscriptions.values()) {
      for (const subscription of own.values()) {
        if (!subscription.begun) continue;
        const bytes = subscription.keepsUp ? this.#sharedBytes(shared, subscription, events) : null;
        if (bytes !== null) subscription.deliver(bytes);
        else for (const event of events) if (subscription.needs(event)) subscription.push(event.published());
      }
    }
  }

  #eventsOf(transition: Transition): Events {
    const { name, after, before } = transition;
    const generation = after?.generation ?? before?.generation ?? 0;
    return changesOf(transition).map(({ type, body }) => {
      this.#count += 1;
      const count = this.#count;
      const at = this.#options.now();
      const writes = type === 'phase' && after !== null ? { writes: writesOf(after) } : {};
      const encode = () => this.#publish({ type, name, generation, body: body(), count, at, ...writes });
      // Kept unencoded: most are never asked for.
      this.#recent.add({ count, type, name, encode });
      let once: Published | null = null;
      return { type, name, published: () => (once ??= encode()) };
    });
  }

  /** What this subscription is to hear of these events, made by the first of those that are to hear the same. */
  #sharedBytes(shared: Map<string, Buffer | null>, subscription: Subscription, events: Events): Buffer | null {
    const known = shared.get(subscription.audience);
    if (known !== undefined) return known;
    let text = '';
    for (const event of events) if (subscription.needs(event)) text += `${subscription.lineOf(event.published())}\n`;
    const bytes = text.length > maxSharedBytes ? null : Buffer.from(text);
    shared.set(subscription.audience, bytes);
    return bytes;
  }

  #snapshot(name: string): Published {
    const worker = this.#options.get(name);
    if (worker === null) return this.#publish({ type: 'removed', name, generation: 0, body: {} });
    const { generation } = worker;
    const body = { worker: viewOf(worker) };
    return this.#publish({ type: 'snapshot', name, generation, body, writes: writesOf(worker) });
  }

  #publish({
    type,
    name,
    generation,
    body,
    writes,
    count = this.#count,
    at = this.#options.now(),
  }: Unpublished): Published {
    const cursor = `${this.#options.epoch}-${count}`;
    const fields = { cursor, at: timestamp(at), type, name, generation, ...body };
    const encoded = `${JSON.stringify(fields).slice(1)}}`;
    return { type, name, generation, encoded, ...(writes === undefined ? {} : { writes }) };
  }
}

interface Unpublished {
  readonly type: EventType;
  readonly name: string;
  readonly generation: number;
  readonly body: object;
  readonly writes?: Published['writes'];
  readonly count?: number;
  readonly at?: number;
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
    // Of a run that is over its end is told, not that the next one is wanted: that is told when there is one.
    const body = () => ({ worker: isBetweenRuns(after) ? { ...viewOf(after), phase: after.settled } : viewOf(after) });
    changes.push({ type: 'phase', body });
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
const phaseMatters = (before: WorkerRecord, after: WorkerRecord): boolean => {
  if (before.enabled !== after.enabled || before.leftovers.length !== after.leftovers.length) return true;
  if (toldPhase(before) !== toldPhase(after) || before.generation !== after.generation) return true;
  // The rest is told with the run that is wanted. Or when it is wanted no more: then that is how it stands.
  if (isBetweenRuns(after)) return false;
  return (
    isBetweenRuns(before) ||
    before.restarts !== after.restarts ||
    before.spec !== after.spec ||
    before.backoff?.untilAt !== after.backoff?.untilAt
  );
};

const writesOf = (worker: WorkerRecord): NonNullable<Published['writes']> => {
  if (isOver(worker)) return 'never';
  return worker.run?.kind === 'command' && isOpen(worker.run) && phaseOf(worker) === 'starting' ? 'later' : 'now';
};

/** A newer run is wanted, and has not been ordered yet. */
const isBetweenRuns = (worker: WorkerRecord): boolean =>
  worker.run !== null && !isOpen(worker.run) && phaseOf(worker) === 'starting';

const toldPhase = (worker: WorkerRecord): WorkerRecord['settled'] | ReturnType<typeof phaseOf> =>
  isBetweenRuns(worker) ? worker.settled : phaseOf(worker);
