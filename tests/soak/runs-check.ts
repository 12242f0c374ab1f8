/** Of every run that is over: its ending has a cause, its log is what it wrote, its last state is there. */
import { join } from 'node:path';
import type { Exit, RunView } from '../../src/shared/worker.ts';
import type { Books, Cause } from './books.ts';
import { compareLog, type OwnFiles, type OwnRun } from './own-files.ts';

const same = (left: Exit, right: Exit): boolean => {
  if (left.kind !== right.kind) return false;
  if (left.kind === 'code' && right.kind === 'code') return left.code === right.code;
  if (left.kind === 'error' && right.kind === 'error') return left.message === right.message;
  return true;
};

/** What a cause may have made of a run. */
const isBy = (exit: Exit, { kind, signal }: Cause, worker: string): boolean => {
  switch (kind) {
    case 'kill':
      return exit.kind === 'signal' && exit.signal === 'SIGKILL';
    case 'signal':
      return exit.kind === 'signal' && exit.signal === signal;
    case 'host-kill':
      return worker === 'thread' && exit.kind === 'lost' && exit.reason === 'thread host died';
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
  { name, history, kindOf, published, aliveGeneration, dropsLogs }: Checked,
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
    if (generation === aliveGeneration || files.isDone(id)) continue;
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
    const { fault, lines } = compareLog(own, join(logs, name), killed, dropsLogs);
    books.count('lines compared', lines);
    books.count('runs compared');
    if (fault !== null) books.problem(`${id}: the log: ${fault} (${JSON.stringify(run.exit)}, ended ${run.endedAt})`);
    checkState(id, run, own, killed, published.get(run.generation), books);
    onRun(own, run);
  }
};

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
  const causes = books.causesOf(name, own?.run ?? null, Date.parse(run.endedAt));
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
  const right = killed ? number === last || number === before || (isLost && number <= last) : number === last;
  if (!right) books.problem(`${id}: its last state is ${number}, it published ${last} (${JSON.stringify(run.exit)})`);
  if (told !== undefined && !(typeof state['told'] === 'number' && state['told'] >= told)) {
    books.problem(`${id}: published through the daemon: ${told}; its state says ${JSON.stringify(state['told'])}`);
  }
  const result = run.result as { n?: number } | null;
  const lines = own.lines.stdout.length + own.lines.stderr.length;
  if (run.exit?.kind === 'returned' && own.end?.kind === 'returned' && result?.n !== lines) {
    books.problem(`${id}: returned ${JSON.stringify(result)} after ${lines} lines`);
  }
};
