/** What a run writes from now on, pushed by the file system's own notices and going on through every rotation. */
import { DirectoryNotices } from './directory-notices.ts';
import type { LogStream } from './log-file.ts';
import {
  type ChunkOptions,
  LineAssembler,
  type LogBlock,
  type LogChunk,
  missingBefore,
  SegmentReader,
  startIn,
} from './log-reader.ts';
import { closeSegment, hasMoved, type OpenSegment, segmentAfter, segmentAt } from './log-segments.ts';

export interface FollowFrom {
  /** Offset in the run's output to go on from. */
  readonly from?: number;
  readonly since?: number | undefined;
  readonly streams?: readonly LogStream[] | undefined;
  readonly merge?: boolean;
  readonly readSize?: number;
  readonly gaps?: boolean;
}

/** Reads one run's output forward as far as it is there, again and again. The files need not exist yet. */
export class RunFollower {
  readonly #directory: string;
  readonly #generation: number;
  #options: FollowFrom & Pick<ChunkOptions, 'wary'>;
  #reader: SegmentReader | null = null;

  constructor(directory: string, generation: number, options: FollowFrom = {}) {
    this.#directory = directory;
    this.#generation = generation;
    this.#options = { ...options, wary: true };
  }

  /**
   * All that is there now and was not given out yet; to be read to its end before it is asked for again.
   * `ended`: nobody will write any more, nor put right what somebody else did to the files.
   */
  *read(ended = false): Generator<LogChunk> {
    const { since, from } = this.#options;
    if (this.#reader === null) {
      const open = segmentAt(this.#directory, this.#generation, since === undefined ? (from ?? 0) : 0);
      if (open === null) return;
      this.#reader = new SegmentReader(open, startIn(open, this.#options));
      yield* missingBefore(open, since === undefined ? (from ?? null) : null, this.#options);
    }
    for (;;) {
      const reader: SegmentReader = this.#reader;
      if (!reader.cut || !this.#takeNewIndex(reader)) {
        yield* reader.chunks(this.#options, ended);
      } else {
        yield* missingBefore(this.#reader.open, reader.offset, this.#options);
        continue;
      }
      if (!hasMoved(reader.open)) return;
      const next: OpenSegment | null = segmentAfter(this.#directory, reader.open);
      if (next === null) {
        if (!this.#takeNewIndex(reader)) return;
        yield* missingBefore(this.#reader.open, reader.offset, this.#options);
        continue;
      }
      // Written between the last look and the rotation.
      yield* reader.chunks(this.#options, true);
      closeSegment(reader.open);
      this.#reader = new SegmentReader(next, startIn(next, this.#options));
      yield* missingBefore(next, reader.offset, this.#options);
    }
  }

  /** Its writer made the index anew, as somebody had cut the log or taken the index away: on from the same offset. */
  #takeNewIndex(reader: SegmentReader): boolean {
    const open = segmentAt(this.#directory, this.#generation, Infinity);
    if (open === null) return false;
    if (open.ino !== reader.open.ino || open.idxIno === null || open.idxIno === reader.open.idxIno) {
      closeSegment(open);
      return false;
    }
    closeSegment(reader.open);
    this.#options = { ...this.#options, from: Math.max(this.#options.from ?? 0, reader.offset) };
    this.#reader = new SegmentReader(open, startIn(open, this.#options));
    return true;
  }

  close(): void {
    if (this.#reader !== null) closeSegment(this.#reader.open);
    this.#reader = null;
  }
}

export interface FollowOptions extends FollowFrom {
  /** Ends at once. */
  readonly signal: AbortSignal;
  /** The run has ended: what is there is still read, then it ends. */
  readonly ended?: AbortSignal;
}

const batchBytes = 256 * 1024;
const batchChunks = 1024;

/** What a run writes, as it comes; each batch is what was there to read. The files need not exist yet. */
export async function* followChunks(
  directory: string,
  generation: number,
  options: FollowOptions,
): AsyncGenerator<readonly LogChunk[]> {
  const { signal, ended } = options;
  const signals = ended === undefined ? [signal] : [signal, ended];
  const notices = new DirectoryNotices(directory, `${generation}.`, signals);
  const follower = new RunFollower(directory, generation, options);
  try {
    while (!signal.aborted) {
      const finishing = ended?.aborted === true;
      notices.clear();
      yield* batches(follower.read(finishing), signal);
      if (finishing) return;
      await notices.next();
    }
  } finally {
    follower.close();
    notices.close();
  }
}

function* batches(chunks: Iterable<LogChunk>, signal: AbortSignal): Generator<readonly LogChunk[]> {
  let batch: LogChunk[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    batch.push(chunk);
    bytes += chunk.bytes.length;
    if (bytes < batchBytes && batch.length < batchChunks) continue;
    yield batch;
    if (signal.aborted) return;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

/** As `followChunks`, in lines; unfinished ones are held until they are, or until the run has ended. */
export async function* followBlocks(
  directory: string,
  generation: number,
  options: FollowOptions & { readonly unfinished?: LineAssembler },
): AsyncGenerator<readonly LogBlock[]> {
  const assembler = options.unfinished ?? new LineAssembler();
  for await (const chunks of followChunks(directory, generation, options)) {
    const blocks = chunks.flatMap((chunk) => [...assembler.pushBlocks(chunk)]);
    if (blocks.length > 0) yield blocks;
  }
  const rest = [...assembler.flushBlocks()];
  if (rest.length > 0 && !options.signal.aborted) yield rest;
}
