/**
 * What all connections together may hold in memory for far ends that are slow: answers that are not read, lines that
 * are not ended, requests that wait. Each connection has bounds of its own; where a thousand of them stay just below,
 * these are left. Beyond that of bytes whoever holds most for longest is cut off, until the rest fits.
 */
import { limits } from './limits.ts';

export interface BudgetMember {
  cutOff(why: string): void;
}

export interface BudgetOptions {
  readonly maxBytes?: number;
  readonly onCut?: (why: string) => void;
}

interface Share {
  readonly bytes: number;
  /** When it last got less, or began: one that is being read or goes on in good time is young. */
  readonly sinceMs: number;
}

export class Budget {
  readonly #maxBytes: number;
  readonly #shares = new Map<BudgetMember, Share>();
  #bytes = 0;
  #held = 0;

  readonly #onCut: (why: string) => void;

  constructor({ maxBytes = limits.maxBytesInAll, onCut = () => {} }: BudgetOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#onCut = onCut;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What a member holds from now on; `0`: nothing worth counting. */
  account(member: BudgetMember, bytes: number): void {
    const before = this.#shares.get(member);
    this.#bytes += bytes - (before?.bytes ?? 0);
    if (bytes === 0) this.#shares.delete(member);
    else {
      const sinceMs = before === undefined || bytes < before.bytes ? performance.now() : before.sinceMs;
      this.#shares.set(member, { bytes, sinceMs });
    }
    while (this.#bytes > this.#maxBytes) this.#cutWorst();
  }

  /** Room for one more request that waits; false: there is none. */
  hold(): boolean {
    if (this.#held >= limits.maxHeldInAll) return false;
    this.#held += 1;
    return true;
  }

  release(): void {
    this.#held -= 1;
  }

  #cutWorst(): void {
    const now = performance.now();
    let worst: BudgetMember | null = null;
    let most = -1;
    for (const [member, { bytes, sinceMs }] of this.#shares) {
      const weight = bytes * (now - sinceMs + 1);
      if (weight <= most) continue;
      worst = member;
      most = weight;
    }
    if (worst === null) return;
    this.#bytes -= this.#shares.get(worst)?.bytes ?? 0;
    this.#shares.delete(worst);
    const why = `all connections together hold more than ${this.#maxBytes} bytes, and this one most for longest`;
    worst.cutOff(why);
    this.#onCut(why);
  }
}
