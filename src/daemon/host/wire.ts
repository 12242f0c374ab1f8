/**
 * The control channel as the hosts see it: the words of both directions, and lines over FIFO descriptors that were
 * opened O_RDWR|O_NONBLOCK. Nothing here decides what a line means.
 */
import { readSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Json } from './contract.ts';

/** How a run ended, as far as a host can tell. */
export type Exit =
  | { readonly kind: 'code'; readonly code: number }
  | { readonly kind: 'error'; readonly name: string; readonly message: string; readonly stack: string | null }
  | { readonly kind: 'returned' }
  | { readonly kind: 'terminated' };

export type UpLine =
  | { readonly running: true; readonly threadId?: number }
  | { readonly ready: true }
  | { readonly exit: Exit; readonly result?: Json }
  | { readonly threadExited: { readonly run: string; readonly exit: Exit } };

/** What a module is run with; a thread host is told it, a process host reads it from its environment and argv. */
export interface Launch {
  readonly name: string;
  readonly generation: number;
  readonly module: string;
  readonly export: string;
  readonly params: Json;
}

const newline = 0x0a;
/** More than any line the shim sends; what is longer without an end is rubbish and dropped. */
const maxUnfinishedBytes = 2 * 1024 * 1024;
const pipeBytes = 64 * 1024;

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isFull = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EAGAIN';

const cell = new Int32Array(new SharedArrayBuffer(4));
/** Waits without an event loop; `terminate()` ends it all the same. */
export const pause = (ms: number): void => {
  Atomics.wait(cell, 0, 0, ms);
};

/** Writes all of `bytes`, however long the reader takes. */
export const writeFully = (fd: number, bytes: Uint8Array): void => {
  let at = 0;
  let wait = 1;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at);
      wait = 1;
    } catch (error) {
      if (!isFull(error)) throw error;
      pause(wait);
      wait = Math.min(wait + 1, 5);
    }
  }
};

/** Lines upwards. A line that was begun is always finished before another one. */
export class LineWriter {
  readonly #fd: number;
  #rest: Uint8Array = new Uint8Array(0);
  #broken = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Takes the line, or none of it: then the reader is behind, and the same may be offered again later. */
  offer(line: string): boolean {
    if (!this.finish()) return false;
    const bytes = Buffer.from(`${line}\n`);
    const written = this.#write(bytes);
    if (written === 0) return false;
    this.#rest = bytes.subarray(written);
    return true;
  }

  /** Writes what is left of a line that was begun, as far as the reader lets it. */
  finish(): boolean {
    if (this.#rest.length > 0) this.#rest = this.#rest.subarray(this.#write(this.#rest));
    return this.#rest.length === 0;
  }

  /** Returns once the line is written, or without one, whatever was begun. */
  write(line?: string): void {
    if (this.#broken) return;
    try {
      writeFully(this.#fd, Buffer.concat([this.#rest, Buffer.from(line === undefined ? '' : `${line}\n`)]));
      this.#rest = new Uint8Array(0);
    } catch {
      this.#broken = true;
    }
  }

  /** A channel that the user's code closed takes everything and passes on nothing: that harms nobody but itself. */
  #write(bytes: Uint8Array): number {
    if (this.#broken) return bytes.length;
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      if (isFull(error)) return 0;
      this.#broken = true;
      return bytes.length;
    }
  }
}

/** Lines downwards: read when the event loop turns (`listen`), and at once when asked (`poll`), in one order. */
export class LineReader {
  readonly #fd: number;
  readonly #take: (line: Readonly<Record<string, unknown>>) => void;
  readonly #buffer = Buffer.allocUnsafe(pipeBytes);
  #parts: Buffer[] = [];
  #pendingBytes = 0;
  #lines: Buffer[] = [];
  #taking = false;

  constructor(fd: number, take: (line: Readonly<Record<string, unknown>>) => void) {
    this.#fd = fd;
    this.#take = take;
  }

  /** From here on the descriptor belongs to the event loop, which it keeps alive. */
  listen(): void {
    const socket = new Socket({
      fd: this.#fd,
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.allocUnsafe(pipeBytes),
        callback: (length, buffer) => {
          this.#push(Buffer.from(buffer.subarray(0, length)));
          return true;
        },
      },
    });
    // The user's code may have closed the descriptor; then it hears no more, which is its own doing.
    socket.on('error', () => {});
  }

  poll(): void {
    let length = 0;
    try {
      length = readSync(this.#fd, this.#buffer);
    } catch {
      return;
    }
    if (length > 0) this.#push(Buffer.from(this.#buffer.subarray(0, length)));
  }

  #push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      this.#lines.push(Buffer.concat([...this.#parts, chunk.subarray(start, end)]));
      this.#parts = [];
      this.#pendingBytes = 0;
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    this.#pendingBytes += rest.length;
    if (this.#pendingBytes <= maxUnfinishedBytes) this.#parts.push(rest);
    else this.#parts = [];
    this.#drain();
  }

  /** What takes a line may poll in its turn (an abort listener that looks at `stop`): the order holds all the same. */
  #drain(): void {
    if (this.#taking) return;
    this.#taking = true;
    try {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        const value = parse(line);
        if (isRecord(value)) this.#take(value);
      }
    } finally {
      this.#taking = false;
    }
  }
}

const parse = (line: Buffer): unknown => {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return null;
  }
};
