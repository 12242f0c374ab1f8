/** Lines of one worker's log, a page at a time: from the end of a run, or from where an earlier page ended. */

import { inWholeLines } from '../shared/log-blocks.ts';
import type { LogStream } from '../shared/log-file.ts';
import { LineAssembler, type LogLine } from '../shared/log-lines.ts';
import { type LogPosition, offsetOf, partAfter, positionAfter, startOf } from '../shared/log-position.ts';
import { readChunks } from '../shared/log-reader.ts';
import { tailStart } from '../shared/tail.ts';

export interface PageOptions {
  /** Milliseconds since the epoch. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly streams?: readonly LogStream[] | undefined;
  /** Unfinished last lines are left to whoever goes on from the position. */
  readonly follow: boolean;
}

export interface LogPage {
  readonly lines: readonly LogLine[];
  /** Where they end. */
  readonly position: LogPosition;
  /** There was no more to read in this run. */
  readonly atEnd: boolean;
}

/** From where on there are just the last `count` lines of a run. */
export const tailPosition = (
  directory: string,
  generation: number,
  count: number,
  options: PageOptions,
): LogPosition => {
  const start = tailStart(directory, generation, count, options);
  if (start === null) return startOf(generation);
  const { from, end } = start;
  // A ring of the places after the last lines: as many as may turn out to come before the ones wanted.
  const places = new Float64Array(2 * (count + 1));
  const assembler = new LineAssembler();
  let seen = 0;
  const note = ({ stdout, stderr }: Pick<LogPosition, 'stdout' | 'stderr'>) => {
    places.set([stdout, stderr], 2 * (seen % (count + 1)));
    seen += 1;
  };
  const { since = -Infinity } = options;
  for (const chunk of readChunks(directory, generation, { ...options, since: undefined, from, to: end })) {
    for (const line of assembler.push(chunk)) if (line.at >= since) note(positionAfter(line, assembler));
  }
  const unfinished = options.follow ? [] : [...assembler.flush()].filter(({ at }) => at >= since);
  const before = Math.min(seen, seen + unfinished.length - count);
  if (before <= 0) return { generation, stdout: from, stderr: from };
  const at = 2 * ((before - 1) % (count + 1));
  return { generation, stdout: places[at] ?? 0, stderr: places[at + 1] ?? 0 };
};

/** What follows a position in its run, up to `maxBytes` of lines. */
export const readPage = (
  directory: string,
  from: LogPosition,
  options: PageOptions & { readonly maxBytes: number },
): LogPage => {
  const { generation } = from;
  const assembler = new LineAssembler();
  const lines: LogLine[] = [];
  let position = from;
  let end = offsetOf(from);
  let bytes = 0;
  const { since = -Infinity } = options;
  for (const chunk of readChunks(
    directory,
    generation,
    inWholeLines(directory, generation, { ...options, from: end, gaps: true }),
  )) {
    const part = partAfter(from, chunk);
    end = Math.max(end, chunk.offset + chunk.bytes.length);
    if (part === null) continue;
    for (const line of assembler.push(part)) {
      if (line.at < since) continue;
      lines.push(line);
      position = positionAfter(line, assembler);
      bytes += lineBytes(line);
      if (bytes >= options.maxBytes) return { lines, position, atEnd: false };
    }
  }
  if (!options.follow) lines.push(...[...assembler.flush()].filter(({ at }) => at >= since));
  const stdout = Math.max(from.stdout, assembler.unfinishedFrom('stdout') ?? end);
  const stderr = Math.max(from.stderr, assembler.unfinishedFrom('stderr') ?? end);
  return { lines, position: { generation, stdout, stderr }, atEnd: true };
};

/** In an answer: a character may take six bytes as JSON. */
const lineBytes = ({ line }: LogLine): number => line.length * 2 + 200;
