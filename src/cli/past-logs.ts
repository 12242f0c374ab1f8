/** What a worker has written so far, of what is wanted of it: the last lines, those that match, or all. */

import { type LineOptions, readBlocks } from '../shared/log-blocks.ts';
import { LineAssembler, type LogBlock, type LogLine, linesIn } from '../shared/log-lines.ts';
import { LastLines, runEnd, tailLines, tailStart } from '../shared/tail.ts';
import type { LogQuery } from './commands/logs.ts';
import { explainDenied } from './log-source.ts';

export interface Source {
  readonly name: string;
  readonly directory: string;
  /** 0: it has not run yet. */
  readonly generation: number;
}

export interface Past {
  readonly name: string;
  /** In order. */
  readonly blocks: Iterable<LogBlock>;
  /** Up to where they go: from there on it is to be followed. */
  readonly end: number | undefined;
  /** Where it is followed, once they are taken: the lines that had no end yet. */
  readonly unfinished: LineAssembler;
}

/** More lines than these are not held, but read twice: memory is bounded whatever is asked for. */
const mostHeld = 10_000;
/** For the read buffers of all logs that are read at once. */
const bufferBytes = 32 * 1024 * 1024;

/** `together`: of how many workers they are read at once. */
export const pastOf = (source: Source, query: LogQuery, together: number): Past => {
  const { name, directory, generation } = source;
  const { count, grep, since, until, streams, follow } = query;
  const unfinished = new LineAssembler();
  if (generation === 0) return { name, blocks: [], end: undefined, unfinished };
  try {
    if (grep === null && count <= mostHeld) {
      const page = tailLines(directory, count, { generation, since, until, streams, follow, gaps: true });
      return { name, blocks: page.lines.map(asBlock), end: page.cursor?.offset, unfinished: page.unfinished };
    }
    const end = runEnd(directory, generation) ?? undefined;
    return { name, blocks: blocksOf(source, query, { together, end, unfinished }), end, unfinished };
  } catch (error) {
    throw explainDenied(error, name);
  }
};

interface Reading extends Pick<Past, 'end' | 'unfinished'> {
  readonly together: number;
}

/** Read as they are taken. */
function* blocksOf({ name, directory, generation }: Source, query: LogQuery, reading: Reading): Generator<LogBlock> {
  const { count, grep, since, until, streams, follow, timestamps, format } = query;
  const { together, end, unfinished } = reading;
  const options: LineOptions = {
    generation,
    since,
    until,
    streams,
    gaps: true,
    // Neighbours in time are one block where nobody asks when each was written.
    merge: together === 1 && !timestamps && (format === 'plain' || format === 'raw'),
    readSize: Math.max(64 * 1024, Math.floor(bufferBytes / together)),
    ...(follow ? { to: end, unfinished } : {}),
  };
  try {
    if (grep !== null && (count <= mostHeld || !Number.isFinite(count)))
      for (const line of lastMatching(readBlocks(directory, options), grep, count)) yield asBlock(line);
    else if (!Number.isFinite(count)) yield* readBlocks(directory, options);
    else {
      const from = grep === null ? tailStart(directory, generation, count, options)?.from : undefined;
      const read = (more: Pick<LineOptions, 'unfinished'>) =>
        readBlocks(directory, { ...options, from, to: end, ...more });
      yield* lastOf(read, query);
    }
  } catch (error) {
    throw explainDenied(error, name);
  }
}

const newline = Buffer.from('\n');

/** A line by itself, as it is printed. */
export const asBlock = ({ line, ...block }: LogLine): LogBlock => ({
  ...block,
  bytes: block.partial ? line : Buffer.concat([line, newline]),
});

/** A gap is no line, and is shown whatever is looked for. */
export const matches = ({ line, lost }: LogLine, grep: RegExp | null): boolean =>
  grep === null || lost !== undefined || grep.test(line.toString('utf8'));

function* lastMatching(blocks: Iterable<LogBlock>, grep: RegExp, count: number): Generator<LogLine> {
  const last = new LastLines(count);
  for (const line of linesIn(blocks)) {
    if (!matches(line, grep)) continue;
    if (Number.isFinite(count)) last.add(line);
    else yield line;
  }
  yield* last.take();
}

/** Read once to count them, and again to skip all but the last. */
function* lastOf(
  read: (more: Pick<LineOptions, 'unfinished'>) => Iterable<LogBlock>,
  { count, grep, follow }: LogQuery,
): Generator<LogBlock> {
  let skip = -count;
  for (const line of linesIn(read(follow ? { unfinished: new LineAssembler() } : {}))) {
    if (line.lost === undefined && matches(line, grep)) skip += 1;
  }
  for (const block of read({})) {
    if (skip <= 0 && grep === null) {
      yield block;
      continue;
    }
    for (const line of linesIn([block])) {
      if (!matches(line, grep)) continue;
      if (skip > 0 && line.lost === undefined) skip -= 1;
      else if (skip <= 0) yield asBlock(line);
    }
  }
}
