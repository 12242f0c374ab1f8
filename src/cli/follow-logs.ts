/** `logs -f`: the last lines, then what is written from now on, of this run and of those that follow it. */
import { followBlocks, followChunks } from '../shared/log-follow.ts';
import { type LineAssembler, type LogBlock, linesIn } from '../shared/log-lines.ts';
import { inOrder, type LogQuery } from './commands/logs.ts';
import type { Context } from './context.ts';
import { BrokenPipe } from './io.ts';
import { explainDenied, RunTracker, trackRuns } from './log-source.ts';
import { asBlock, matches, type Past, pastOf, type Source } from './past-logs.ts';
import type { LogPrinter } from './render/log.ts';

/** Ends when all the runs it follows have: a named run, or a worker that was removed. Otherwise with Ctrl-C. */
export const followLogs = async (
  context: Context,
  sources: readonly Source[],
  query: LogQuery,
  printer: LogPrinter,
): Promise<number> => {
  const done = new AbortController();
  const signal = AbortSignal.any([context.signal, done.signal]);
  const readerLeft = Promise.withResolvers<never>();
  readerLeft.promise.catch(() => {});
  const lookNoMore = context.io.stdout.onAbandoned(() => readerLeft.reject(new BrokenPipe()));
  try {
    const trackers = new Map(sources.map(({ name }) => [name, new RunTracker()]));
    const lost = trackRuns(await context.client(), trackers, signal);
    const pasts = sources.map((source) => pastOf(source, query, sources.length));
    const show = makeShow(query, printer);
    for (const { name, block } of inOrder(pasts)) printer.print(name, block);
    printer.flush();
    const following = sources.map(async (source, index) => {
      const tracker = trackers.get(source.name) as RunTracker;
      await followOne(context, source, { query, printer, signal, tracker, show, past: pasts[index] as Past });
    });
    await Promise.race([Promise.all(following), readerLeft.promise]);
    context.signal.throwIfAborted();
    // Ended because the daemon went away: that is no end of the runs.
    await Promise.race([lost, Promise.resolve()]);
    return 0;
  } finally {
    lookNoMore();
    done.abort();
  }
};

type Show = (name: string, blocks: Iterable<LogBlock>) => void;

const makeShow =
  ({ grep }: LogQuery, printer: LogPrinter): Show =>
  (name, blocks) => {
    if (grep === null) for (const block of blocks) printer.print(name, block);
    else for (const line of linesIn(blocks)) if (matches(line, grep)) printer.print(name, asBlock(line));
    printer.flush();
  };

interface Following {
  readonly query: LogQuery;
  readonly printer: LogPrinter;
  readonly signal: AbortSignal;
  readonly tracker: RunTracker;
  readonly show: Show;
  readonly past: Past;
}

const followOne = async (context: Context, { name, directory, generation: newest }: Source, following: Following) => {
  const { query, printer, signal, tracker, show, past } = following;
  const { streams } = query;
  const raw = query.format === 'raw' && query.grep === null;
  try {
    // A worker that has not run yet: its first run is the one to follow.
    let generation: number | null = newest === 0 ? 1 : newest;
    let from = past.end;
    let unfinished: LineAssembler | undefined = past.unfinished;
    if (raw) show(name, past.unfinished.flushBlocks());
    for (let first = true; generation !== null; first = false) {
      if (!first) printer.mark(name, generation);
      const options = { from: from ?? 0, streams, signal, ended: tracker.ended(generation), gaps: true };
      if (raw) {
        for await (const chunks of followChunks(directory, generation, { ...options, merge: true })) {
          for (const { at, bytes, lost, generation } of chunks) {
            if (lost === undefined) context.io.stdout.write(bytes);
            else printer.gap(name, { generation, at, lost });
          }
        }
      } else {
        const own = unfinished === undefined ? {} : { unfinished };
        for await (const blocks of followBlocks(directory, generation, { ...options, ...own })) show(name, blocks);
      }
      generation = query.generation === null ? await tracker.after(generation, signal) : null;
      from = 0;
      unfinished = undefined;
    }
  } catch (error) {
    throw explainDenied(error, name);
  }
};
