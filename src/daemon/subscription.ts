/**
 * One watcher's events, in order: state is latest-wins for one that does not keep up; everything else is kept up to a
 * bound, beyond which it hears `gap` and snapshots anew. Nothing is hidden, and nothing grows without end.
 */
import { isGlob, matchesGlob } from '../shared/glob.ts';
import type { LogStream } from '../shared/log-file.ts';
import type { LogPosition } from '../shared/log-position.ts';
import type { Peer } from '../shared/peer.ts';
import type { WorkerEvent } from '../shared/protocol.ts';
import { LogFeeds } from './log-feeds.ts';
import type { Logger } from './ports.ts';

export type EventType = WorkerEvent['type'];

/** An event before it is addressed to a subscription. */
export interface Published {
  readonly type: EventType;
  readonly name: string;
  readonly generation: number;
  /** Of a `snapshot` or `phase`: whether its run may write. A command may only once it runs, which is told of it later. */
  readonly writes?: 'later' | 'now' | 'never';
  /** All but `subscription`, encoded once for every subscriber: `"cursor":…}}`. */
  readonly encoded: string;
  /** As it went to the last subscription: most have the same prefix. */
  addressed?: { readonly prefix: string; readonly line: string };
}

/** What of the workers' logs a subscription brings. */
export interface LogWish {
  readonly directoryOf: (name: string) => string;
  readonly log: Logger;
  readonly streams?: readonly LogStream[] | undefined;
  readonly since?: number | undefined;
  /** Of one worker: where to go on, and whether with this run alone. `null`: what is written from now on. */
  readonly from: { readonly name: string; readonly position: LogPosition; readonly only: boolean } | null;
}

export interface SubscriptionOptions {
  readonly id: string;
  readonly peer: Pick<Peer<never>, 'send' | 'sendLines' | 'keep' | 'backlogged' | 'onDrain'>;
  readonly names: readonly string[] | null;
  readonly types: ReadonlySet<EventType> | null;
  readonly logs?: LogWish | undefined;
}

/** Events kept for one that does not read, besides the newest state of each worker. */
const maxQueued = 1024;

/** What a subscription asks of its hub. */
export interface Source {
  readonly names: () => Iterable<string>;
  /** As it is now; that it was removed, where it is no more. */
  readonly snapshot: (name: string) => Published;
  readonly gap: (dropped: number, snapshots: number) => Published;
  readonly cursor: () => string;
}

export class Subscription {
  /** Those with the same hear the same bytes, as long as they keep up. */
  readonly audience: string;
  readonly #options: SubscriptionOptions;
  readonly #source: Source;
  readonly #prefix: string;
  readonly #matches: (name: string) => boolean;
  readonly #feeds: LogFeeds | null;
  /** Names whose snapshot is due; made when its turn comes, so what happens to them until then is in it. */
  #pending = new Set<string>();
  /** In order; a state stands under the name of its worker, everything else under a number of its own. */
  readonly #queue = new Map<string | number, Published>();
  #queued = 0;
  #begun = false;
  #gap: { dropped: number } | null = null;
  readonly #forgetDrain: () => void;

  constructor(options: SubscriptionOptions, source: Source) {
    this.#options = options;
    this.#source = source;
    this.#prefix = `{"jsonrpc":"2.0","method":"event","params":{"subscription":${JSON.stringify(options.id)},`;
    const { names, types, logs, peer } = options;
    this.audience = JSON.stringify([options.id, names, types === null ? null : [...types]]);
    const literal = new Set(names?.filter((name) => !isGlob(name)));
    const globs = names?.filter(isGlob) ?? [];
    this.#matches = (name) => names === null || literal.has(name) || globs.some((glob) => matchesGlob(glob, name));
    this.#feeds =
      logs === undefined
        ? null
        : new LogFeeds({
            ...logs,
            peer,
            next: () => this.#next(),
            deliver: (event) => this.#tell(event),
            eventCursor: source.cursor,
            line: (encoded) => peer.send(this.#prefix + encoded),
          });
    this.#forgetDrain = peer.onDrain(() => this.#drain());
  }

  /** Whether it is to be told; log lines go between the phases, which are needed for that even where not wanted. */
  needs(event: { readonly name: string; readonly type: EventType }): boolean {
    if (this.#wants(event)) return true;
    return this.#feeds !== null && event.type !== 'state' && event.type !== 'ready' && this.#matches(event.name);
  }

  /** Until then its answer is not on its way, and nothing is told. */
  get begun(): boolean {
    return this.#begun;
  }

  /** The snapshot first; `missed`: after a gap. */
  begin(missed: boolean): void {
    this.#begun = true;
    if (missed) this.#gap = { dropped: 0 };
    else this.#pending = this.#due();
    this.#feeds?.begin();
    this.#drain();
  }

  /** What came since a time it knows of, instead of a snapshot. */
  resume(events: readonly Published[]): void {
    this.#begun = true;
    for (const event of events) if (this.#wants(event)) this.push(event);
  }

  /** It has heard all so far, and can hear more: what is new may go to it as it is. */
  get keepsUp(): boolean {
    const isFree = this.#feeds === null && this.#queue.size === 0 && this.#gap === null && this.#pending.size === 0;
    return isFree && !this.#options.peer.backlogged;
  }

  /** As it goes to this subscription, without the end of line. */
  lineOf(event: Published): string {
    if (event.addressed?.prefix !== this.#prefix) {
      event.addressed = { prefix: this.#prefix, line: this.#prefix + event.encoded };
    }
    return event.addressed.line;
  }

  /** Lines made for its audience, while it keeps up. */
  deliver(lines: Buffer): void {
    this.#options.peer.sendLines(lines);
  }

  push(event: Published): void {
    if (this.#pending.has(event.name)) return;
    if (this.#feeds === null && !this.#options.peer.backlogged && this.#queue.size === 0 && this.#gap === null) {
      this.#tell(event);
      return;
    }
    if (this.#gap !== null) {
      this.#gap.dropped += 1;
      return;
    }
    // Latest wins: the one that waits goes, so that the order with other events holds.
    if (event.type === 'state') this.#queue.delete(event.name);
    if (this.#queue.size >= maxQueued) {
      this.#gap = { dropped: this.#queue.size + 1 };
      this.#queue.clear();
      this.#pending.clear();
    } else {
      this.#queued += 1;
      this.#queue.set(event.type === 'state' ? event.name : this.#queued, event);
    }
    this.#feeds?.wake();
  }

  close(): void {
    this.#forgetDrain();
    this.#feeds?.close();
    this.#queue.clear();
    this.#pending.clear();
  }

  #wants({ name, type }: { readonly name: string; readonly type: EventType }): boolean {
    const { types } = this.#options;
    // A gap is told whatever was asked for.
    if (type !== 'gap' && types !== null && !types.has(type)) return false;
    return name === '' || this.#matches(name);
  }

  #due(): Set<string> {
    const due = new Set<string>();
    // A feed of one worker begins where it was told to.
    if (this.#options.logs != null && this.#options.logs.from !== null) return due;
    for (const name of this.#source.names()) if (this.needs({ name, type: 'snapshot' })) due.add(name);
    return due;
  }

  #drain(): void {
    if (this.#feeds !== null) {
      this.#feeds.wake();
      return;
    }
    while (!this.#options.peer.backlogged) {
      const event = this.#next();
      if (event === undefined) return;
      this.#tell(event);
    }
  }

  /** The next event due: after a bound was reached the gap, then the snapshots, then what came after them. */
  #next(): Published | undefined {
    if (this.#gap !== null) {
      const { dropped } = this.#gap;
      this.#gap = null;
      this.#pending = this.#due();
      return this.#source.gap(dropped, this.#options.types?.has('snapshot') === false ? 0 : this.#pending.size);
    }
    for (const name of this.#pending) {
      this.#pending.delete(name);
      return this.#source.snapshot(name);
    }
    for (const [key, event] of this.#queue) {
      this.#queue.delete(key);
      return event;
    }
    return undefined;
  }

  #tell(event: Published): void {
    if (this.#wants(event)) this.#options.peer.send(this.lineOf(event));
  }
}
