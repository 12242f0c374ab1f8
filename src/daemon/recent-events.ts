/**
 * The last events, for those who were away for a moment: kept as they were committed, encoded only when asked for.
 * Of published state only the newest of each worker is kept.
 */
import type { EventType, Published } from './subscription.ts';

export interface RecentEvent {
  readonly count: number;
  readonly type: EventType;
  readonly name: string;
  readonly encode: () => Published;
}

const maxRecent = 1024;

export class RecentEvents {
  readonly #events = new Map<number, RecentEvent>();
  readonly #states = new Map<string, number>();
  /** Everything after this is here. */
  #floor = 0;

  add(event: RecentEvent): void {
    if (event.type === 'state') {
      const older = this.#states.get(event.name);
      if (older !== undefined) this.#events.delete(older);
      this.#states.set(event.name, event.count);
    } else if (event.type === 'removed') this.#states.delete(event.name);
    this.#events.set(event.count, event);
    if (this.#events.size <= maxRecent) return;
    for (const [count, oldest] of this.#events) {
      this.#events.delete(count);
      if (this.#states.get(oldest.name) === count) this.#states.delete(oldest.name);
      this.#floor = count;
      break;
    }
  }

  /** What came after `count`, in order; `null` where not all of it is here any more. */
  since(count: number): readonly RecentEvent[] | null {
    if (count < this.#floor) return null;
    return [...this.#events.values()].filter((event) => event.count > count);
  }
}
