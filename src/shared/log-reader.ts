/**
 * Reading a worker's log (format: log-file.ts): pieces and lines, from an offset, by time, or the last few. Synchronous
 * and at disk speed; memory is bounded by a read of 1 MiB and an unfinished line of 64 KiB a stream.
 *
 * Lines are put together per stream, so that what stdout and stderr write at once is not glued. They come as bytes;
 * a line longer than 64 KiB comes in pieces marked `partial`, cut between characters.
 */
import { fstatSync, readSync } from 'node:fs';
import {
  type IndexEntry,
  type LogStream,
  listGenerations,
  marks,
  parseIndexLine,
  pointBefore,
  readBytes,
} from './log-file.ts';
import type { LogChunk, Lost } from './log-lines.ts';
import { closeSegment, type OpenSegment, segmentAfter, segmentAt } from './log-segments.ts';

export { LineAssembler, type LogBlock, type LogChunk, type LogLine, linesIn, maxLineBytes } from './log-lines.ts';
export { segmentAt } from './log-segments.ts';

export interface ChunkOptions {
  /** Offset in the run's output to start from. */
  readonly from?: number | undefined;
  /** Offset to stop before. */
  readonly to?: number | undefined;
  /** Milliseconds since the epoch, both inclusive. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly streams?: readonly LogStream[] | undefined;
  /** Joins neighbours of one stream: for bytes alone, where `at` does not matter. */
  readonly merge?: boolean;
  /** Bytes read at a time, at most: what a pass that stands still holds. */
  readonly readSize?: number | undefined;
  /** For one that follows a writer: reads no further once somebody cut the log or its index, until that is put right. */
  readonly wary?: boolean;
  /** Gives a chunk without bytes where some are missing. */
  readonly gaps?: boolean | undefined;
}

const mostRead = 1024 * 1024;
const firstReadSize = 4 * 1024;
const idxReadSize = 32 * 1024;

const nothing = Buffer.alloc(0);
const allStreams: readonly LogStream[] = ['stdout', 'stderr'];

/** Reads one segment forward, as far as its index accounts for it now; can be asked again when it has grown. */
export class SegmentReader {
  readonly open: OpenSegment;
  /** Of the next byte in the run's output. */
  offset: number;
  #idxOffset: number;
  #data: Buffer = nothing;
  #dataAt = 0;
  /** Log and index do not belong together any more: where it is told to be wary. */
  #cut = false;
  /** Where a piece ends that is not all there. */
  #cutTo: number | null = null;

  constructor(open: OpenSegment, from: { readonly idxOffset: number; readonly offset: number }) {
    this.open = open;
    this.#idxOffset = from.idxOffset;
    this.offset = from.offset;
  }

  get cut(): boolean {
    return this.#cut;
  }

  *chunks(options: ChunkOptions, whole: boolean): Generator<LogChunk> {
    let held: LogChunk | null = null;
    for (const chunk of this.#pieces(options, whole)) {
      if (held === null) held = chunk;
      else if (options.merge === true && follows(held, chunk)) held = joined(held, chunk);
      else {
        yield held;
        held = chunk;
      }
    }
    if (held !== null) yield held;
  }

  *#pieces(options: ChunkOptions, whole: boolean): Generator<LogChunk> {
    const { idx } = this.open;
    const wanted = pick(options);
    const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
    // Buffers are held for a pass: many readers wait for long, and few read at once.
    const block = Buffer.allocUnsafe(idxReadSize);
    let at = 0;
    if (this.#cutTo !== null) {
      if (!whole) return;
      yield* this.#beyondCut(Date.now(), options);
    }
    if (this.#cut && !whole) return;
    while (idx !== null && !this.#cut) {
      const filled = readSync(idx, block, 0, block.length, this.#idxOffset);
      if (options.wary === true && !whole && this.#looksCut(idx, block, filled)) {
        this.#cut = true;
        return;
      }
      let position = 0;
      while (parseIndexLine(block, position, filled, entry)) {
        at = entry.at;
        // Before the bytes are given out: whoever stops in between does not meet them again.
        this.#idxOffset += entry.next - position;
        position = entry.next;
        if (entry.mark !== marks.o && entry.mark !== marks.e) {
          if (entry.mark === marks.at) this.offset = entry.value;
          else if (entry.mark === marks.dropped) yield* this.#unwritten(entry, options);
          continue;
        }
        const end = this.offset + entry.value;
        if (wanted(streamOf(entry.mark), at) && !(yield* this.#bytes(at, entry.mark, end, options))) {
          // The log is shorter than its index says: somebody cut it. Its writer will put that right, if it lives.
          if (!whole) {
            this.#cutTo = end;
            return;
          }
          yield* this.#gone(at, end, options);
        }
        this.offset = end;
      }
      if (position === 0) break;
    }
    this.#data = nothing;
    if (!whole) return;
    // The writer died before it wrote the index line of its last bytes, or the index is gone.
    const stat = fstatSync(this.open.log);
    const end = this.open.base + stat.size;
    at = Math.max(at, Math.floor(stat.mtimeMs));
    if (end <= this.offset) return;
    if (wanted('stdout', at)) yield* this.#bytes(at, marks.o, end, options);
    this.offset = end;
  }

  /** The writer indexes what is in the log already: it can only be longer than these lines say, and the index only grow. */
  #looksCut(idx: number, block: Buffer, filled: number): boolean {
    if (filled === 0) return fstatSync(idx).size < this.#idxOffset;
    const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
    let end = this.offset;
    for (let position = 0; parseIndexLine(block, position, filled, entry); position = entry.next) {
      if (entry.mark === marks.at) end = entry.value;
      else if (entry.mark === marks.o || entry.mark === marks.e) end += entry.value;
    }
    return end > this.open.base + fstatSync(this.open.log).size;
  }

  /** What a cut took from under a reader that has waited for it to be put right. */
  *#beyondCut(at: number, options: ChunkOptions): Generator<LogChunk> {
    if (this.#cutTo === null) return;
    yield* this.#gone(at, this.#cutTo, options);
    this.offset = this.#cutTo;
    this.#cutTo = null;
  }

  *#gone(at: number, end: number, options: ChunkOptions): Generator<LogChunk> {
    const { gaps = false, to = Infinity } = options;
    const bytes = Math.min(end, to) - this.offset;
    if (gaps && bytes > 0) yield gapOf(this.open, at, end, { bytes, why: 'gone' });
  }

  *#unwritten({ at, value: bytes }: IndexEntry, options: ChunkOptions): Generator<LogChunk> {
    const { gaps = false, from = 0, to = Infinity, since = -Infinity, until = Infinity } = options;
    if (!gaps || bytes === 0 || this.offset < from || this.offset > to || at < since || at > until) return;
    yield gapOf(this.open, at, this.offset, { bytes, why: 'unwritten' });
  }

  /** `false`: they are not all there. What was given out is behind `offset` then. */
  *#bytes(at: number, mark: number, end: number, options: ChunkOptions): Generator<LogChunk, boolean> {
    const { from = 0, to = Infinity, readSize = mostRead } = options;
    const { generation } = this.open.segment;
    const stream = streamOf(mark);
    const stop = Math.min(end, to);
    let offset = Math.max(this.offset, from);
    while (offset < stop) {
      const bytes = this.#read(offset - this.open.base, stop - offset, readSize);
      if (bytes.length === 0) {
        this.offset = offset;
        return false;
      }
      yield { at, stream, bytes, generation, offset };
      offset += bytes.length;
    }
    return true;
  }

  /** What is there at `position`, from a read buffer that is never written again once given away. */
  #read(position: number, length: number, most: number): Buffer {
    let inBuffer = position - this.#dataAt;
    if (inBuffer < 0 || inBuffer >= this.#data.length) {
      const size = Math.min(most, Math.max(length, firstReadSize, this.#data.length * 2));
      this.#data = readBytes(this.open.log, position, size);
      this.#dataAt = position;
      inBuffer = 0;
    }
    return this.#data.subarray(inBuffer, inBuffer + length);
  }
}

/** What is missing before `offset`. */
export const gapOf = ({ segment }: OpenSegment, at: number, offset: number, lost: Lost): LogChunk => ({
  at,
  stream: 'stdout',
  bytes: nothing,
  generation: segment.generation,
  offset,
  lost,
});

const streamOf = (mark: number): LogStream => (mark === marks.e ? 'stderr' : 'stdout');

const follows = (held: LogChunk, next: LogChunk): boolean =>
  held.stream === next.stream &&
  held.lost === undefined &&
  next.lost === undefined &&
  held.bytes.buffer === next.bytes.buffer &&
  held.offset + held.bytes.length === next.offset &&
  held.bytes.byteOffset + held.bytes.length === next.bytes.byteOffset;

/** Neighbours in one read buffer: nothing is copied. */
const joined = (held: LogChunk, next: LogChunk): LogChunk => ({
  ...held,
  bytes: Buffer.from(held.bytes.buffer, held.bytes.byteOffset, held.bytes.length + next.bytes.length),
});

const pick = ({ since = -Infinity, until = Infinity, streams = allStreams }: ChunkOptions) => {
  return (stream: LogStream, at: number): boolean => at >= since && at <= until && streams.includes(stream);
};

/** Where to begin in a segment: the last checkpoint before both the offset and the time wanted. */
export const startIn = (open: OpenSegment, options: ChunkOptions): { idxOffset: number; offset: number } => {
  const start = { idxOffset: 0, offset: open.base };
  if (open.idx === null) return start;
  const { from = 0, since = -Infinity } = options;
  let best = start;
  let low = 0;
  let high = fstatSync(open.idx).size;
  while (low < high) {
    const point = pointBefore(open.idx, Math.ceil((low + high) / 2));
    if (point.idxOffset === 0) {
      low = Math.ceil((low + high) / 2);
      continue;
    }
    if (point.offset <= from || point.at < since) {
      if (point.idxOffset > best.idxOffset) best = { idxOffset: point.idxOffset, offset: point.offset };
      low = Math.ceil((low + high) / 2);
    } else high = point.idxOffset;
    if (high - low < 1024) break;
  }
  return best;
};

/** The pieces of one run, from an offset or a time on, as they were written. */
export function* readChunks(directory: string, generation: number, options: ChunkOptions = {}): Generator<LogChunk> {
  const { from, to = Infinity } = options;
  let open = segmentAt(directory, generation, options.since === undefined ? (from ?? 0) : 0);
  let reached = options.since === undefined ? (from ?? null) : null;
  while (open !== null) {
    let next: OpenSegment | null;
    try {
      yield* missingBefore(open, reached, options);
      const finished = open.segment.number !== null || open.idx === null || isOlder(directory, generation);
      const reader = new SegmentReader(open, startIn(open, options));
      yield* reader.chunks(options, finished);
      next = segmentAfter(directory, open);
      // Rotated away while it was read: the rest of it first.
      if (next !== null && !finished) yield* reader.chunks(options, true);
      reached = reader.offset;
    } finally {
      closeSegment(open);
    }
    if (next !== null && next.base >= to) {
      closeSegment(next);
      return;
    }
    open = next;
  }
}

/** Dropped, or deleted by somebody, before it was read up to there. */
export function* missingBefore(open: OpenSegment, reached: number | null, options: ChunkOptions): Generator<LogChunk> {
  if (options.gaps !== true || reached === null || reached >= open.base) return;
  const at = Math.floor(fstatSync(open.log).mtimeMs);
  yield gapOf(open, at, open.base, { bytes: open.base - reached, why: 'gone' });
}

/** Its writer is gone: another run has begun since. */
export const isOlder = (directory: string, generation: number): boolean =>
  (listGenerations(directory).at(-1) ?? generation) > generation;
