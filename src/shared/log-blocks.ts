/** A worker's log in lines: of one run or of all, whole ones also where only those since a time are wanted. */
import { type IndexEntry, listGenerations, marks, parseIndexLine, readBytes } from './log-file.ts';
import { isGapAt, LineAssembler, type LogBlock, type LogLine, linesIn, maxLineBytes } from './log-lines.ts';
import { type ChunkOptions, readChunks, startIn } from './log-reader.ts';
import { closeSegment, type OpenSegment, segmentAt } from './log-segments.ts';

export interface LineOptions extends ChunkOptions {
  /** `undefined`: all runs, oldest first. */
  readonly generation?: number | undefined;
  /** Unfinished last lines stay in it, for whoever follows the run from there. */
  readonly unfinished?: LineAssembler;
}

const idxReadSize = 32 * 1024;

/** Lines of one run or of all, oldest first; the unfinished last ones of a run marked `partial`. */
export const readLines = (directory: string, options: LineOptions = {}): Generator<LogLine> =>
  linesIn(readBlocks(directory, options));

/** As `readLines`, lines that lie together as one. */
export function* readBlocks(directory: string, options: LineOptions = {}): Generator<LogBlock> {
  const generations = options.generation === undefined ? listGenerations(directory) : [options.generation];
  for (const generation of generations) {
    const { since = -Infinity, unfinished } = options;
    const assembler = unfinished ?? new LineAssembler();
    for (const chunk of readChunks(directory, generation, inWholeLines(directory, generation, options))) {
      if (unfinished !== undefined && isGapAt(chunk, options.to ?? Infinity)) continue;
      for (const block of assembler.pushBlocks(chunk)) if (block.at >= since) yield block;
    }
    if (unfinished !== undefined) continue;
    for (const block of assembler.flushBlocks()) if (block.at >= since) yield block;
  }
}

/** How far before a time the lines may have begun that ended after it. */
export const lookBehindBytes = 2 * maxLineBytes;

/** An offset, or the first that is still there: what was dropped before a time is not missing to who asks since then. */
export const notDropped = (directory: string, generation: number, offset: number): number => {
  const open = segmentAt(directory, generation, offset);
  if (open === null) return Math.max(0, offset);
  closeSegment(open);
  return Math.max(offset, open.base);
};

/**
 * For lines since a time: from where they may begin, and no time. Those that ended before it are for the caller to leave
 * out; by pieces alone the first would lose what of it was written earlier.
 */
export const inWholeLines = <T extends ChunkOptions>(directory: string, generation: number, options: T): T => {
  const { since, from = 0 } = options;
  if (since === undefined) return options;
  const begun = offsetSince(directory, generation, since) - lookBehindBytes;
  const start = Math.max(from, notDropped(directory, generation, begun));
  return { ...options, since: undefined, from: start > 0 ? start : options.from };
};

/** Of the first byte that came at that time or later; the end, where none has. */
const offsetSince = (directory: string, generation: number, since: number): number => {
  let found: number | null = null;
  let open = segmentAt(directory, generation, Infinity);
  while (open !== null) {
    const { base } = open;
    let first: number | null;
    try {
      first = firstSince(open, since);
    } finally {
      closeSegment(open);
    }
    if (first === null) return found ?? Infinity;
    found = first;
    if (first > base || base === 0) return found;
    open = segmentAt(directory, generation, base - 1);
    if (open !== null && open.base >= base) {
      closeSegment(open);
      return found;
    }
  }
  return found ?? 0;
};

/** Where in a segment the first piece begins that came at that time or later; `null`: none did. */
const firstSince = (open: OpenSegment, since: number): number | null => {
  if (open.idx === null) return open.base;
  let { idxOffset, offset } = startIn(open, { since });
  const entry: IndexEntry = { at: 0, mark: 0, value: 0, next: 0 };
  for (;;) {
    const block = readBytes(open.idx, idxOffset, idxReadSize);
    let position = 0;
    while (parseIndexLine(block, position, block.length, entry)) {
      position = entry.next;
      if (entry.mark === marks.at) offset = entry.value;
      if (entry.mark !== marks.o && entry.mark !== marks.e) continue;
      if (entry.at >= since) return offset;
      offset += entry.value;
    }
    if (position === 0) return null;
    idxOffset += position;
  }
};
