/** Where workers' logs lie, for those who can read them; reading them for those who cannot; and forgetting them. */
import { renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkerdError } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { listSegments } from '../shared/log-file.ts';
import type { LogLine, Lost } from '../shared/log-lines.ts';
import { type LogPosition, parsePosition, startOf } from '../shared/log-position.ts';
import { type Places, workerLogDirectory } from '../shared/paths.ts';
import type { LogFile, LogsResult, Params } from '../shared/protocol.ts';
import type { LogEntry, LogGap } from '../shared/worker.ts';
import type { WorkerRecord } from './core/model.ts';
import { isOver } from './core/view.ts';
import { readPage, tailPosition } from './log-pages.ts';
import type { Logger } from './ports.ts';
import type { LogWish } from './subscription.ts';
import { nonce } from './system.ts';

const defaultTail = 100;
/** Bytes of entries in one answer; what is newer is asked for next, from the cursor. */
const maxPageBytes = limits.maxFrameBytes / 2;

export interface LogAnswer extends Pick<LogsResult, 'entries' | 'gaps'> {
  /** Where they end. */
  readonly position: LogPosition;
}

export class LogStore {
  readonly #places: Places;
  readonly #log: Logger;

  constructor(places: Places, log: Logger) {
    this.#places = places;
    this.#log = log;
  }

  /** Oldest first. */
  locate(name: string): readonly LogFile[] {
    return listSegments(this.#directory(name)).map(({ generation, logPath }) => ({ generation, path: logPath }));
  }

  /** The last generation that has a log: kept ones outlive their worker. */
  lastGeneration(name: string): number {
    return Math.max(0, ...listSegments(this.#directory(name)).map(({ generation }) => generation));
  }

  /**
   * Lines from the end of a run (default: the newest), or from where an earlier answer's cursor points to: then on
   * through the runs that followed, unless one was asked for. What does not fit is had by going on from the position.
   */
  read(worker: WorkerRecord, params: Params<'logs'>): LogAnswer {
    const { name } = worker;
    const directory = this.#directory(name);
    const cursor = params.cursor === undefined ? null : positionOf(params.cursor);
    const options = { ...this.#filter(params), follow: params.follow };
    const only = params.generation ?? (cursor === null ? worker.generation : null);
    if (cursor !== null && only !== null && cursor.generation !== only) {
      throw new WorkerdError('usage', `invalid params: cursor: is of run ${cursor.generation}, not of ${only}`, {
        member: 'cursor',
      });
    }
    if (cursor !== null && cursor.generation > worker.generation) {
      const runs = `${name} is at run ${worker.generation}`;
      throw new WorkerdError('usage', `invalid params: cursor: is of run ${cursor.generation}, and ${runs}`, {
        member: 'cursor',
      });
    }
    if (params.generation !== undefined && params.generation > worker.generation) {
      const words = `generation: ${name} has no run ${params.generation}; its newest is ${worker.generation}`;
      throw new WorkerdError('usage', `invalid params: ${words}`, { member: 'generation' });
    }
    let from = cursor ?? tailPosition(directory, only ?? 0, params.tail ?? defaultTail, options);
    const entries: LogEntry[] = [];
    const gaps: LogGap[] = [];
    let maxBytes = maxPageBytes;
    for (;;) {
      const newest = from.generation >= worker.generation;
      const over = !newest || isOver(worker);
      const page = readPage(directory, from, { ...options, follow: options.follow && !over, maxBytes });
      for (const line of page.lines) {
        if (line.lost === undefined) entries.push(entryOf(name, line));
        else gaps.push(gapOf(line, line.lost, entries.length));
        maxBytes -= line.line.length * 2 + 200;
      }
      if (newest || only !== null || !page.atEnd)
        return { entries, position: page.position, ...(gaps.length === 0 ? {} : { gaps }) };
      from = startOf(from.generation + 1);
    }
  }

  /** What a subscription is to bring of the logs. */
  wish(from: LogWish['from'], params?: Params<'logs'>): LogWish {
    const directoryOf = (name: string) => this.#directory(name);
    const { streams, since } = params === undefined ? {} : this.#filter(params);
    return { directoryOf, log: this.#log, from, streams, since };
  }

  #filter({ since, until, streams }: Params<'logs'>) {
    return {
      since: since === undefined ? undefined : Date.parse(since),
      until: until === undefined ? undefined : Date.parse(until),
      streams,
    };
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

const gapOf = ({ at, generation }: LogLine, { bytes }: Lost, before: number): LogGap => ({
  generation,
  at: new Date(at).toISOString(),
  bytes,
  before,
});

const positionOf = (cursor: string): LogPosition => {
  const position = parsePosition(cursor);
  if (position !== null) return position;
  throw new WorkerdError('usage', 'invalid params: cursor: must be one that `logs` gave', { member: 'cursor' });
};
