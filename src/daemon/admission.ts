/**
 * Which requests are begun: none once the daemon is to be replaced. And when those that were begun are done, or what they
 * are told where that takes too long.
 */
import type { WorkerdError } from '../shared/errors.ts';

interface Begun {
  /** Done twice is as good as once. */
  readonly repeatable: boolean;
  readonly cut: (why: WorkerdError) => void;
}

export class Admission {
  readonly #begun = new Set<Begun>();
  #refusal: (() => WorkerdError) | null = null;
  #done: (() => void) | null = null;

  /** Carries out a request, or refuses it. */
  admit<T>(work: () => Promise<T> | T, repeatable: boolean): Promise<T> | T {
    if (this.#refusal !== null) throw this.#refusal();
    const result = work();
    if (!(result instanceof Promise)) return result;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const begun: Begun = { repeatable, cut: reject };
    this.#begun.add(begun);
    const done = () => {
      this.#begun.delete(begun);
      if (this.#begun.size === 0) this.#done?.();
    };
    result.then(resolve, reject).then(done);
    return promise;
  }

  /** Nothing more is begun. */
  close(refusal: () => WorkerdError): void {
    this.#refusal = refusal;
  }

  /** Resolves once all that was begun is done. */
  async idle(): Promise<void> {
    if (this.#begun.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#done = resolve;
    });
  }

  /** Nobody waits for what is not done by now: whoever asked is told this. */
  cut(why: (repeatable: boolean) => WorkerdError): void {
    for (const { repeatable, cut } of this.#begun) cut(why(repeatable));
  }
}
