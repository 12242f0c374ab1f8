/** Where workers' logs lie, for those who can read them; reading them for those who cannot; and forgetting them. */
import { renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkerdError } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { type LogCursor, listSegments } from '../shared/log-file.ts';
import { LineAssembler, type LogLine, readChunks } from '../shared/log-reader.ts';
import { type Places, workerLogDirectory } from '../shared/paths.ts';
import type { LogFile, LogsResult, Params } from '../shared/protocol.ts';
import { tailLines } from '../shared/tail.ts';
import type { LogEntry } from '../shared/worker.ts';
import type { WorkerRecord } from './core/model.ts';
import { nonce } from './system.ts';

const defaultTail = 100;
/** Bytes of entries in one answer; what is older (of a tail) or newer (from a cursor) is asked for next. */
const maxPageBytes = limits.maxFrameBytes / 2;

export class LogStore {
  readonly #places: Places;

  constructor(places: Places) {
    this.#places = places;
  }

  /** Oldest first. */
  locate(name: string): readonly LogFile[] {
    return listSegments(this.#directory(name)).map(({ generation, logPath }) => ({ generation, path: logPath }));
  }

  /** The last generation that has a log: kept ones outlive their worker. */
  lastGeneration(name: string): number {
    return Math.max(0, ...listSegments(this.#directory(name)).map(({ generation }) => generation));
  }

  /** Lines from the end of a run (default: the newest), or from where an earlier answer's cursor points to. */
  read(worker: WorkerRecord, params: Params<'logs'>): LogsResult {
    const { name } = worker;
    const times = {
      since: params.since === undefined ? undefined : Date.parse(params.since),
      until: params.until === undefined ? undefined : Date.parse(params.until),
      streams: params.streams,
    };
    if (params.cursor !== undefined) return this.#readOn(name, parseCursor(params.cursor), times);
    const generation = params.generation ?? worker.generation;
    const { lines, cursor } = tailLines(this.#directory(name), params.tail ?? defaultTail, { ...times, generation });
    let bytes = 0;
    let first = lines.length;
    while (first > 0) {
      bytes += entryBytes(lines[first - 1]);
      if (bytes > maxPageBytes) break;
      first -= 1;
    }
    return {
      entries: lines.slice(first).map((line) => entryOf(name, line)),
      cursor: formatCursor(cursor ?? { generation, offset: 0 }),
    };
  }

  #readOn(
    name: string,
    cursor: LogCursor,
    times: { since: number | undefined; until: number | undefined; streams: Params<'logs'>['streams'] },
  ): LogsResult {
    const { generation } = cursor;
    const assembler = new LineAssembler();
    const entries: LogEntry[] = [];
    let { offset } = cursor;
    let bytes = 0;
    for (const chunk of readChunks(this.#directory(name), generation, { ...times, from: offset })) {
      for (const line of assembler.push(chunk)) entries.push(entryOf(name, line));
      bytes += chunk.bytes.length * 2;
      offset = chunk.offset + chunk.bytes.length;
      if (bytes > maxPageBytes) break;
    }
    for (const line of assembler.flush()) entries.push(entryOf(name, line));
    return { entries, cursor: formatCursor({ generation, offset }) };
  }

  /** `upTo`: only these generations, as newer ones are somebody else's; `null`: all there is. */
  async remove(name: string, upTo: number | null): Promise<void> {
    if (upTo !== null) {
      const old = listSegments(this.#directory(name)).filter(({ generation }) => generation <= upTo);
      await Promise.all(
        old.flatMap(({ logPath, idxPath }) => [rm(logPath, { force: true }), rm(idxPath, { force: true })]),
      );
      return;
    }
    // Aside at once: a worker of that name may be started anew while these are being deleted. No name begins so.
    const aside = join(this.#places.logs, `.removed-${nonce(6)}`);
    try {
      renameSync(this.#directory(name), aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(aside, { recursive: true, force: true });
  }

  #directory(name: string): string {
    return workerLogDirectory(this.#places, name);
  }
}

const entryOf = (name: string, { at, stream, line, partial, generation }: LogLine): LogEntry => ({
  name,
  generation,
  at: new Date(at).toISOString(),
  stream,
  line: line.toString('utf8'),
  partial,
});

const entryBytes = (line: LogLine | undefined): number => (line === undefined ? 0 : line.line.length * 2 + 200);

/** (generation, offset): outlives rotation, the run and the daemon. */
const formatCursor = ({ generation, offset }: LogCursor): string => `${generation}:${offset}`;
const parseCursor = (text: string): LogCursor => {
  const match = /^(\d{1,15}):(\d{1,15})$/.exec(text);
  if (match === null) {
    throw new WorkerdError('usage', 'invalid params: cursor: must be one that `logs` gave', { member: 'cursor' });
  }
  return { generation: Number(match[1]), offset: Number(match[2]) };
};
