/**
 * What a watcher has been told to exist. After a gap it is told anew, and of what has vanished meanwhile nobody tells
 * any more: so that is worked out here, and said as `removed` where the snapshots end.
 */
import type { WorkerEvent } from './protocol.ts';

export class KnownWorkers {
  readonly #generations = new Map<string, number>();
  /** After a gap: the snapshots still to come, and whom they and later events have named. */
  #anew: { due: number; readonly seen: Set<string> } | null = null;

  /** The event, and what follows from it. */
  *apply(event: WorkerEvent): Generator<WorkerEvent, void, void> {
    const { type, name, generation } = event;
    const anew = this.#anew;
    switch (type) {
      case 'gap':
        yield event;
        this.#anew = { due: event.snapshots, seen: new Set() };
        break;
      case 'snapshot':
      case 'phase':
        yield event;
        this.#generations.set(name, generation);
        if (type === 'snapshot' && anew !== null) anew.due -= 1;
        anew?.seen.add(name);
        break;
      case 'removed':
        // Gone before the turn of its snapshot came: told in its place.
        if (anew !== null && !anew.seen.has(name)) anew.due -= 1;
        if (this.#generations.delete(name) || anew === null || anew.seen.has(name)) yield event;
        break;
      default:
        yield event;
        this.#generations.set(name, generation);
    }
    if (this.#anew !== null && this.#anew.due <= 0) yield* this.#vanished(event, this.#anew.seen);
  }

  *#vanished({ subscription, cursor, at }: WorkerEvent, seen: ReadonlySet<string>): Generator<WorkerEvent> {
    this.#anew = null;
    for (const [name, generation] of this.#generations) {
      if (seen.has(name)) continue;
      this.#generations.delete(name);
      yield { subscription, cursor, at, type: 'removed', name, generation };
    }
  }
}
