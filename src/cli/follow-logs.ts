/** `logs -f`: the last lines, then what is written from now on, of this run and of those that follow it. */

import { followBlocks, followChunks } from '../shared/log-follow.ts';
import { type LogBlock, linesIn } from '../shared/log-lines.ts';
import { tailLines } from '../shared/tail.ts';
import { asBlock, type LogQuery, matches } from './commands/logs.ts';
import type { Context } from './context.ts';
import { explainDenied, RunTracker } from './log-source.ts';
import type { LogPrinter } from './render/log.ts';

interface Source {
  readonly name: string;
  readonly directory: string;
  readonly generation: number;
}

/** Ends when all the runs it follows have: a named run, or a worker that was removed. Otherwise with Ctrl-C. */
export const followLogs = async (
  context: Context,
  sources: readonly Source[],
  query: LogQuery,
  printer: LogPrinter,
): Promise<number> => {
  const done = new AbortController();
  const signal = AbortSignal.any([context.signal, done.signal]);
  try {
    await Promise.all(sources.map((source) => followOne(context, source, { query, printer, signal })));
    context.signal.throwIfAborted();
    return 0;
  } finally {
    done.abort();
  }
};

interface Following {
  readonly query: LogQuery;
  readonly printer: LogPrinter;
  readonly signal: AbortSignal;
}

const followOne = async (context: Context, source: Source, { query, printer, signal }: Following): Promise<void> => {
  const { name, directory } = source;
  const client = await context.client();
  const tracker = new RunTracker();
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  tracker.follow(client, name, signal).catch((error: unknown) => {
    lost.reject(error);
    tracker.finish();
  });
  const show = (blocks: Iterable<LogBlock>) => {
    if (query.grep === null) for (const block of blocks) printer.print(name, block);
    else for (const line of linesIn(blocks)) if (matches(line, query.grep)) printer.print(name, asBlock(line));
    printer.flush();
  };
  const { streams, since } = query;
  const raw = query.format === 'raw' && query.grep === null;
  try {
    // A worker that has not run yet: its first run is the one to follow.
    let generation: number | null = source.generation === 0 ? 1 : source.generation;
    const tail = tailLines(directory, query.count, { generation, since, streams, follow: true });
    show(tail.lines.map(asBlock));
    let from = tail.cursor?.offset ?? 0;
    let unfinished: typeof tail.unfinished | undefined = tail.unfinished;
    if (raw) show(tail.unfinished.flushBlocks());
    for (let first = true; generation !== null; first = false) {
      if (!first) printer.mark(name, generation);
      const options = { from, streams, signal, ended: tracker.ended(generation) };
      if (raw) {
        for await (const chunks of followChunks(directory, generation, { ...options, merge: true })) {
          for (const { bytes } of chunks) context.io.stdout.write(bytes);
        }
      } else {
        const own = unfinished === undefined ? {} : { unfinished };
        for await (const blocks of followBlocks(directory, generation, { ...options, ...own })) show(blocks);
      }
      generation = query.generation === null ? await tracker.after(generation, signal) : null;
      from = 0;
      unfinished = undefined;
    }
    // Ended because the daemon went away: that is no end of the run.
    if (!signal.aborted) await Promise.race([lost.promise, Promise.resolve()]);
  } catch (error) {
    throw explainDenied(error, name);
  }
};
