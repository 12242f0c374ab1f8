/** What begins with an answer and may be heard of only after it, whatever it waits for: the events of a subscription. */
import type { JSONRPCResponse } from 'json-rpc-2.0';

type Begin = () => void;
const begins = new WeakMap<object, Begin>();

/** The same result; `begin` is called once the answer that holds it is queued. */
export const beginningAfter = <R extends object>(result: R, begin: Begin): R => {
  begins.set(result, begin);
  return result;
};

export const beginOf = (result: unknown): Begin | undefined =>
  typeof result === 'object' && result !== null ? begins.get(result) : undefined;

export const beginOfAnswer = (answer: JSONRPCResponse | null): Begin | undefined =>
  answer === null || !('result' in answer) ? undefined : beginOf(answer.result);
