/** The end of a worker's log: its last lines, found from the back without reading the whole. */
import { fstatSync } from 'node:fs';
import { lookBehindBytes, notDropped } from './log-blocks.ts';
import {
  type IndexEntry,
  type IndexPoint,
  indexEnd,
  type LogCursor,
  type LogStream,
  listGenerations,
  marks,
  parseIndexLine,
  pointBefore,
  readBytes,
} from './log-file.ts';
import { isGapAt } from './log-lines.ts';
import { isOlder, LineAssembler, type LogLine, maxLineBytes, readChunks } from './log-reader.ts';
import { closeSegment, type OpenSegment, segmentAt } from './log-segments.ts';

export interface TailOptions {
  /** `undefined`: back through earlier runs, too. */
  readonly generation?: number | undefined;
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly streams?: readonly LogStream[] | undefined;
  /** Unfinished lines stay in `unfinished`, for `followLines` to go on with. */
  readonly follow?: boolean;
  /** With what is missing among the lines, which does not count as one. */
  readonly gaps?: boolean | undefined;
}

export interface TailPage {
  /** Oldest first. */
  readonly lines: readonly LogLine[];
  /** Where the reading ended; `null` where there is no log. */
  readonly cursor: LogCursor | null;
  readonly unfinished: LineAssembler;
}

/** The last `count` lines. */
export const tailLines = (directory: string, count: number, options: TailOptions = {}): TailPage => {
  const generations = options.generation === undefined ? listGenerations(directory) : [options.generation];
  const { since = -Infinity } = options;
  let lines: readonly LogLine[] = [];
  let kept = 0;
  let cursor: LogCursor | null = null;
  let unfinished = new LineAssembler();
  for (const generation of generations.toReversed()) {
    const end = runEnd(directory, generation);
    if (end === null) continue;
    const from = Number.isFinite(count)
      ? countBack(directory, generation, { ...options, count: count - kept, end })
      : 0;
    const assembler = new LineAssembler();
    const last = new LastLines(count - kept);
    const wanted = { ...options, since: undefined, from: from > 0 ? from : undefined, to: end };
    for (const chunk of readChunks(directory, generation, wanted)) {
      if (options.follow === true && isGapAt(chunk, end)) continue;
      for (const line of assembler.push(chunk)) if (line.at >= since) last.add(line);
    }
    if (cursor === null && options.follow === true) unfinished = assembler;
    else for (const line of assembler.flush()) if (line.at >= since) last.add(line);
    cursor ??= { generation, offset: end };
    lines = [...last.take(), ...lines];
    kept += last.count;
    if (kept >= count) break;
  }
  return { lines, cursor, unfinished };
};

/** The last of the lines that are added; gaps between them come with them, and do not count. */
export class LastLines {
  readonly #most: number;
  #lines: LogLine[] = [];
  #gaps = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get count(): number {
    return this.#lines.length - this.#gaps;
  }

  add(line: LogLine): void {
    this.#lines.push(line);
    if (line.lost !== undefined) this.#gaps += 1;
    if (this.#lines.length > 4096 && this.#lines.length > 2 * this.#most) this.#cut();
  }

  take(): readonly LogLine[] {
    this.#cut();
    return this.#lines;
  }

  #cut(): void {
    let start = this.#lines.length;
    for (let count = 0; start > 0; start -= 1) {
      if (this.#lines[start - 1]?.lost !== undefined) continue;
      if (count === this.#most) break;
      count += 1;
    }
    this.#lines = this.#lines.slice(start);
    this.#gaps = this.#lines.reduce((sum, { lost }) => sum + (lost === undefined ? 0 : 1), 0);
  }
}

/** From where on the last `count` lines of a run can be put together, with some before them; and up to where. */
export const tailStart = (
  directory: string,
  generation: number,
  count: number,
  options: TailOptions,
): { readonly from: number; readonly end: number } | null => {
  const end = runEnd(directory, generation);
  return end === null ? null : { from: countBack(directory, generation, { ...options, count, end }), end };
};

/** Offset up to which a run's log can be read now. */
export const runEnd = (directory: string, generation: number): number | null => {
  const open = segmentAt(directory, generation, Infinity);
  if (open === null) return null;
  try {
    const indexed = open.idx === null ? open.base : indexEnd(open.idx, open.base).offset;
    return isWhole(open, directory) ? Math.max(indexed, open.base + fstatSync(open.log).size) : indexed;
  } finally {
    closeSegment(open);
  }
};

/** What its index does not account for belongs to it, too: no writer is about to index it. */
const isWhole = ({ segment, idx }: OpenSegment, directory: string): boolean =>
  segment.number !== null || idx === null || isOlder(directory, segment.generation);

interface BackOptions extends TailOptions {
  readonly count: number;
  readonly end: number;
}

/** How far beyond the lines wanted it is looked for what a stream that pauses had begun. */
const extraBytes = 256 * 1024;
/** The same, where no line is wanted but what is unfinished. */
const extraBytesForNone = 16 * 1024;

/** An offset from which on the last `count` lines can be put together. */
const countBack = (directory: string, generation: number, options: BackOptions): number => {
  const counter = new LineCounter(options);
  let open = segmentAt(directory, generation, options.end);
  while (open !== null) {
    const { base } = open;
    try {
      const found = countSegmentBack(open, counter, options);
      if (found !== null) return found < base ? notDropped(directory, generation, found) : found;
    } finally {
      closeSegment(open);
    }
    if (base === 0) return 0;
    open = segmentAt(directory, generation, base - 1);
    if (open !== null && open.base >= base) {
      closeSegment(open);
      return base;
    }
  }
  return 0;
};

interface Piece {
  readonly stream: LogStream;
  readonly at: number;
  readonly start: number;
  readonly end: number;
}

/** `null`: there are not enough in this segment. */
const countSegmentBack = (open: OpenSegment, counter: LineCounter, options: BackOptions): number | null => {
  const size = fstatSync(open.log).size;
  const { idxBytes, offset } = open.idx === null ? { idxBytes: 0, offset: open.base } : indexEnd(open.idx, open.base);
  const window = new BackWindow(open);
  const end = Math.min(open.base + size, options.end);
  if (offset < end) {
    const rest = { stream: 'stdout', at: fstatSync(open.log).mtimeMs, start: offset, end } as const;
    const found = countPieces([rest], window, counter, options);
    if (found !== null) return found;
  }
  for (let before = idxBytes; open.idx !== null && before > 0; ) {
    const point = pointBefore(open.idx, before);
    const pieces = piecesOf(open, readBytes(open.idx, point.idxOffset, before - point.idxOffset), point);
    const found = countPieces(pieces, window, counter, options);
    if (found !== null) return found;
    before = point.idxOffset;
  }
  return null;
};

const piecesOf = ({ base }: OpenSegment, block: Buffer, point: IndexPoint): readonly Piece[] => {
  const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
  const pieces: Piece[] = [];
  let offset = point.idxOffset === 0 ? base : point.offset;
  for (let position = 0; parseIndexLine(block, position, block.length, entry); position = entry.next) {
    if (entry.mark === marks.at) offset = entry.value;
    if (entry.mark !== marks.o && entry.mark !== marks.e) continue;
    const stream = entry.mark === marks.o ? 'stdout' : 'stderr';
    pieces.push({ stream, at: entry.at, start: offset, end: offset + entry.value });
    offset += entry.value;
  }
  return pieces;
};

const countPieces = (
  pieces: readonly Piece[],
  window: BackWindow,
  counter: LineCounter,
  options: BackOptions,
): number | null => {
  for (const piece of pieces.toReversed()) {
    // A line that ended since then may have begun before.
    if (piece.at < (options.since ?? -Infinity)) return piece.end - lookBehindBytes;
    if (piece.at > (options.until ?? Infinity) || options.streams?.includes(piece.stream) === false) continue;
    for (let end = Math.min(piece.end, options.end); end > piece.start; ) {
      const bytes = window.ending(end, Math.min(end - piece.start, maxLineBytes));
      if (bytes.length === 0) break;
      end -= bytes.length;
      if (counter.add(piece.stream, bytes)) return end;
    }
  }
  return null;
};

/** Reads a log from the back, in large pieces. */
class BackWindow {
  readonly #open: OpenSegment;
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(open: OpenSegment) {
    this.#open = open;
  }

  /** The `length` bytes before `end`, or fewer. */
  ending(end: number, length: number): Buffer {
    if (end - length < this.#start || end > this.#start + this.#bytes.length) {
      const size = Math.min(end - this.#open.base, Math.max(length, 256 * 1024));
      this.#start = end - size;
      this.#bytes = readBytes(this.#open.log, this.#start - this.#open.base, size);
    }
    return this.#bytes.subarray(Math.max(0, end - length - this.#start), end - this.#start);
  }
}

/** Counts lines from the back, until enough are whole: also those of a stream that pauses within a line. */
class LineCounter {
  readonly #count: number;
  readonly #wanted: number;
  readonly #streams = new Map<LogStream, { earliest: number; pending: number }>();
  #lines = 0;
  #extra = 0;

  constructor({ count, streams }: BackOptions) {
    this.#count = count;
    this.#wanted = new Set(streams ?? ['stdout', 'stderr']).size;
  }

  /** `true`: far enough. */
  add(stream: LogStream, bytes: Buffer): boolean {
    let own = this.#streams.get(stream);
    if (own === undefined) {
      own = { earliest: 0, pending: 0 };
      this.#streams.set(stream, own);
    }
    let end = bytes.length;
    while (end > 0) {
      const newline = bytes.lastIndexOf(0x0a, end - 1);
      own.pending += end - 1 - Math.max(newline, -1);
      if (newline === -1 && own.pending < maxLineBytes) break;
      this.#lines += 1;
      own.earliest = this.#lines;
      own.pending = 0;
      end = newline;
    }
    if (this.#lines <= this.#count) return false;
    this.#extra += bytes.length;
    if (this.#extra > (this.#count === 0 ? extraBytesForNone : extraBytes)) return true;
    return (
      this.#streams.size === this.#wanted && [...this.#streams.values()].every(({ earliest }) => earliest > this.#count)
    );
  }
}
