/**
 * One serial queue per key; requests collapse: however often a key is added while its work runs, it runs once more.
 * Replaces every lock of the control plane.
 */
export class KeyedQueue {
  readonly #dirty = new Set<string>();
  readonly #draining = new Set<string>();
  readonly #work: (key: string) => Promise<void>;
  readonly #onError: (key: string, error: unknown) => void;

  constructor(work: (key: string) => Promise<void>, onError: (key: string, error: unknown) => void) {
    this.#work = work;
    this.#onError = onError;
  }

  add(key: string): void {
    this.#dirty.add(key);
    if (this.#draining.has(key)) return;
    this.#draining.add(key);
    void this.#drain(key);
  }

  async #drain(key: string): Promise<void> {
    // All that one turn adds is looked at once, before the turn's changes are committed.
    await Promise.resolve();
    while (this.#dirty.delete(key)) {
      try {
        await this.#work(key);
      } catch (error) {
        this.#onError(key, error);
      }
    }
    // In the same tick as the last look, or an add between the two would be lost.
    this.#draining.delete(key);
  }
}
