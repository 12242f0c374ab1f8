/** The requests of one connection that are in work: how many may be at once, and how many of them may wait. */
import { answerBatch, type BatchAnswer, tooManyHeld } from './answers.ts';
import type { Budget } from './budget.ts';
import type { Admitted, AdmittedCall, Answer, Gate } from './gate.ts';
import { limits } from './limits.ts';

export class Calls<S> {
  readonly #gate: Gate<S>;
  readonly #session: S;
  readonly #budget: Budget | undefined;
  #inFlight = 0;
  #held = 0;

  constructor(gate: Gate<S>, session: S, budget: Budget | undefined) {
    this.#gate = gate;
    this.#session = session;
    this.#budget = budget;
  }

  /** Room for one more that does not wait. */
  get mayBegin(): boolean {
    return this.#inFlight < limits.maxInFlight;
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

  /** What was not begun yet counts as in work: one batch after the other, or many would be made at once. */
  carryOutBatch(elements: readonly Admitted[]): Promise<BatchAnswer> {
    const begin = (call: AdmittedCall) => {
      if (!call.held) this.#inFlight -= 1;
      return this.carryOut(call);
    };
    for (const element of elements) if (element.kind === 'call' && !element.held) this.#inFlight += 1;
    return answerBatch(elements, begin);
  }
}
