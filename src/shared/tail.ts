/** The end of a worker's log: its last lines, found from the back without reading the whole. */
import { fstatSync } from 'node:fs';
import {
  closeSegment,
  type IndexEntry,
  indexEnd,
  type LogCursor,
  type LogStream,
  listGenerations,
  marks,
  type OpenSegment,
  parseIndexLine,
  pointBefore,
  readBytes,
} from './log-file.ts';
import { LineAssembler, type LogLine, maxLineBytes, readChunks, segmentAt } from './log-reader.ts';

export interface TailOptions {
  /** `undefined`: back through earlier runs, too. */
  readonly generation?: number | undefined;
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly streams?: readonly LogStream[] | undefined;
  /** Unfinished lines stay in `unfinished`, for `followLines` to go on with. */
  readonly follow?: boolean;
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
  let lines: readonly LogLine[] = [];
  let cursor: LogCursor | null = null;
  let unfinished = new LineAssembler();
  for (const generation of generations.toReversed()) {
    const end = runEnd(directory, generation);
    if (end === null) continue;
    const from = Number.isFinite(count)
      ? countBack(directory, generation, { ...options, count: count - lines.length, end })
      : 0;
    const assembler = new LineAssembler();
    const found: LogLine[] = [];
    const keep = (line: LogLine) => {
      found.push(line);
      if (found.length > 4096 && found.length > 2 * count) found.splice(0, found.length - count);
    };
    for (const chunk of readChunks(directory, generation, { ...options, from, to: end })) {
      for (const line of assembler.push(chunk)) keep(line);
    }
    if (cursor === null && options.follow === true) unfinished = assembler;
    else for (const line of assembler.flush()) keep(line);
    cursor ??= { generation, offset: end };
    lines = [...found.slice(Math.max(0, found.length - (count - lines.length))), ...lines];
    if (lines.length >= count) break;
  }
  return { lines, cursor, unfinished };
};

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
    return open.idx === null ? open.base + fstatSync(open.log).size : indexEnd(open.idx).offset;
  } finally {
    closeSegment(open);
  }
};

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
      const found = open.idx === null ? base : countSegmentBack(open, open.idx, counter, options);
      if (found !== null) return found;
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

const countSegmentBack = (
  open: OpenSegment,
  idx: number,
  counter: LineCounter,
  options: BackOptions,
): number | null => {
  const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
  let before = indexEnd(idx).idxBytes;
  while (before > 0) {
    const point = pointBefore(idx, before);
    const block = readBytes(idx, point.idxOffset, before - point.idxOffset);
    const pieces: { stream: LogStream; at: number; start: number; end: number }[] = [];
    let offset = open.base > 0 && point.idxOffset === 0 ? open.base : point.offset;
    for (let position = 0; parseIndexLine(block, position, block.length, entry); position = entry.next) {
      if (entry.mark === marks.at) offset = entry.value;
      if (entry.mark !== marks.o && entry.mark !== marks.e) continue;
      const stream = entry.mark === marks.o ? 'stdout' : 'stderr';
      pieces.push({ stream, at: entry.at, start: offset, end: Math.min(offset + entry.value, options.end) });
      offset += entry.value;
    }
    const window = new BackWindow(open);
    for (const piece of pieces.toReversed()) {
      if (piece.at < (options.since ?? -Infinity)) return piece.end;
      if (piece.at > (options.until ?? Infinity) || options.streams?.includes(piece.stream) === false) continue;
      for (let end = piece.end; end > piece.start; ) {
        const bytes = window.ending(end, Math.min(end - piece.start, maxLineBytes));
        if (bytes.length === 0) break;
        end -= bytes.length;
        if (counter.add(piece.stream, bytes)) return end;
      }
    }
    before = point.idxOffset;
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
