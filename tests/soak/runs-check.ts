/** Of every run that is over: its ending has a cause, its log is what it wrote, its last state is there. */
import { join } from 'node:path';
import { listGenerations } from '../../src/shared/log-file.ts';
import type { Exit, RunView } from '../../src/shared/worker.ts';
import type { Books, Cause, ShimKill } from './books.ts';
import { gapFault } from './gapped-log.ts';
import { compareLog, type OwnFiles, type OwnRun, readLog } from './own-files.ts';

const same = (left: Exit, right: Exit): boolean => {
  if (left.kind !== right.kind) return false;
  if (left.kind === 'code' && right.kind === 'code') return left.code === right.code;
  if (left.kind === 'error' && right.kind === 'error') return left.message === right.message;
  return true;
};

const startLost = 'the shim died while starting it';
const hostLost = 'thread host died';
const shimLost = 'the shim died';

/** What a cause may have made of a run. */
const isBy = (exit: Exit, { kind, signal }: Cause, worker: string): boolean => {
  switch (kind) {
    case 'kill':
      return exit.kind === 'signal' && exit.signal === 'SIGKILL';
    case 'signal':
      return exit.kind === 'signal' && exit.signal === signal;
    case 'host-kill':
      return worker === 'thread' && exit.kind === 'lost' && exit.reason === hostLost;
    case 'shim-kill':
      return exit.kind === 'lost' && (exit.reason === startLost || (worker === 'thread' && exit.reason === hostLost));
    case 'stop':
      if (worker === 'thread') return exit.kind === 'terminated' || exit.kind === 'returned';
      // Asked before it had set its trap, or its module been called.
      return (
        exit.kind === 'returned' || (exit.kind === 'signal' && (exit.signal === 'SIGTERM' || exit.signal === 'SIGKILL'))
      );
    default:
      return kind satisfies never;
  }
};

export interface RunsCheckOptions {
  readonly books: Books;
  readonly files: OwnFiles;
  readonly logs: string;
}

export interface Checked {
  readonly name: string;
  /** Generation of the worker when it was looked at. */
  readonly newest: number;
  readonly history: readonly RunView[];
  readonly kindOf: (own: OwnRun | null) => string;
  /** Newest number published through the daemon, by generation. */
  readonly published: ReadonlyMap<number, number>;
  /** Its newest run may still be alive. */
  readonly aliveGeneration: number | null;
  /** Its log is so small that whole runs may be gone from it, oldest first. */
  readonly dropsLogs: boolean;
}

/** Compares the runs of one worker; `follow` hears of each that was compared whole. */
export const checkRuns = (
  { name, newest, history, kindOf, published, aliveGeneration, dropsLogs }: Checked,
  { books, files, logs }: RunsCheckOptions,
  onRun: (own: OwnRun, run: RunView) => void = () => {},
): void => {
  const owns = new Map(files.runs(name).map((run) => [Number(run.split('.').at(-2)), run]));
  const generations = history.map(({ generation }) => generation);
  if (new Set(generations).size !== generations.length) books.problem(`${name}: a generation twice: ${generations}`);
  if (generations.some((generation, index) => index > 0 && generation >= (generations[index - 1] ?? 0))) {
    books.problem(`${name}: generations do not rise: ${generations}`);
  }
  for (const [generation, id] of owns) {
    // Its policy may have started it since it was looked at.
    if (generation === aliveGeneration || generation > newest || files.isDone(id)) continue;
    if (!generations.includes(generation) && generations.length < 100) {
      books.problem(`${name}: run ${id} wrote, but its history has ${JSON.stringify(generations)}`);
      files.done(id);
    }
  }
  for (const run of history) {
    const id = owns.get(run.generation);
    if (run.generation === aliveGeneration || (id !== undefined && files.isDone(id))) continue;
    if (id === undefined) {
      checkEnding(name, run, null, 'unknown', books);
      continue;
    }
    const own = files.read(id);
    files.done(id);
    const killed = checkEnding(name, run, own, kindOf(own), books);
    // It may live on, as leftovers; nobody reads what it writes.
    if (run.exit?.kind === 'lost' && run.exit.reason === startLost) continue;
    const kills = shimKillsUnder(run, books);
    const { fault, lines } =
      kills.length === 0
        ? compareLog(own, join(logs, name), killed, dropsLogs)
        : compareGapped(own, join(logs, name), kills.length, dropsLogs);
    books.count('lines compared', lines);
    books.count('runs compared');
    if (kills.length > 0) books.count('runs compared whose shim was killed');
    if (fault !== null) books.problem(`${id}: the log: ${fault} (${JSON.stringify(run.exit)}, ended ${run.endedAt})`);
    checkState(id, run, own, killed, published.get(run.generation), books);
    if (kills.length === 0) onRun(own, run);
  }
};

/** Kills of the shim that it lived through, or that came between its end and the telling of it. */
const shimKillsUnder = (run: RunView, books: Books): readonly ShimKill[] =>
  run.endedAt === null ? [] : books.shimKills(Date.parse(run.startedAt ?? run.endedAt), Date.parse(run.endedAt));

const compareGapped = (own: OwnRun, directory: string, kills: number, dropsRuns: boolean) => {
  const log = readLog(directory, own.generation);
  if (dropsRuns && own.generation < (listGenerations(directory)[0] ?? 0)) return { fault: null, lines: 0 };
  const lines = log.stdout.split('\n').length + log.stderr.split('\n').length - 2;
  return { fault: gapFault(own, log, kills), lines };
};

/** So soon after a kill a run may have ended before the next shim read on. */
const lateKillMs = 5000;

const seen = new WeakMap<Books, Set<string>>();

/** True: it did not get to say how it would end. */
const checkEnding = (name: string, run: RunView, own: OwnRun | null, kind: string, books: Books): boolean => {
  const what = `${name} ${run.generation}`;
  const key = `${what} ${run.startedAt}`;
  const said = seen.get(books) ?? new Set();
  seen.set(books, said);
  if (run.exit === null || run.endedAt === null) {
    books.problem(`${what}: is over, and nobody knows how: ${JSON.stringify(run)}`);
    return true;
  }
  const { exit } = run;
  const killed = own === null || own.end === null;
  if (own?.end != null && same(own.end, exit)) return false;
  // What a thread said itself went with the shim that had read it; its host said that it has left.
  const kills = shimKillsUnder(run, books);
  const isLeft = exit.kind === 'code' && exit.code === (own?.end?.kind === 'error' ? 1 : 0);
  if (isLeft && own?.end != null && kills.some(({ toMs }) => Date.parse(run.endedAt ?? '') - toMs < lateKillMs))
    return true;
  const causes = books.causesOf(name, own?.run ?? null, Date.parse(run.endedAt));
  // An end that nobody saw: it lived when its shim was killed, and it had a cause like any other.
  if (exit.kind === 'lost' && exit.reason === shimLost && shimKillsUnder(run, books).length > 0) {
    books.count('endings that nobody saw');
    if (own?.end != null || causes.some((cause) => cause.kind !== 'shim-kill' && cause.kind !== 'host-kill'))
      return true;
  }
  const blamed = causes.some((cause) =>
    ['command', 'process', 'thread'].some((each) => (kind === 'unknown' || kind === each) && isBy(exit, cause, each)),
  );
  // Killed between saying how it would end, and ending.
  if (!blamed && !said.has(key)) {
    said.add(key);
    const shown = causes.map((cause) => cause.kind).join(', ') || 'nothing';
    const wrote = own === null ? 'it wrote nothing' : `it said ${JSON.stringify(own.end)}`;
    books.problem(
      `${what} (${kind}): ended by ${JSON.stringify(exit)} at ${run.endedAt}; ${wrote}; what was done to it: ${shown}`,
    );
  }
  return killed || blamed;
};

const checkState = (
  id: string,
  run: RunView,
  own: OwnRun,
  killed: boolean,
  told: number | undefined,
  books: Books,
): void => {
  const state = run.state ?? {};
  const number = typeof state['n'] === 'number' ? state['n'] : 0;
  const [last = 0, before = 0] = own.published.toReversed();
  const isLost = run.exit?.kind === 'lost' || run.exit?.kind === 'terminated';
  // A kill may come between its writing down and its telling; what a thread told may go down with its host.
  const kills = shimKillsUnder(run, books);
  // What the dead shim had read, and not passed on, is missing where nothing was published after it.
  const lateKill = kills.some(({ toMs }) => Date.parse(run.endedAt ?? '') - toMs < lateKillMs);
  const right =
    killed || lateKill
      ? number === last || number === before || ((isLost || lateKill) && number <= last)
      : number === last;
  if (!right) books.problem(`${id}: its last state is ${number}, it published ${last} (${JSON.stringify(run.exit)})`);
  const maybeLost = kills.some(({ both }) => both);
  if (told !== undefined && !maybeLost && !(typeof state['told'] === 'number' && state['told'] >= told)) {
    books.problem(`${id}: published through the daemon: ${told}; its state says ${JSON.stringify(state['told'])}`);
  }
  const result = run.result as { n?: number } | null;
  const lines = own.lines.stdout.length + own.lines.stderr.length;
  if (run.exit?.kind === 'returned' && own.end?.kind === 'returned' && result?.n !== lines) {
    books.problem(`${id}: returned ${JSON.stringify(result)} after ${lines} lines`);
  }
};
