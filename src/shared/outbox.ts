/**
 * What is queued for a far end: written in pieces as it reads, encoded no sooner than it can be written. So a slow
 * reader's answers are held once, as the views they are, and not as a copy each.
 */
import type { Socket } from 'node:net';
import type { JSONRPCResponse } from 'json-rpc-2.0';
import { encodeAnswer } from './answers.ts';
import { limits } from './limits.ts';

/** Characters queued within one turn before more requests are looked at; and written in one piece. */
export const maxPieceLength = 1024 * 1024;
/** An answer that is not encoded yet counts so much; it is a view of what is in memory anyway. */
const waitingAnswerBytes = 1024;

/** A message as text without its end, or not encoded yet; or several as bytes, each with its end. */
export type Outgoing = string | Buffer | JSONRPCResponse;

const isEncoded = (message: Outgoing): message is string | Buffer =>
  typeof message === 'string' || Buffer.isBuffer(message);

export class Outbox {
  readonly #socket: Socket;
  #messages: Outgoing[] = [];
  /** Characters of those that are encoded. */
  #length = 0;
  /** Of these what came after what is still unread, and none of that was read since. */
  #unreadLength = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** Answers pile up: what asks for more of them waits until these are on their way. */
  get full(): boolean {
    return this.#socket.writableNeedDrain || this.#length > maxPieceLength;
  }

  /** One turn's messages may be many; it is what comes after unread ones that tells of a far end that does not read. */
  get isUnread(): boolean {
    return this.#unreadLength > limits.maxUnreadBytes;
  }

  get heldBytes(): number {
    return this.#socket.writableLength + this.#length + this.#messages.length * waitingAnswerBytes;
  }

  push(message: Outgoing): void {
    this.#messages.push(message);
    if (!isEncoded(message)) return;
    this.#length += message.length;
    if (this.#socket.writableNeedDrain) this.#unreadLength += message.length;
  }

  /** The far end has read all that was written. */
  drained(): void {
    this.#unreadLength = 0;
  }

  /** Writes as far as the far end takes it, or (`all`) everything: nothing is written after that. */
  write(all: boolean): void {
    let sent = 0;
    while (sent < this.#messages.length && (all || !this.#socket.writableNeedDrain)) sent = this.#writePiece(sent);
    this.#messages = sent === this.#messages.length ? [] : this.#messages.slice(sent);
  }

  /** In one call of the system. Gives back where the next piece begins. */
  #writePiece(from: number): number {
    const parts: (string | Buffer)[] = [];
    let next = from;
    for (let length = 0; next < this.#messages.length && length < maxPieceLength; next += 1) {
      const message = this.#messages[next] as Outgoing;
      const part = isEncoded(message) ? message : encodeAnswer(message);
      if (part === message) this.#length -= part.length;
      length += part.length;
      parts.push(part);
    }
    if (parts.every((part) => typeof part === 'string')) this.#socket.write(`${parts.join('\n')}\n`);
    else {
      this.#socket.cork();
      for (const part of parts) this.#socket.write(typeof part === 'string' ? `${part}\n` : part);
      this.#socket.uncork();
    }
    return next;
  }

  clear(): void {
    this.#messages = [];
    this.#length = 0;
  }
}
