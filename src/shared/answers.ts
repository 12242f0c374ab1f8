/** Answers as text, none longer than a frame: what does not fit is an error that says so. */
import type { JSONRPCRequest, JSONRPCResponse } from 'json-rpc-2.0';
import { beginOfAnswer } from './afterwards.ts';
import { WorkerdError } from './errors.ts';
import type { Admitted, AdmittedCall, Answer } from './gate.ts';
import { limits } from './limits.ts';
import { errorResponse } from './rpc-errors.ts';
import { Pace } from './turn.ts';

export const tooLong = (message: string): WorkerdError =>
  new WorkerdError('limit.exceeded', message, { limit: 'maxFrameBytes' });

/** How long a text is that the far end would cut the connection for; `null`: it would not. */
export const bytesBeyondFrame = (text: string): number | null => {
  if (text.length * 3 <= limits.maxFrameBytes) return null;
  const bytes = Buffer.byteLength(text);
  return bytes > limits.maxFrameBytes ? bytes : null;
};

const encodeTooLong = (id: JSONRPCResponse['id']): string => {
  const { rpcCode, message, data } = tooLong(
    `the answer is longer than ${limits.maxFrameBytes} bytes; ask for less at a time`,
  );
  return JSON.stringify(errorResponse(id, rpcCode, message, data));
};

/** An answer longer than a frame is the client's to ask for in smaller parts. */
export const encodeAnswer = (
  answer: JSONRPCResponse,
  room: number = limits.maxFrameBytes,
  onMisfit: () => void = () => {},
): string => {
  const text = JSON.stringify(answer);
  if (text.length * 3 <= room || Buffer.byteLength(text) <= room) return text;
  onMisfit();
  return encodeTooLong(answer.id);
};

const isKnown = (text: string | null | Promise<string | null>): text is string | null => !(text instanceof Promise);

/** What an error in place of an answer takes, but for its id. */
const errorRoom = 256;

export interface BatchAnswer {
  /** `null`: there is nothing to answer. */
  readonly text: string | null;
  /** To be called when it is on its way. */
  readonly begins: readonly (() => void)[];
}

/**
 * A batch: begun in order and a few in one turn of the loop, carried out concurrently, answered in one frame; at once
 * where all of it is known at once. Answers are encoded as they come, so that no more than a frame of them is ever held.
 */
export const answerBatch = (
  elements: readonly Admitted[],
  carryOut: (call: AdmittedCall) => Answer | Promise<Answer>,
  onBegun: () => void,
): BatchAnswer | Promise<BatchAnswer> => {
  const begins: (() => void)[] = [];
  let room = limits.maxFrameBytes - elements.length * errorRoom;
  let isFull = false;
  const place = (answer: Answer): string | null => {
    if (answer === null) return null;
    const begin = beginOfAnswer(answer);
    if (begin !== undefined) begins.push(begin);
    // To encode what cannot be sent would cost as much as to send it.
    const text = isFull
      ? encodeTooLong(answer.id)
      : encodeAnswer(answer, room, () => {
          isFull = true;
        });
    room -= Buffer.byteLength(text) + 1;
    return text;
  };
  const whole = (texts: readonly (string | null)[]): BatchAnswer => {
    const due = texts.filter((text) => text !== null);
    return { text: due.length === 0 ? null : `[${due.join(',')}]`, begins };
  };
  const texts: (string | null | Promise<string | null>)[] = [];
  const pace = new Pace();
  /** False: the rest is begun in another turn. */
  const begin = (): boolean => {
    for (const element of elements.slice(texts.length)) {
      if (!pace.mayBegin(elements.length === 1)) return false;
      pace.begin();
      const answer = element.kind === 'answer' ? element.response : carryOut(element);
      texts.push(answer instanceof Promise ? answer.then(place) : place(answer));
    }
    onBegun();
    return true;
  };
  const goOn = async (isBegun: boolean): Promise<BatchAnswer> => {
    if (!isBegun) {
      do await new Promise<void>((resolve) => pace.later(resolve));
      while (!begin());
    }
    return whole(await Promise.all(texts));
  };
  const isBegun = begin();
  return isBegun && texts.every(isKnown) ? whole(texts) : goOn(isBegun);
};

/** What begins with an answer begins once that is on its way. */
export const sendAnswer = (
  answer: BatchAnswer | Answer,
  to: { send(message: string | JSONRPCResponse): void },
): void => {
  if (answer === null) return;
  if ('begins' in answer) {
    if (answer.text !== null) to.send(answer.text);
    for (const begin of answer.begins) begin();
  } else {
    to.send(answer);
    beginOfAnswer(answer)?.();
  }
};

export const tooManyHeld = (request: JSONRPCRequest, limit: 'maxHeld' | 'maxHeldInAll'): Answer => {
  if (request.id === undefined) return null;
  const where = limit === 'maxHeld' ? 'on one connection' : 'on all connections together';
  const words = `at most ${limits[limit]} requests may wait ${where}; ask again when others were answered`;
  const error = new WorkerdError('limit.exceeded', words, { limit });
  return errorResponse(request.id, error.rpcCode, error.message, error.data);
};
