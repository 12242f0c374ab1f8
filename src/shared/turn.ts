/**
 * One turn of the event loop, as long as it may get. What many connections ask for at once is spread over turns, so
 * that whoever comes new is heard between them.
 */

/** Requests that one connection may begin in a turn; what they change is one commit. */
const maxBegunPerTurn = 64;
/** Beyond it each connection begins one request a turn: large answers take long to make, and are seen before more are. */
const maxTurnMs = 10;

let turn = 0;
let beganMs: number | null = null;

/** Whoever asks begins work: the first in a turn is when it began. */
const turnIsLong = (): boolean => {
  const now = performance.now();
  if (beganMs !== null) return now - beganMs > maxTurnMs;
  beganMs = now;
  setImmediate(() => {
    turn += 1;
    beganMs = null;
  });
  return false;
};

/** How much one connection, or one batch, begins in a turn. */
export class Pace {
  /** In which it began so many: answers go out within a turn, and make no new one. */
  #turn = -1;
  #begun = 0;
  #waiting = false;

  /** `alone`: there is no other to begin. To count it would cost a look at every descriptor more. */
  mayBegin(alone: boolean): boolean {
    if (alone && beganMs === null) return true;
    const isLong = turnIsLong();
    if (this.#turn !== turn) {
      this.#turn = turn;
      this.#begun = 0;
    }
    return this.#begun === 0 || (this.#begun < maxBegunPerTurn && !isLong);
  }

  begin(): void {
    if (beganMs !== null) this.#begun += 1;
  }

  /** Calls once, in the next turn, where more may be begun. */
  later(goOn: () => void): void {
    if (this.#waiting) return;
    this.#waiting = true;
    setImmediate(() => {
      this.#waiting = false;
      goOn();
    });
  }
}
