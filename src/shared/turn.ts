/**
 * One turn of the event loop, as long as it may get. What many connections ask for at once is spread over turns, so
 * that whoever comes new is heard between them.
 */

/** Requests that one connection may begin in a turn; what they change is one commit. */
const maxBegunPerTurn = 64;
/** Beyond it each connection begins one request a turn: large answers take long to make, and are seen before more are. */
const maxTurnMs = 10;

let beganMs: number | null = null;

/** Whoever asks begins work: the first in a turn is when it began. */
const turnIsLong = (): boolean => {
  const now = performance.now();
  if (beganMs !== null) return now - beganMs > maxTurnMs;
  beganMs = now;
  setImmediate(() => {
    beganMs = null;
  });
  return false;
};

/** How much one connection, or one batch, begins in a turn. */
export class Pace {
  #begun = 0;
  #waiting = false;

  get mayBegin(): boolean {
    return this.#begun < maxBegunPerTurn && !(turnIsLong() && this.#begun > 0);
  }

  begin(): void {
    this.#begun += 1;
  }

  reset(): void {
    this.#begun = 0;
  }

  /** Calls once, in the next turn, where more may be begun. */
  later(goOn: () => void): void {
    if (this.#waiting) return;
    this.#waiting = true;
    setImmediate(() => {
      this.#waiting = false;
      this.#begun = 0;
      goOn();
    });
  }
}
