/** The events of one subscription, between the socket and whoever iterates. */
import type { WorkerdError } from './errors.ts';
import type { WorkerEvent } from './protocol.ts';

/** Kept for a reader that does not keep up; beyond it they are dropped, and it is for the reader to ask anew. */
const maxQueuedEvents = 10_000;
/** Of log lines among them. */
const maxQueuedLength = 16 * 1024 * 1024;

export class EventStream {
  /** What came after the last event handed out is not all here. */
  overflowed = false;
  #queue: WorkerEvent[] = [];
  #length = 0;
  #ended = false;
  #failure: WorkerdError | null = null;
  #wake: (() => void) | null = null;

  push(event: WorkerEvent): void {
    if (this.#ended || this.overflowed) return;
    if (event.type === 'log') this.#length += event.line.length;
    if (this.#queue.length >= maxQueuedEvents || this.#length > maxQueuedLength) {
      this.overflowed = true;
      this.#queue = [];
    } else this.#queue.push(event);
    this.#wake?.();
  }

  fail(error: WorkerdError): void {
    this.#failure = error;
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** `null`: it was ended, or has overflowed. What came before a failure is handed out first. */
  async next(): Promise<WorkerEvent | null> {
    for (;;) {
      if (this.#ended || this.overflowed) return null;
      const event = this.#queue.shift();
      if (event !== undefined) {
        if (event.type === 'log') this.#length -= event.line.length;
        return event;
      }
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }
}
