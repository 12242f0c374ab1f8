/**
 * The format of a worker's log: names, segments, and the index beside each. Written by the shim alone, read by anyone.
 *
 * `<generation>.log` is what the run wrote, as it wrote it; `<generation>.idx` says in lines of text what came when:
 *   `<ms> o|e <length>`  a piece of stdout or stderr, that many bytes further in the log
 *   `<ms> @ <offset>`    here stands this offset of the run's whole output; first in every later segment, then now and
 *                        then, so that one can start reading in the middle
 *   `<ms> ! <bytes>`     so many bytes could not be written here
 * A segment that is full becomes `<generation>.<n>.log` and `.idx`, n rising.
 */
import { fstatSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

export type LogStream = 'stdout' | 'stderr';

/** A place in a worker's log; outlives rotation, the daemon and the run. */
export interface LogCursor {
  readonly generation: number;
  /** Bytes from the start of the run's output. */
  readonly offset: number;
}

export interface Segment {
  readonly generation: number;
  /** `null`: the one being written. */
  readonly number: number | null;
  readonly logPath: string;
  readonly idxPath: string;
}

export type IndexMark = 'o' | 'e' | '@' | '!';

export const indexLine = (at: number, mark: IndexMark, value: number): string => `${at} ${mark} ${value}\n`;

/** The writer puts an `@` line at least this often, in bytes of index. */
export const checkpointBytes = 16 * 1024;

export const segmentPaths = (directory: string, generation: number, number: number | null) => {
  const stem = join(directory, number === null ? `${generation}` : `${generation}.${number}`);
  return { logPath: `${stem}.log`, idxPath: `${stem}.idx` };
};

const segmentName = /^(\d{1,15})(?:\.(\d{1,15}))?\.log$/;

/** The segments of a worker's log, oldest first; none where there is no such directory. */
export const listSegments = (directory: string, generation?: number): readonly Segment[] => {
  const found: Segment[] = [];
  for (const name of namesIn(directory)) {
    const match = segmentName.exec(name);
    if (match === null) continue;
    const own = Number(match[1]);
    if (generation !== undefined && own !== generation) continue;
    const number = match[2] === undefined ? null : Number(match[2]);
    found.push({ generation: own, number, ...segmentPaths(directory, own, number) });
  }
  return found.sort((a, b) => a.generation - b.generation || (a.number ?? Infinity) - (b.number ?? Infinity));
};

/** The runs of which there is a log, oldest first. */
export const listGenerations = (directory: string): readonly number[] => [
  ...new Set(listSegments(directory).map((segment) => segment.generation)),
];

/** Of regular files: whoever opened a FIFO that somebody put there would wait for its writer. */
const namesIn = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
};

export const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '');

export interface IndexEntry {
  at: number;
  /** A character code: `o`, `e`, `@` or `!`; 0 for a line that is none of ours. */
  mark: number;
  value: number;
  /** Where the next line starts in the block. */
  next: number;
}

export const marks = { o: 0x6f, e: 0x65, at: 0x40, dropped: 0x21 } as const;

/** Reads the index line at `start` of a block into `into`; `false` where the block does not hold it whole. */
export const parseIndexLine = (block: Buffer, start: number, end: number, into: IndexEntry): boolean => {
  let position = start;
  let at = 0;
  let mark = 0;
  let value = 0;
  let field = 0;
  for (; position < end; position += 1) {
    const byte = block[position] as number;
    if (byte === 0x0a) {
      into.at = at;
      into.mark = field === 2 ? mark : 0;
      into.value = value;
      into.next = position + 1;
      return true;
    }
    if (byte === 0x20) field += 1;
    else if (field === 1) mark = byte;
    else if (byte < 0x30 || byte > 0x39) field = 3;
    else if (field === 0) at = at * 10 + byte - 0x30;
    else value = value * 10 + byte - 0x30;
  }
  return false;
};

/** Reads what there is, up to `length` bytes. */
export const readBytes = (descriptor: number, position: number, length: number): Buffer => {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const count = readSync(descriptor, buffer, filled, length - filled, position + filled);
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
};

/** A place in an index of which the offset in the run's output is known. */
export interface IndexPoint {
  readonly idxOffset: number;
  readonly offset: number;
  readonly at: number;
}

/** Offset of a segment's first byte in the run's output, where its index says so: that of a run's first does not. */
export const statedBase = (idx: number): number | null => {
  const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
  const block = readBytes(idx, 0, 64);
  return parseIndexLine(block, 0, block.length, entry) && entry.mark === marks.at ? entry.value : null;
};

/** The last known place before byte `before` of an index. */
export const pointBefore = (idx: number, before: number): IndexPoint => {
  const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
  for (let reach = checkpointBytes + 1024; ; reach *= 2) {
    const start = Math.max(0, before - reach);
    const block = readBytes(idx, start, before - start);
    let point: IndexPoint | null = null;
    // Found from the back: nothing but such a mark has that character in it.
    for (
      let mark = block.lastIndexOf(marks.at);
      mark > 0 && point === null;
      mark = block.lastIndexOf(marks.at, mark - 1)
    ) {
      const position = block.lastIndexOf(0x0a, mark) + 1;
      // The first line of a block that does not start the file is most likely half a line.
      if (position === 0 && start > 0) break;
      if (parseIndexLine(block, position, block.length, entry) && entry.mark === marks.at) {
        point = { idxOffset: start + position, offset: entry.value, at: entry.at };
      }
    }
    if (point !== null) return point;
    if (start === 0) {
      const first = parseIndexLine(block, 0, block.length, entry) ? entry.at : 0;
      return { idxOffset: 0, offset: 0, at: first };
    }
  }
};

export interface IndexEnd {
  readonly base: number;
  /** Offset in the run's output up to which the index accounts for the log. */
  readonly offset: number;
  /** Of the newest line; 0: there is none. */
  readonly at: number;
  /** Bytes of whole lines. */
  readonly idxBytes: number;
}

/** `guess`: the offset of the segment's first byte, where its index does not state it. */
export const indexEnd = (idx: number, guess = 0): IndexEnd => {
  const size = fstatSync(idx).size;
  const point = pointBefore(idx, size);
  const block = readBytes(idx, point.idxOffset, size - point.idxOffset);
  const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
  const base = statedBase(idx) ?? guess;
  let position = 0;
  let offset = point.idxOffset === 0 ? base : point.offset;
  while (parseIndexLine(block, position, block.length, entry)) {
    if (entry.mark === marks.at) offset = entry.value;
    else if (entry.mark === marks.o || entry.mark === marks.e) offset += entry.value;
    position = entry.next;
  }
  return { base, offset, at: entry.at, idxBytes: point.idxOffset + position };
};
