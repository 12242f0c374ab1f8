/**
 * From pieces of a worker's output to lines: put together per stream, so that what stdout and stderr write at once is
 * not glued. Bytes in, bytes out; holds at most 64 KiB of an unfinished line a stream.
 *
 * Lines that came in one piece stay together in a block: most readers want their bytes, and a step for each line would
 * cost them ten times as much.
 */
import type { LogStream } from './log-file.ts';

/** Bytes that the run wrote and nobody can read. */
export interface Lost {
  readonly bytes: number;
  /** `unwritten`: they never reached the log (a full disk, …). `gone`: they did, and were dropped or cut before they were read. */
  readonly why: 'unwritten' | 'gone';
}

export interface LogChunk {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly stream: LogStream;
  readonly bytes: Buffer;
  readonly generation: number;
  /** Of the first byte, from the start of the run's output. */
  readonly offset: number;
  /** Of one without bytes, given to those who ask for gaps: what is missing here. */
  readonly lost?: Lost;
}

/** Could not be written at the very end: whoever follows from there meets it, and is to tell it alone. */
export const isGapAt = ({ lost, offset }: LogChunk, end: number): boolean => lost?.why === 'unwritten' && offset >= end;

export interface LogBlock {
  /** When it was read; of a line, when its end was. */
  readonly at: number;
  readonly stream: LogStream;
  /** Whole lines, each with its newline; or a piece of one, without. */
  readonly bytes: Buffer;
  /** A piece of one line: no newline was seen (yet), as the run ended so, or it is longer than 64 KiB and goes on. */
  readonly partial: boolean;
  readonly generation: number;
  /** Offset of what follows it in the run's output. */
  readonly end: number;
  /** As of a chunk: no line, but a gap between lines. */
  readonly lost?: Lost;
}

export interface LogLine extends Omit<LogBlock, 'bytes'> {
  /** Without its newline. */
  readonly line: Buffer;
}

export const maxLineBytes = 64 * 1024;

const nothing = Buffer.alloc(0);

interface Held {
  readonly parts: Buffer[];
  bytes: number;
  /** Of the last piece: without its bytes, of which a few must not keep a read buffer of 1 MiB alive. */
  last: Omit<LogChunk, 'bytes' | 'offset'>;
  end: number;
  readonly start: number;
}

/** Puts lines together, per stream. */
export class LineAssembler {
  readonly #held = new Map<LogStream, Held>();

  /** Offset in the run's output at which the unfinished line of a stream begins; `null`: there is none. */
  unfinishedFrom(stream: LogStream): number | null {
    return this.#held.get(stream)?.start ?? null;
  }

  *push(chunk: LogChunk): Generator<LogLine> {
    const { bytes, stream, lost } = chunk;
    if (lost !== undefined) {
      // What was begun before it does not go on after it.
      yield* this.flush();
      yield { ...lineOf(chunk, bytes, true, chunk.offset), lost };
      return;
    }
    let newline = -1;
    for (let start = 0; start < bytes.length; ) {
      if (newline < start) newline = bytes.indexOf(0x0a, start);
      if (newline === -1) newline = Infinity;
      const end = Math.min(newline, bytes.length);
      const room = maxLineBytes - (this.#held.get(stream)?.bytes ?? 0);
      if (end - start > room) {
        const piece = this.#take(stream, bytes.subarray(start, start + room));
        const whole = characterEnd(piece);
        start += room;
        const end = chunk.offset + start - (piece.length - whole);
        if (whole < piece.length) this.#hold(chunk, piece.subarray(whole), end);
        yield lineOf(chunk, piece.subarray(0, whole), true, end);
      } else if (newline === Infinity) {
        this.#hold(chunk, bytes.subarray(start), chunk.offset + start);
        return;
      } else {
        const line = this.#take(stream, bytes.subarray(start, end));
        start = end + 1;
        yield lineOf(chunk, line, false, chunk.offset + start);
      }
    }
  }

  /** The unfinished lines, once nothing more will come. */
  *flush(): Generator<LogLine> {
    const held = [...this.#held.values()].sort((a, b) => a.last.at - b.last.at);
    for (const { last, end } of held) yield lineOf(last, this.#take(last.stream, nothing), true, end);
  }

  /** As `push`, for whoever wants many lines' bytes: fewer steps, but more to remember for each line where they are few. */
  *pushBlocks(chunk: LogChunk): Generator<LogBlock> {
    const { bytes, stream, lost } = chunk;
    if (lost !== undefined) {
      yield* this.flushBlocks();
      yield { ...blockOf(chunk, bytes, true, chunk.offset), lost };
      return;
    }
    for (let start = 0; start < bytes.length; ) {
      const room = maxLineBytes - (this.#held.get(stream)?.bytes ?? 0);
      const whole = room === maxLineBytes ? wholeLines(bytes, start) : start;
      if (whole > start) {
        yield blockOf(chunk, bytes.subarray(start, whole), false, chunk.offset + whole);
        start = whole;
        continue;
      }
      // One line: its end, if it was begun before; or one that does not end in this piece, or is too long.
      const newline = bytes.subarray(start, start + room + 1).indexOf(0x0a);
      if (newline !== -1) {
        const end = start + newline + 1;
        yield blockOf(chunk, this.#take(stream, bytes.subarray(start, end)), false, chunk.offset + end);
        start = end;
      } else if (bytes.length - start <= room) {
        this.#hold(chunk, bytes.subarray(start), chunk.offset + start);
        return;
      } else {
        const piece = this.#take(stream, bytes.subarray(start, start + room));
        const whole = characterEnd(piece);
        start += room;
        const end = chunk.offset + start - (piece.length - whole);
        if (whole < piece.length) this.#hold(chunk, piece.subarray(whole), end);
        yield blockOf(chunk, piece.subarray(0, whole), true, end);
      }
    }
  }

  *flushBlocks(): Generator<LogBlock> {
    const held = [...this.#held.values()].sort((a, b) => a.last.at - b.last.at);
    for (const { last, end } of held) yield blockOf(last, this.#take(last.stream, nothing), true, end);
  }

  #hold(chunk: LogChunk, bytes: Buffer, start: number): void {
    const held = this.#held.get(chunk.stream);
    const { at, stream, generation } = chunk;
    const last = { at, stream, generation };
    const end = start + bytes.length;
    if (held === undefined) {
      this.#held.set(stream, { parts: [Buffer.from(bytes)], bytes: bytes.length, last, end, start });
      return;
    }
    held.parts.push(Buffer.from(bytes));
    held.bytes += bytes.length;
    held.last = last;
    held.end = end;
  }

  #take(stream: LogStream, last: Buffer): Buffer {
    const held = this.#held.get(stream);
    if (held === undefined) return last;
    this.#held.delete(stream);
    return Buffer.concat([...held.parts, last]);
  }
}

const lineOf = ({ at, stream, generation }: Held['last'], line: Buffer, partial: boolean, end: number): LogLine => ({
  at,
  stream,
  line,
  partial,
  generation,
  end,
});

const blockOf = ({ at, stream, generation }: Held['last'], bytes: Buffer, partial: boolean, end: number): LogBlock => ({
  at,
  stream,
  bytes,
  partial,
  generation,
  end,
});

/** Each line of these blocks by itself. */
export function* linesIn(blocks: Iterable<LogBlock>): Generator<LogLine> {
  for (const { bytes, ...block } of blocks) {
    if (block.partial) yield { ...block, line: bytes };
    else {
      for (let start = 0; start < bytes.length; ) {
        const newline = bytes.indexOf(0x0a, start);
        const end = block.end - bytes.length + newline + 1;
        yield { ...block, line: bytes.subarray(start, newline), end };
        start = newline + 1;
      }
    }
  }
}

/** Where the whole lines end that begin at `start`, up to the first that is too long; `start` if there are none. */
const wholeLines = (bytes: Buffer, start: number): number => {
  let end = start;
  while (end < bytes.length) {
    // No line begun here is too long if there is a newline within its bound: one look goes over many lines.
    const newline = bytes.subarray(end, end + maxLineBytes + 1).lastIndexOf(0x0a);
    if (newline === -1) break;
    end += newline + 1;
  }
  return end;
};

/** How much of `bytes` does not end within a UTF-8 character. */
const characterEnd = (bytes: Buffer): number => {
  for (let back = 1; back <= 3 && back < bytes.length; back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return bytes.length;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
};
