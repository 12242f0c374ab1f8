/** The requests of one connection that are in work: how many may be at once, and how many of them may wait. */
import type { JSONRPCResponse } from 'json-rpc-2.0';
import { answerBatch, type BatchAnswer, tooManyHeld } from './answers.ts';
import type { Budget } from './budget.ts';
import type { Admitted, AdmittedCall, Gate } from './gate.ts';
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

  async carryOut({ request, held }: AdmittedCall): Promise<JSONRPCResponse | null> {
    if (!this.#gate.knows(request.method)) return null;
    if (held && this.#held >= limits.maxHeld) return tooManyHeld(request, 'maxHeld');
    if (held && this.#budget?.hold() === false) return tooManyHeld(request, 'maxHeldInAll');
    if (held) this.#held += 1;
    else this.#inFlight += 1;
    try {
      return await this.#gate.call(request, this.#session);
    } finally {
      if (held) {
        this.#held -= 1;
        this.#budget?.release();
      } else this.#inFlight -= 1;
    }
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
