/**
 * A place in a worker's log between two lines: a run, and how far each stream of it has been given out. The streams
 * share one file, so a line of one may end while one of the other is unfinished: then its offset lags behind.
 */
import type { LogStream } from './log-file.ts';
import type { LineAssembler, LogChunk, LogLine } from './log-lines.ts';

export interface LogPosition {
  readonly generation: number;
  /** Offsets in the run's output. */
  readonly stdout: number;
  readonly stderr: number;
}

/** `GENERATION:OFFSET`, with a second offset where stderr's is another. Outlives rotation, the run and the daemon. */
export const formatPosition = ({ generation, stdout, stderr }: LogPosition): string =>
  stdout === stderr ? `${generation}:${stdout}` : `${generation}:${stdout}:${stderr}`;

export const parsePosition = (text: string): LogPosition | null => {
  const match = /^(\d{1,15}):(\d{1,15})(?::(\d{1,15}))?$/.exec(text);
  if (match === null) return null;
  const stdout = Number(match[2]);
  return { generation: Number(match[1]), stdout, stderr: match[3] === undefined ? stdout : Number(match[3]) };
};

export const startOf = (generation: number): LogPosition => ({ generation, stdout: 0, stderr: 0 });

/** Where reading has to begin so that nothing after the position is missed. */
export const offsetOf = ({ stdout, stderr }: LogPosition): number => Math.min(stdout, stderr);

/** What of a chunk lies after the position; `null`: nothing. */
export const partAfter = (position: LogPosition, chunk: LogChunk): LogChunk | null => {
  const skip = position[chunk.stream] - chunk.offset;
  if (skip <= 0) return chunk;
  if (skip >= chunk.bytes.length) return null;
  return { ...chunk, bytes: chunk.bytes.subarray(skip), offset: chunk.offset + skip };
};

/** The place after a line that the assembler has just given out. */
export const positionAfter = ({ generation, stream, end }: LogLine, assembler: LineAssembler): LogPosition => {
  const other: LogStream = stream === 'stdout' ? 'stderr' : 'stdout';
  const otherOffset = assembler.unfinishedFrom(other) ?? end;
  return stream === 'stdout'
    ? { generation, stdout: end, stderr: otherOffset }
    : { generation, stdout: otherOffset, stderr: end };
};
