/** What was sent to a worker and not read yet: bounded, oldest dropped and said; over when the worker is to stop. */

const maxWaiting = 1000;

export class Messages implements AsyncIterable<string> {
  readonly #note: (text: string) => void;
  readonly #waiting: string[] = [];
  readonly #readers: ((result: IteratorResult<string, undefined>) => void)[] = [];
  #dropped = 0;
  #ended = false;

  constructor(note: (text: string) => void) {
    this.#note = note;
  }

  push(text: string): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader({ done: false, value: text });
      return;
    }
    this.#waiting.push(text);
    if (this.#waiting.length <= maxWaiting) return;
    this.#waiting.shift();
    this.#dropped += 1;
    if (this.#dropped % maxWaiting === 1) {
      this.#note(
        `${maxWaiting} messages wait in ctx.messages unread, so the oldest are dropped: ${this.#dropped} so far`,
      );
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#waiting.length > 0) this.#note(`the stop left ${this.#waiting.length} messages unread`);
    this.#waiting.length = 0;
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): AsyncIterator<string, undefined> {
    return {
      next: () => {
        const text = this.#waiting.shift();
        if (text !== undefined) return Promise.resolve({ done: false, value: text });
        if (this.#ended) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve) => {
          this.#readers.push(resolve);
        });
      },
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }
}
