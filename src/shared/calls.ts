/** The requests of one connection that are in work: how many may be at once, and how many of them may wait. */
import { answerBatch, type BatchAnswer, tooManyHeld } from './answers.ts';
import type { Budget } from './budget.ts';
import type { Admitted, AdmittedCall, Answer, Gate } from './gate.ts';
import { limits } from './limits.ts';

export class Calls<S> {
  readonly #gate: Gate<S>;
  readonly #session: S;
  readonly #budget: Budget | undefined;
  readonly #onBegun: () => void;
  /** A batch. */
  #isBeginning = false;
  #inFlight = 0;
  #held = 0;

  /** `onBegun`: a batch is, and what follows it may be. */
  constructor(gate: Gate<S>, session: S, budget: Budget | undefined, onBegun: () => void) {
    this.#gate = gate;
    this.#session = session;
    this.#budget = budget;
    this.#onBegun = onBegun;
  }

  /** Room for one more that does not wait. */
  get mayBegin(): boolean {
    return !this.#isBeginning && this.#inFlight < limits.maxInFlight;
  }

  carryOut({ request, held }: AdmittedCall): Answer | Promise<Answer> {
    if (held && this.#held >= limits.maxHeld) return tooManyHeld(request, 'maxHeld');
    if (held && this.#budget?.hold() === false) return tooManyHeld(request, 'maxHeldInAll');
    if (held) this.#held += 1;
    else this.#inFlight += 1;
    const answer = this.#gate.call(request, this.#session);
    if (answer instanceof Promise) return this.#done(answer, held);
    this.#isDone(held);
    return answer;
  }

  async #done(answer: Promise<Answer>, held: boolean): Promise<Answer> {
    try {
      return await answer;
    } finally {
      this.#isDone(held);
    }
  }

  #isDone(held: boolean): void {
    if (held) {
      this.#held -= 1;
      this.#budget?.release();
    } else this.#inFlight -= 1;
  }

  /**
   * Until all of it is begun nothing else is: one batch after the other, or many would be made at once; and what comes
   * after it would be answered before it.
   */
  carryOutBatch(elements: readonly Admitted[]): BatchAnswer | Promise<BatchAnswer> {
    this.#isBeginning = true;
    const onBegun = () => {
      this.#isBeginning = false;
      this.#onBegun();
    };
    return answerBatch(elements, (call) => this.carryOut(call), onBegun);
  }
}
