/** Which requests are begun: none once the daemon is to be replaced. And when those that were begun are done. */
import type { WorkerdError } from '../shared/errors.ts';

export class Admission {
  #begun = 0;
  #refusal: (() => WorkerdError) | null = null;
  #done: (() => void) | null = null;

  /** Carries out a request, or refuses it. */
  admit<T>(work: () => Promise<T> | T): Promise<T> | T {
    if (this.#refusal !== null) throw this.#refusal();
    const result = work();
    if (!(result instanceof Promise)) return result;
    this.#begun += 1;
    return result.finally(() => {
      this.#begun -= 1;
      if (this.#begun === 0) this.#done?.();
    });
  }

  /** Nothing more is begun. */
  close(refusal: () => WorkerdError): void {
    this.#refusal = refusal;
  }

  /** Resolves once all that was begun is done. */
  async idle(): Promise<void> {
    if (this.#begun === 0) return;
    await new Promise<void>((resolve) => {
      this.#done = resolve;
    });
  }
}
