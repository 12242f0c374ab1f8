/**
 * One end of a connection: frames in and out, requests either way. Owns its socket.
 *
 * Promises: frames queued in one turn of the loop leave in one write; answers of a batch come in request order;
 * a peer that does not read, sends too much at once or never ends a line is bounded (limits.ts) and told so;
 * after the far end's FIN the answers still due are sent, then the connection ends.
 */
import type { Socket } from 'node:net';
import { JSONRPCClient, type JSONRPCResponse } from 'json-rpc-2.0';
import { errorFromRpc, WorkerdError } from './errors.ts';
import { FrameReader, isBlank, parseFrame } from './framing.ts';
import type { Admitted, Gate } from './gate.ts';
import { limits } from './limits.ts';
import { encodeAnswer, errorResponse, tooManyHeld } from './rpc-errors.ts';

export interface PeerOptions<S> {
  /** Opened with `allowHalfOpen`, or the answers after the far end's FIN are lost. */
  readonly socket: Socket;
  /** Serves the far end's requests; without one they are ignored. */
  readonly gate?: Gate<S>;
  readonly session?: S;
  readonly onNotification?: (method: string, params: unknown) => void;
  /** Once, when nothing can be sent or received any more. */
  readonly onClose?: (why: string) => void;
}

/** Characters of answers queued within one turn before more requests are looked at. */
const maxQueuedLength = 1024 * 1024;
const httpRequestLine = /^[A-Z]{3,10} \S+ HTTP\/\d/;

export class Peer<S = undefined> {
  readonly #socket: Socket;
  readonly #gate: Gate<S> | undefined;
  readonly #session: S;
  readonly #onNotification: ((method: string, params: unknown) => void) | undefined;
  readonly #onClose: ((why: string) => void) | undefined;
  readonly #reader = new FrameReader();
  readonly #client: JSONRPCClient;
  #waiting: Buffer[] = [];
  #outbox: (string | Buffer)[] = [];
  #flushing = false;
  #outboxLength = 0;
  #inFlight = 0;
  #held = 0;
  /** Messages whose answer has not been queued yet. */
  #unanswered = 0;
  #unfinished: NodeJS.Timeout | undefined;
  #firstFrame = true;
  #inputEnded = false;
  #closed: string | null = null;
  #closing = false;
  readonly #onDrain = new Set<() => void>();

  constructor(options: PeerOptions<S>) {
    this.#socket = options.socket;
    this.#gate = options.gate;
    this.#session = options.session as S;
    this.#onNotification = options.onNotification;
    this.#onClose = options.onClose;
    this.#client = new JSONRPCClient((request: unknown) => this.send(JSON.stringify(request)));
    const socket = this.#socket;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('drain', () => {
      this.#pump();
      this.#drained();
    });
    socket.on('end', () => {
      this.#inputEnded = true;
      clearTimeout(this.#unfinished);
      if (this.#gate === undefined) this.close('the far end closed the connection');
      else {
        // One that is gone cannot be told from one that only ended its side, but by writing: nothing, to either.
        if (this.#unanswered > 0) socket.write('');
        this.#endIfDone();
      }
    });
    socket.on('error', (error) => this.#ended(error.message));
    socket.on('close', () => this.#ended('the connection was closed'));
  }

  get closed(): boolean {
    return this.#closed !== null;
  }

  /** The far end does not keep up: hold back what can wait until `onDrain`. */
  get backlogged(): boolean {
    return this.#full;
  }

  /** Bytes queued for a far end that has not read them yet. */
  get unreadBytes(): number {
    return this.#socket.writableLength;
  }

  onDrain(listener: () => void): () => void {
    this.#onDrain.add(listener);
    return () => this.#onDrain.delete(listener);
  }

  /** Asks the far end; rejects with a WorkerdError, also when the connection ends first. */
  async request(method: string, params: object = {}): Promise<unknown> {
    if (this.#closed !== null) throw connectionLost(this.#closed);
    try {
      return await this.#client.request(method, params);
    } catch (error) {
      if (error instanceof WorkerdError) throw error;
      if (this.#closed !== null) throw connectionLost(this.#closed);
      throw errorFromRpc(error as { code: number; message: string; data?: unknown });
    }
  }

  notify(method: string, params: object): void {
    this.send(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  #drained(): void {
    for (const listener of [...this.#onDrain]) listener();
  }

  /** Queues one message; all of a turn leave together. */
  send(message: string): void {
    this.#queue(message);
  }

  /** Queues messages as they go over the line, each with its end: encoded once, they can go to many. */
  sendLines(lines: Buffer): void {
    if (lines.length > 0) this.#queue(lines);
  }

  #queue(part: string | Buffer): void {
    if (this.#closed !== null) return;
    this.#outbox.push(part);
    this.#outboxLength += part.length;
    if (this.#flushing) return;
    this.#flushing = true;
    process.nextTick(() => this.flush());
  }

  /** Writes what is queued now. */
  flush(): void {
    this.#flushing = false;
    if (this.#outbox.length === 0 || this.#closed !== null) return;
    const parts = this.#outbox;
    const wasFull = this.#outboxLength > maxQueuedLength;
    this.#outbox = [];
    this.#outboxLength = 0;
    // One turn's answers may be many; it is what was not read before them that tells of a client that does not read.
    const unread = this.#socket.writableLength;
    this.#write(parts);
    if (unread > 0 && this.#socket.writableLength > limits.maxUnreadBytes) this.destroy('it does not read its answers');
    else if (this.#waiting.length > 0) this.#pump();
    // All taken at once: no 'drain' will tell those who hold back.
    if (wasFull && !this.#full) this.#drained();
  }

  /** In one call of the system. */
  #write(parts: readonly (string | Buffer)[]): void {
    if (parts.every((part) => typeof part === 'string')) {
      this.#socket.write(`${parts.join('\n')}\n`);
      return;
    }
    this.#socket.cork();
    for (const part of parts) this.#socket.write(typeof part === 'string' ? `${part}\n` : part);
    this.#socket.uncork();
  }

  /** Sends what is queued, then ends; the far end sees FIN. */
  close(why: string): void {
    if (this.#closed !== null || this.#closing) return;
    this.#closing = true;
    this.flush();
    this.#socket.end(() => this.#socket.destroy());
    this.#failPending(why);
  }

  destroy(why: string): void {
    this.#ended(why);
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    if (this.#closing || this.#closed !== null) return;
    const frames = this.#reader.push(chunk);
    if (frames === 'too-large') {
      this.#refuse(`invalid request: a message is at most ${limits.maxFrameBytes} bytes`);
      return;
    }
    this.#watchUnfinished(frames.length > 0);
    this.#waiting.push(...frames);
    this.#pump();
  }

  /** Counted from the beginning of a line: one that drips in is not given more time. */
  #watchUnfinished(lineEnded: boolean): void {
    if (lineEnded || !this.#reader.unfinished) {
      clearTimeout(this.#unfinished);
      this.#unfinished = undefined;
    }
    if (!this.#reader.unfinished || this.#unfinished !== undefined) return;
    this.#unfinished = setTimeout(
      () => this.#refuse('invalid request: a message was begun and not ended'),
      limits.unfinishedFrameMs,
    );
    this.#unfinished.unref();
  }

  /** Answers pile up: what asks for more of them waits until these are on their way. */
  get #full(): boolean {
    return this.#socket.writableNeedDrain || this.#outboxLength > maxQueuedLength;
  }

  /** Works through the frames received, as far as the limits allow; the socket is read only when none waits. */
  #pump(): void {
    while (this.#waiting.length > 0 && this.#inFlight < limits.maxInFlight && !this.#full) {
      const frame = this.#waiting.shift();
      if (frame !== undefined && !isBlank(frame)) this.#frame(frame);
      if (this.#closing || this.#closed !== null) return;
    }
    if (this.#waiting.length > 0) this.#socket.pause();
    else {
      this.#socket.resume();
      this.#endIfDone();
    }
  }

  #frame(frame: Buffer): void {
    const parsed = parseFrame(frame, this.#gate === undefined);
    if (this.#firstFrame && this.#gate !== undefined) {
      this.#firstFrame = false;
      if (!parsed.ok && httpRequestLine.test(frame.toString('latin1'))) {
        this.destroy('it speaks HTTP');
        return;
      }
    }
    if (!parsed.ok) {
      if (this.#gate !== undefined) this.send(JSON.stringify(errorResponse(null, -32700, parsed.why)));
      return;
    }
    if (this.#takeOwn(parsed.value) || this.#gate === undefined) return;
    this.#serve(parsed.value, this.#gate);
  }

  /** Answers to our requests, and the far end's notifications. */
  #takeOwn(value: unknown): boolean {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    if (Object.hasOwn(value, 'method')) {
      if (this.#onNotification === undefined || Object.hasOwn(value, 'id')) return false;
      const { method, params } = value as { method: unknown; params: unknown };
      if (typeof method === 'string') this.#onNotification(method, params);
      return true;
    }
    if (this.#gate !== undefined) return false;
    this.#client.receive(value as JSONRPCResponse);
    return true;
  }

  #serve(message: unknown, gate: Gate<S>): void {
    const { elements, batch } = gate.admit(message);
    const [only] = elements;
    if (!batch && only !== undefined) {
      if (only.kind === 'answer') this.send(JSON.stringify(only.response));
      else void this.#serveOne(only, gate);
      return;
    }
    this.#unanswered += 1;
    const answers = elements.map((element) =>
      element.kind === 'answer' ? element.response : this.#carryOut(element, gate),
    );
    void Promise.all(answers).then((all) => {
      const due = all.filter((answer) => answer !== null).map(encodeAnswer);
      if (due.length > 0) this.send(`[${due.join(',')}]`);
      this.#unanswered -= 1;
      this.#pump();
    });
  }

  async #serveOne(admitted: Admitted & { kind: 'call' }, gate: Gate<S>): Promise<void> {
    this.#unanswered += 1;
    const answer = await this.#carryOut(admitted, gate);
    if (answer !== null) this.send(encodeAnswer(answer));
    this.#unanswered -= 1;
    this.#pump();
  }

  async #carryOut(admitted: Admitted & { kind: 'call' }, gate: Gate<S>): Promise<JSONRPCResponse | null> {
    const { request, held } = admitted;
    if (!gate.knows(request.method)) return null;
    if (held && this.#held >= limits.maxHeld) return tooManyHeld(request);
    if (held) this.#held += 1;
    else this.#inFlight += 1;
    try {
      return await gate.call(request, this.#session);
    } finally {
      if (held) this.#held -= 1;
      else this.#inFlight -= 1;
    }
  }

  #endIfDone(): void {
    if (this.#inputEnded && this.#waiting.length === 0 && this.#unanswered === 0) {
      this.close('the far end closed the connection');
    }
  }

  /** Says why, once, and closes. */
  #refuse(why: string): void {
    this.send(JSON.stringify(errorResponse(null, -32600, why)));
    this.close(why);
  }

  #failPending(why: string): void {
    clearTimeout(this.#unfinished);
    if (this.#closed !== null) return;
    this.#closed = why;
    this.#waiting = [];
    this.#client.rejectAllPendingRequests(why);
    this.#onClose?.(why);
  }

  #ended(why: string): void {
    this.#failPending(why);
    this.#outbox = [];
  }
}

export const connectionLost = (why: string): WorkerdError =>
  new WorkerdError('daemon.unreachable', `the connection to the daemon was lost: ${why}`, {
    reason: 'connection lost',
  });
