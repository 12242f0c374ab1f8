/** Callers that many workers have in common (the environment of one shell), each held once. */
import { isDeepStrictEqual } from 'node:util';
import type { Caller } from '../shared/worker.ts';

/** A few shells at a time: each new caller is compared with all of them. */
const mostRecent = 8;

export class Callers {
  /** The newest first. */
  #recent: readonly Caller[] = [];

  /** An equal one that was seen a moment ago, or this one. */
  same(caller: Caller): Caller {
    const known = this.#recent.find((each) => each === caller || isDeepStrictEqual(each, caller)) ?? caller;
    if (known !== this.#recent[0]) {
      this.#recent = [known, ...this.#recent.filter((each) => each !== known)].slice(0, mostRecent);
    }
    return known;
  }
}
