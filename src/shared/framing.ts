/**
 * Newline-delimited JSON: cutting bytes into frames, and turning a frame into a value within the limits.
 * Pure but for the buffers it holds; sockets and timers are peer.ts's business.
 */
import { isUtf8 } from 'node:buffer';
import { limits } from './limits.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;

const emptyLine = Buffer.alloc(0);
/** Below this a growing line is given room at once. */
const leastRoom = 4096;

/** Cuts a byte stream into lines. Holds at most `maxFrameBytes` of an unfinished one, and little more memory. */
export class FrameReader {
  readonly #maxFrameBytes: number;
  /** Room for the unfinished line, of which `#pendingBytes` are taken. Of its own: a chunk is not kept for its end. */
  #pending: Buffer | null = null;
  #pendingBytes = 0;

  constructor(maxFrameBytes: number = limits.maxFrameBytes) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** An unfinished line is held. */
  get unfinished(): boolean {
    return this.#pendingBytes > 0;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The lines that `chunk` completes, without their ends; `'too-large'` once a line passes the limit. */
  push(chunk: Buffer): readonly Buffer[] | 'too-large' {
    const frames: Buffer[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      if (this.#pendingBytes + end - start > this.#maxFrameBytes) return 'too-large';
      // A flood of newlines costs no buffer each.
      const isEmpty = end === start && this.#pendingBytes === 0;
      frames.push(isEmpty ? emptyLine : trimReturn(this.#take(chunk.subarray(start, end))));
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    if (this.#pendingBytes + rest.length > this.#maxFrameBytes) return 'too-large';
    if (rest.length > 0) this.#hold(rest);
    return frames;
  }

  /** A line that drips in byte by byte costs its length, not a buffer for each byte. */
  #hold(part: Buffer): void {
    const bytes = this.#pendingBytes + part.length;
    if (this.#pending === null || this.#pending.length < bytes) {
      const room = Buffer.allocUnsafeSlow(Math.min(Math.max(2 * bytes, leastRoom), this.#maxFrameBytes));
      this.#pending?.copy(room, 0, 0, this.#pendingBytes);
      this.#pending = room;
    }
    part.copy(this.#pending, this.#pendingBytes);
    this.#pendingBytes = bytes;
  }

  #take(last: Buffer): Buffer {
    if (this.#pending === null) return last;
    if (last.length > 0) this.#hold(last);
    const whole = this.#pending.subarray(0, this.#pendingBytes);
    this.#pending = null;
    this.#pendingBytes = 0;
    return whole;
  }
}

const trimReturn = (line: Buffer): Buffer =>
  line.length > 0 && line[line.length - 1] === carriageReturn ? line.subarray(0, -1) : line;

/** White space only: such lines are accepted and mean nothing. */
export const isBlank = (line: Buffer): boolean => line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);

/** `JSON.parse` takes millions of levels, `JSON.stringify` dies of five thousand: so the depth is looked at first. */
export const exceedsDepth = (line: Buffer, maxDepth: number = limits.maxDepth): boolean => {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < line.length; index += 1) {
    const byte = line[index];
    if (inString) {
      if (byte === 0x5c) index += 1;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      if (depth > maxDepth) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth -= 1;
  }
  return false;
};

export type ParsedFrame = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

/** One line into a value; says why not. What our own server says (`trusted`) is not looked through first. */
export const parseFrame = (line: Buffer, trusted = false): ParsedFrame => {
  if (!trusted && !isUtf8(line)) return { ok: false, why: 'the message is not valid UTF-8' };
  if (!trusted && exceedsDepth(line)) {
    return { ok: false, why: `the message is nested deeper than ${limits.maxDepth} levels` };
  }
  try {
    return { ok: true, value: JSON.parse(line.toString('utf8')) as unknown };
  } catch {
    return { ok: false, why: 'the message is not valid JSON' };
  }
};
