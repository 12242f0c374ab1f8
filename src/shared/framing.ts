/**
 * Newline-delimited JSON: cutting bytes into frames, and turning a frame into a value within the limits.
 * Pure but for the buffers it holds; sockets and timers are peer.ts's business.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { limits } from './limits.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;

/** As text where it came whole with others, all ASCII: its length is that of its bytes, and it is valid UTF-8. */
export type Line = string | Buffer;

/** The first so many bytes decoded together, which costs a fraction of what it costs line by line. */
const asciiOf = (chunk: Buffer, length: number): string | null => {
  const bytes = chunk.subarray(0, length);
  return isAscii(bytes) ? bytes.toString('latin1') : null;
};

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
  push(chunk: Buffer): readonly Line[] | 'too-large' {
    const lines: Line[] = [];
    const first = chunk.indexOf(newline);
    const last = first === -1 ? -1 : chunk.lastIndexOf(newline);
    const text = first === last ? null : asciiOf(chunk, last);
    let start = 0;
    for (let end = first; end !== -1; end = chunk.indexOf(newline, start)) {
      if (this.#pendingBytes + end - start > this.#maxFrameBytes) return 'too-large';
      const isWhole = this.#pendingBytes === 0;
      // A flood of newlines costs no buffer each.
      if (isWhole && end === start) lines.push('');
      else if (isWhole && text !== null)
        lines.push(text.slice(start, chunk[end - 1] === carriageReturn ? end - 1 : end));
      else lines.push(trimReturn(this.#take(chunk.subarray(start, end))));
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    if (this.#pendingBytes + rest.length > this.#maxFrameBytes) return 'too-large';
    if (rest.length > 0) this.#hold(rest);
    return lines;
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
export const isBlank = (line: Line): boolean => {
  const isText = typeof line === 'string';
  for (let index = 0; index < line.length; index += 1) {
    const byte = isText ? line.charCodeAt(index) : line[index];
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  }
  return true;
};

/** `JSON.parse` takes millions of levels, `JSON.stringify` dies of five thousand: so the depth is looked at first. */
export const exceedsDepth = (text: string, maxDepth: number = limits.maxDepth): boolean => {
  // What has a beginning has an end: too short for more, or no JSON.
  if (text.length <= 2 * maxDepth) return false;
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (inString) {
      if (code === 0x5c) index += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > maxDepth) return true;
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
  return false;
};

export type ParsedFrame = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

/** One line into a value; says why not. What our own server says (`trusted`) is not looked through first. */
export const parseFrame = (line: Line, trusted = false): ParsedFrame => {
  if (!trusted && typeof line !== 'string' && !isUtf8(line))
    return { ok: false, why: 'the message is not valid UTF-8' };
  const text = typeof line === 'string' ? line : line.toString('utf8');
  if (!trusted && exceedsDepth(text)) {
    return { ok: false, why: `the message is nested deeper than ${limits.maxDepth} levels` };
  }
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch {
    return { ok: false, why: 'the message is not valid JSON' };
  }
};
