/**
 * One end of a connection: frames in and out, requests either way. Owns its socket.
 *
 * Promises: frames queued in one turn of the loop leave in one write; answers of a batch come in request order;
 * a peer that does not read, sends too much at once or never ends a line is bounded (limits.ts) and told so;
 * after the far end's FIN the answers still due are sent, then the connection ends.
 */
import type { Socket } from 'node:net';
import { JSONRPCClient, type JSONRPCResponse } from 'json-rpc-2.0';
import { type BatchAnswer, bytesBeyondFrame, sendAnswer, tooLong } from './answers.ts';
import type { Budget } from './budget.ts';
import { Calls } from './calls.ts';
import { connectionLost, errorFromRpc, turnedAway, WorkerdError } from './errors.ts';
import { type Line, parseFrame } from './framing.ts';
import type { Answer, Gate } from './gate.ts';
import { Inbox } from './inbox.ts';
import { limits } from './limits.ts';
import { Outbox, type Outgoing } from './outbox.ts';
import { errorResponse } from './rpc-errors.ts';
import { Pace } from './turn.ts';

export { connectionLost };

export interface PeerOptions<S> {
  /** Opened with `allowHalfOpen`, or the answers after the far end's FIN are lost. */
  readonly socket: Socket;
  /** Serves the far end's requests; without one they are ignored, and what it says else is heard. */
  readonly gate?: Gate<S>;
  readonly session?: S;
  /** Of an end without a gate. */
  readonly onNotification?: (method: string, params: unknown) => void;
  /** Shared with other connections: what all of them may hold. */
  readonly budget?: Budget;
  /** Once, when nothing can be sent or received any more. */
  readonly onClose?: (why: string) => void;
}

/** What is less is not worth counting against the budget of all. */
const leastAccounted = 64 * 1024;
/** A far end that does not fetch what is due to it is not waited for longer than this. */
const lastWordsMs = 5000;
const httpRequestLine = /^[A-Z]{3,10} \S+ HTTP\/\d/;

export class Peer<S = undefined> {
  readonly #socket: Socket;
  readonly #gate: Gate<S> | undefined;
  readonly #calls: Calls<S> | undefined;
  readonly #onNotification: ((method: string, params: unknown) => void) | undefined;
  readonly #onClose: ((why: string) => void) | undefined;
  readonly #budget: Budget | undefined;
  readonly #client: JSONRPCClient;
  readonly #inbox = new Inbox(() => this.#refuse('invalid request: a message was begun and not ended'));
  readonly #pace = new Pace();
  readonly #outbox: Outbox;
  #flushing = false;
  /** Bytes held elsewhere for what it has not read. */
  #kept = 0;
  #accounted = 0;
  /** Messages whose answer has not been queued yet. */
  #unanswered = 0;
  /** What the far end said last, to nobody's request. */
  #farewell: string | null = null;
  #isTurnedAway = false;
  #unsendable: WorkerdError | null = null;
  #lastWords: NodeJS.Timeout | undefined;
  #firstFrame = true;
  #inputEnded = false;
  #closed: string | null = null;
  #closing = false;
  readonly #onDrain = new Set<() => void>();

  constructor(options: PeerOptions<S>) {
    const { socket } = options;
    this.#socket = socket;
    this.#gate = options.gate;
    this.#calls = this.#gate && new Calls(this.#gate, options.session as S, options.budget, () => this.#flushSoon());
    this.#onNotification = options.onNotification;
    this.#onClose = options.onClose;
    this.#budget = options.budget;
    this.#outbox = new Outbox(socket);
    this.#client = new JSONRPCClient((request: unknown) => this.#sendRequest(JSON.stringify(request)));
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('drain', () => {
      this.#outbox.drained();
      this.flush();
      this.#drained();
    });
    socket.on('end', () => {
      this.#inputEnded = true;
      this.#inbox.end();
      if (this.#gate === undefined) this.close(this.#farewell ?? 'the far end closed the connection');
      else {
        // One that is gone cannot be told from one that only ended its side, but by writing: nothing, to either.
        if (this.#unanswered > 0) socket.write('');
        this.#endIfDone();
      }
    });
    socket.on('error', (error) => this.#ended(error.message));
    socket.on('close', () => {
      clearTimeout(this.#lastWords);
      this.#ended('the connection was closed');
    });
  }

  get closed(): boolean {
    return this.#closed !== null;
  }

  /** The far end does not keep up: hold back what can wait until `onDrain`. */
  get backlogged(): boolean {
    return this.#outbox.full;
  }

  onDrain(listener: () => void): () => void {
    this.#onDrain.add(listener);
    return () => this.#onDrain.delete(listener);
  }

  /** Asks the far end; rejects with a WorkerdError, also when the connection ends first. */
  async request(method: string, params: object = {}): Promise<unknown> {
    if (this.#closed !== null) throw this.#lost(this.#closed);
    this.#unsendable = null;
    const answer = this.#client.request(method, params);
    if (this.#unsendable !== null) {
      // Sent, it would have cost the connection.
      (answer as Promise<unknown>).catch(() => {});
      throw this.#unsendable;
    }
    try {
      return await answer;
    } catch (error) {
      if (error instanceof WorkerdError) throw error;
      if (this.#closed !== null) throw this.#lost(this.#closed);
      throw errorFromRpc(error as { code: number; message: string; data?: unknown });
    }
  }

  #lost(why: string): WorkerdError {
    return this.#isTurnedAway ? turnedAway(why) : connectionLost(why);
  }

  notify(method: string, params: object): void {
    this.send(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  #drained(): void {
    for (const listener of [...this.#onDrain]) listener();
  }

  /** Queues one message; all of a turn leave together. */
  send(message: string | JSONRPCResponse): void {
    this.#queue(message);
  }

  /** Queues messages as they go over the line, each with its end: encoded once, they can go to many. */
  sendLines(lines: Buffer): void {
    if (lines.length > 0) this.#queue(lines);
  }

  /** More, or less, is held elsewhere until the far end reads. */
  keep(bytes: number): void {
    this.#kept += bytes;
    this.#account();
  }

  #queue(message: Outgoing): void {
    if (this.#closed !== null) return;
    this.#outbox.push(message);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    process.nextTick(() => this.flush());
  }

  #sendRequest(text: string): void {
    const bytes = bytesBeyondFrame(text);
    if (bytes === null) this.send(text);
    else this.#unsendable = tooLong(`the request has ${bytes} bytes, at most ${limits.maxFrameBytes} can be sent`);
  }

  /** Writes what is queued now, as far as the far end takes it. */
  flush(): void {
    this.#flushing = false;
    if (this.#closed !== null) return;
    if (this.#outbox.isUnread) {
      this.destroy('it does not read its answers');
      return;
    }
    const wasFull = this.#outbox.full;
    this.#outbox.write(this.#closing);
    this.#account();
    // All taken at once: no 'drain' tells those who hold back.
    if (wasFull && !this.#outbox.full) this.#drained();
    if (this.#inbox.isEmpty) this.#endIfDone();
    else this.#pump();
  }

  /** Told to by the budget of all connections. */
  cutOff(why: string): void {
    this.#accounted = 0;
    if (this.#inbox.holdsUnfinished && !this.#socket.writableNeedDrain) this.#refuse(tooLong(why));
    else this.destroy(why);
  }

  #account(): void {
    if (this.#budget === undefined) return;
    const bytes = this.#outbox.heldBytes + this.#inbox.heldBytes + this.#kept;
    const counted = this.#closed !== null || bytes < leastAccounted ? 0 : bytes;
    if (counted === this.#accounted) return;
    this.#accounted = counted;
    this.#budget.account(this, counted);
  }

  /** Sends what is queued, then ends; the far end sees FIN. */
  close(why: string): void {
    if (this.#closed !== null || this.#closing) return;
    this.#closing = true;
    this.flush();
    this.#socket.end(() => this.#socket.destroy());
    // One that does not read would keep it open for ever.
    this.#lastWords = setTimeout(() => this.#socket.destroy(), lastWordsMs);
    this.#lastWords.unref();
    this.#failPending(why);
  }

  destroy(why: string): void {
    this.#ended(why);
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    if (this.#closing || this.#closed !== null) return;
    if (!this.#inbox.push(chunk)) {
      this.#refuse(`invalid request: a message is at most ${limits.maxFrameBytes} bytes`);
      return;
    }
    this.#pump();
    this.#account();
  }

  /** Works through the frames received, as far as the limits allow; the socket is read only when none waits. */
  #pump(): void {
    while (!this.#closing && this.#closed === null && !this.#inbox.isEmpty && this.#mayBegin) {
      const frame = this.#inbox.take();
      this.#pace.begin();
      if (frame !== null) this.#frame(frame);
    }
    if (this.#closing || this.#closed !== null) return;
    if (this.#inbox.isEmpty) {
      this.#socket.resume();
      this.#endIfDone();
    } else this.#socket.pause();
  }

  /** What we hear as a client is taken in at once, or two that both write would wait for each other for ever. */
  get #mayBegin(): boolean {
    if (this.#calls === undefined) return true;
    if (!this.#pace.mayBegin(this.#inbox.isLast)) {
      this.#pace.later(() => this.#pump());
      return false;
    }
    return this.#calls.mayBegin && !this.#outbox.full;
  }

  #frame(frame: Line): void {
    const parsed = parseFrame(frame, this.#gate === undefined);
    if (this.#firstFrame && this.#gate !== undefined) {
      this.#firstFrame = false;
      if (!parsed.ok && httpRequestLine.test(frame.toString())) {
        this.destroy('it speaks HTTP');
        return;
      }
    }
    if (!parsed.ok) {
      if (this.#gate !== undefined) this.send(errorResponse(null, -32700, parsed.why));
      return;
    }
    if (this.#gate === undefined || this.#calls === undefined) this.#hear(parsed.value);
    else this.#serve(parsed.value, this.#gate, this.#calls);
  }

  /** Answers to our requests, and the far end's notifications. */
  #hear(value: unknown): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    if (Object.hasOwn(value, 'method')) {
      const { method, params } = value as { method: unknown; params: unknown };
      if (typeof method === 'string' && !Object.hasOwn(value, 'id')) this.#onNotification?.(method, params);
      return;
    }
    const { id, error } = value as { id?: unknown; error?: { message?: unknown; data?: { limit?: unknown } } };
    // Not about one request: it is why the far end is about to close.
    if (id === null && typeof error?.message === 'string') {
      this.#farewell = error.message;
      this.#isTurnedAway = ['maxConnections', 'openFiles'].includes(String(error.data?.limit));
    } else this.#client.receive(value as JSONRPCResponse);
  }

  #serve(message: unknown, gate: Gate<S>, calls: Calls<S>): void {
    const { elements, batch } = gate.admit(message);
    const [only] = elements;
    let answer: ReturnType<typeof calls.carryOutBatch | typeof calls.carryOut> = null;
    if (batch) answer = calls.carryOutBatch(elements);
    else if (only !== undefined) answer = only.kind === 'call' ? calls.carryOut(only) : only.response;
    if (answer instanceof Promise) void this.#answerLater(answer);
    else sendAnswer(answer, this);
  }

  /** What was done before is told before more is begun: its answers may be on their way here. */
  async #answerLater(due: Promise<BatchAnswer | Answer>): Promise<void> {
    this.#unanswered += 1;
    sendAnswer(await due, this);
    this.#unanswered -= 1;
    this.#flushSoon();
  }

  #endIfDone(): void {
    const done = this.#inbox.isEmpty && this.#unanswered === 0 && this.#outbox.isEmpty;
    if (this.#inputEnded && done && !this.#closing) this.close('the far end closed the connection');
  }

  /** Says why, once, and closes. */
  #refuse(why: string | WorkerdError): void {
    const words = typeof why === 'string' ? why : why.message;
    const { rpcCode, data } = typeof why === 'string' ? { rpcCode: -32600, data: undefined } : why;
    this.send(errorResponse(null, rpcCode, words, data));
    this.close(words);
  }

  #failPending(reason: string): void {
    const why = this.#farewell ?? reason;
    this.#inbox.end();
    if (this.#closed !== null) return;
    this.#closed = why;
    this.#inbox.clear();
    this.#account();
    this.#client.rejectAllPendingRequests(why);
    this.#onClose?.(why);
  }

  #ended(why: string): void {
    this.#failPending(why);
    this.#outbox.clear();
  }
}
