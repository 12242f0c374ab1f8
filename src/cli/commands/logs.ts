/** `workerctl logs`: what workers wrote, read from their files at disk speed. */
import { WorkerdError } from '../../shared/errors.ts';
import { type LogStream, listSegments } from '../../shared/log-file.ts';
import { type LogBlock, readChunks } from '../../shared/log-reader.ts';
import type { WorkerView } from '../../shared/worker.ts';
import type { Args } from '../args.ts';
import type { Context } from '../context.ts';
import { explainDenied, logDirectory } from '../log-source.ts';
import { allWorkers, checkNames } from '../names.ts';
import { type Past, pastOf, type Source } from '../past-logs.ts';
import { type LogFormat, LogPrinter } from '../render/log.ts';
import type { Verb } from '../run.ts';
import { parseChoice, parseCount, parseTime, quoted, usage } from '../values.ts';

export const logs: Verb = {
  spec: {
    usage: '[options] [NAME...]',
    summary: 'Show what workers wrote to stdout and stderr.',
    details:
      'Without names those of all workers. Control characters are shown as \\u{..}, so that no log steers your terminal; --raw gives the bytes as written.',
    options: [
      { flags: '-f, --follow', text: 'go on with what is written from now on, through restarts' },
      { flags: '-n, --lines <count>', text: 'the last lines, or all (default: 100)' },
      { flags: '--since <when>', text: 'a duration ago (5m) or an RFC 3339 time' },
      { flags: '--until <when>', text: 'a duration ago (5m) or an RFC 3339 time' },
      { flags: '-t, --timestamps', text: 'with the time of each line' },
      { flags: '--stdout', text: 'only what went to stdout' },
      { flags: '--stderr', text: 'only what went to stderr' },
      { flags: '--grep <regexp>', text: 'only lines that match' },
      { flags: '--run <generation>', text: 'of this run (default: the newest)' },
      { flags: '--format <format>', text: 'plain, raw, cri or json (default: plain)' },
      { flags: '--raw', text: 'the bytes as written (--format raw)' },
    ],
    examples: [
      ['workerctl logs web', 'the last 100 lines of its newest run'],
      ['workerctl logs -f web db', 'both as they come, each line with its name'],
      ['workerctl logs web --since 10m --stderr --grep "timeout|refused"', 'what went wrong lately'],
      ['workerctl logs web -n all --raw > web.log', 'everything, byte for byte'],
    ],
    minOperands: 0,
    maxOperands: 1000,
  },
  run: (context, args) => showLogs(context, args),
};

export interface LogQuery {
  readonly follow: boolean;
  readonly count: number;
  readonly since: number | undefined;
  readonly until: number | undefined;
  readonly streams: readonly LogStream[] | undefined;
  readonly grep: RegExp | null;
  readonly generation: number | null;
  readonly format: LogFormat;
  readonly timestamps: boolean;
}

const readQuery = (context: Context, args: Args): LogQuery => {
  const now = context.now();
  const lines = args.value('lines');
  const since = args.value('since');
  const until = args.value('until');
  const run = args.value('run');
  const only: readonly LogStream[] = (['stdout', 'stderr'] as const).filter((stream) => args.flag(stream));
  const query: LogQuery = {
    follow: args.flag('follow'),
    count: lines === undefined ? 100 : lines === 'all' ? Infinity : parseCount(lines, '-n', 0, 1_000_000_000),
    since: since === undefined ? undefined : parseTime(since, '--since', now),
    until: until === undefined ? undefined : parseTime(until, '--until', now),
    streams: only.length === 1 ? only : undefined,
    grep: readPattern(args.value('grep')),
    generation: run === undefined ? null : parseCount(run, '--run', 1, 1e14),
    format: readFormat(context, args),
    timestamps: args.flag('timestamps'),
  };
  if (query.follow && query.until !== undefined) throw usage('-f and --until exclude each other');
  return query;
};

const readPattern = (text: string | undefined): RegExp | null => {
  if (text === undefined) return null;
  try {
    return new RegExp(text, 'u');
  } catch (error) {
    throw usage(
      `--grep: ${quoted(text)} is not a regular expression: ${(error as Error).message.replace(/^.*: /, '')}`,
    );
  }
};

const readFormat = (context: Context, args: Args): LogFormat => {
  const named = args.value('format');
  const asked = new Set<LogFormat>([
    ...(named === undefined ? [] : [parseChoice<LogFormat>(named, '--format', ['plain', 'raw', 'cri', 'json'])]),
    ...(args.flag('raw') ? (['raw'] as const) : []),
    ...(context.json ? (['json'] as const) : []),
  ]);
  if (asked.size > 1) throw usage(`one format at a time, not ${[...asked].join(' and ')}`);
  return [...asked][0] ?? 'plain';
};

const showLogs = async (context: Context, args: Args): Promise<number> => {
  const query = readQuery(context, args);
  checkNames(args.operands);
  const views = await allWorkers(context, args.operands.length === 0 ? {} : { names: args.operands });
  const sources = await Promise.all(views.map((view) => sourceOf(context, view, query)));
  const printer = new LogPrinter(context, { names: sources.map(({ name }) => name), ...query });
  if (query.follow) {
    const { followLogs } = await import('../follow-logs.ts');
    return followLogs(context, sources, query, printer);
  }
  for (const [index, { name, directory, generation }] of sources.entries()) {
    if (generation === 0) {
      if (!context.json) context.note(`${name} has not run yet`);
    } else if (isGone(name, directory, generation)) {
      const why = isBeginning(views[index], generation)
        ? 'it is being started'
        : 'it did not start, or its log was rotated away or deleted';
      context.note(`${name}'s run ${generation} has no log: ${why}`);
    }
  }
  const first = sources.length === 1 ? sources[0] : undefined;
  if (first !== undefined && query.format === 'raw' && query.count === Infinity && query.grep === null) {
    copyBytes(context, first, query, printer);
    return 0;
  }
  try {
    const logs = sources.map((source) => pastOf(source, query, sources.length));
    for (const { name, block } of inOrder(logs)) printer.print(name, block);
  } finally {
    printer.flush();
  }
  return 0;
};

const isBeginning = (view: WorkerView | undefined, generation: number): boolean =>
  view?.phase === 'starting' && view.generation === generation;

/** Every run that started has a log, be it empty. */
const isGone = (name: string, directory: string, generation: number): boolean => {
  try {
    return listSegments(directory, generation).length === 0;
  } catch (error) {
    throw explainDenied(error, name);
  }
};

const sourceOf = async (context: Context, view: WorkerView, query: LogQuery): Promise<Source> => {
  const generation = query.generation ?? view.generation;
  if (generation > view.generation) {
    throw new WorkerdError('usage', `${view.name} has no run ${generation}; its newest is ${view.generation}`);
  }
  return { name: view.name, directory: await logDirectory(context, view.name), generation };
};

const copyBytes = (
  context: Context,
  { name, directory, generation }: Source,
  { since, until, streams }: LogQuery,
  printer: LogPrinter,
): void => {
  try {
    const options = { since, until, streams, merge: true, gaps: true };
    for (const { at, bytes, lost } of readChunks(directory, generation, options)) {
      if (lost === undefined) context.io.stdout.write(bytes);
      else printer.gap(name, { generation, at, lost });
    }
  } catch (error) {
    throw explainDenied(error, name);
  }
};

/** Several logs as one, by time; those of one worker stay in their order. */
export function* inOrder(
  sources: readonly Pick<Past, 'name' | 'blocks'>[],
): Generator<{ readonly name: string; readonly block: LogBlock }> {
  const heads = sources.map(({ name, blocks }) => {
    const iterator = blocks[Symbol.iterator]();
    return { name, iterator, next: iterator.next() };
  });
  for (;;) {
    let first: (typeof heads)[number] | null = null;
    for (const head of heads) {
      if (head.next.done === true) continue;
      if (first === null || first.next.done === true || head.next.value.at < first.next.value.at) first = head;
    }
    if (first === null || first.next.done === true) return;
    yield { name: first.name, block: first.next.value };
    first.next = first.iterator.next();
  }
}
