/**
 * `workerctl`, from argv to exit code. The only place where what is thrown becomes text and a code. Verbs are loaded
 * when asked for, and only the asked one.
 */
import { WorkerdError } from '../shared/errors.ts';
import { type Args, type FoundVerb, findVerb, readPlain, type VerbSpec } from './args.ts';
import { Context, reportError, styleOf } from './context.ts';
import { BrokenPipe, type Io } from './io.ts';
import { makeStyle } from './render/style.ts';
import { nearest, usage } from './values.ts';

export interface Verb {
  readonly spec: VerbSpec;
  readonly run: (context: Context, args: Args) => Promise<number>;
}

const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  start: async () => (await import('./commands/start.ts')).start,
  run: async () => (await import('./commands/run.ts')).run,
  stop: async () => (await import('./commands/stop.ts')).stop,
  restart: async () => (await import('./commands/restart.ts')).restart,
  status: async () => (await import('./commands/status.ts')).status,
  watch: async () => (await import('./commands/watch.ts')).watch,
  logs: async () => (await import('./commands/logs.ts')).logs,
  wait: async () => (await import('./commands/wait.ts')).wait,
  signal: async () => (await import('./commands/signal.ts')).signal,
  send: async () => (await import('./commands/send.ts')).send,
  publish: async () => (await import('./commands/publish.ts')).publish,
  enable: async () => (await import('./commands/enable.ts')).enable,
  disable: async () => (await import('./commands/enable.ts')).disable,
  rm: async () => (await import('./commands/rm.ts')).rm,
  history: async () => (await import('./commands/history.ts')).history,
  rpc: async () => (await import('./commands/rpc.ts')).rpc,
  doctor: async () => (await import('./commands/doctor.ts')).doctor,
  daemon: async () => (await import('./commands/daemon.ts')).daemon,
};
const aliases: Readonly<Record<string, string>> = { ls: 'status', ps: 'status' };

const interruptedCode = 130;

type Report = Parameters<typeof reportError>[0];

export const run = async (argv: readonly string[], io: Io): Promise<number> => {
  let report: Report = {
    io,
    json: asksForJson(argv),
    errorStyle: makeStyle({ colours: false, unicode: true }),
  };
  const interrupt = new AbortController();
  const ignore = io.onSignal('SIGINT', () => interrupt.abort(new Interrupted()));
  try {
    const found = findVerb(argv);
    if (found.verb === 'help') return await showHelp(io, found.after[0] ?? null);
    if (found.verb === null && found.help) return await showHelp(io, null);
    if (found.verb === null && found.version) return await showVersion(io);
    const name = canonical(found.verb ?? 'status');
    const verb = await load(name);
    report = { ...report, verb: name };
    const args = await readArgs(name, verb.spec, found);
    const context = new Context({ io, verb: name, args, signal: interrupt.signal });
    report = context;
    try {
      return await verb.run(context, args);
    } finally {
      void context.close();
    }
  } catch (error) {
    if (error instanceof Error && error.name === 'HelpAsked' && 'verb' in error) {
      return await showHelp(io, String(error.verb));
    }
    return outcomeOf(error, report, interrupt.signal);
  } finally {
    ignore();
  }
};

/** Ctrl-C, as the reason of the signal that all waiting takes. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

const canonical = (verb: string): string => (Object.hasOwn(aliases, verb) ? (aliases[verb] ?? verb) : verb);

const load = async (name: string): Promise<Verb> => {
  const loader = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (loader !== undefined) return loader();
  const near = nearest(name, [...Object.keys(verbs), ...Object.keys(aliases), 'help']);
  const hint = near === null ? 'See: workerctl --help' : `Did you mean ${near}?`;
  throw usage(`there is no command ${JSON.stringify(name)}. ${hint}`, near === null ? {} : { nearest: near });
};

const readArgs = async (name: string, spec: VerbSpec, { before, after }: FoundVerb): Promise<Args> => {
  const words = spec.passesOn ? before : [...before, ...after];
  const args = readPlain(words, spec) ?? (await import('./command-line.ts')).parseLine(name, spec, words);
  // What the CLI itself does by itself is nothing that the other program knows of.
  return spec.passesOn
    ? args.passingOn(
        before.filter((word) => word !== '--no-autostart'),
        after,
      )
    : args;
};

const outcomeOf = (error: unknown, report: Report, signal: AbortSignal): number => {
  if (error instanceof BrokenPipe) return 0;
  if (error instanceof Interrupted || signal.aborted) return interruptedCode;
  const known = error instanceof WorkerdError ? error : fault(error);
  // A full disk where the output goes takes the error no more than the result: then the other stream has it.
  for (const way of report.json ? [report, { ...report, json: false }] : [report]) {
    try {
      reportError(way, known);
      break;
    } catch (broken) {
      if (broken instanceof BrokenPipe) break;
    }
  }
  return known.exitCode;
};

/** What nobody foresaw: said in short; the stack helps only those who ask for it. */
const fault = (error: unknown): WorkerdError => {
  const text =
    error instanceof Error ? (process.env['WORKERD_TRACE'] === '1' ? error.stack : error.message) : String(error);
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const exitCode = code === 'EACCES' || code === 'EPERM' ? 77 : 125;
  return new WorkerdError(
    'internal',
    code === undefined ? `${text} (this is a fault of workerctl itself)` : String(text),
    {
      exitCode,
    },
  );
};

/** Before anything is parsed: the form that an error of parsing takes. */
const asksForJson = (argv: readonly string[]): boolean => {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json');
};

const showVersion = async (io: Io): Promise<number> => {
  io.stdout.write(`workerctl ${(await import('./version.ts')).version}\n`);
  return 0;
};

const showHelp = async (io: Io, verb: string | null): Promise<number> => {
  const { helpText, overviewText } = await import('./help.ts');
  const columns = Number(io.env['COLUMNS']);
  const width = Number.isInteger(columns) && columns > 0 ? columns : (io.stdout.size()?.columns ?? plainWidth);
  const page = { style: styleOf(io.stdout, io.env, 'auto'), width };
  try {
    if (verb === null) io.stdout.write(overviewText((await import('./overview.ts')).overview, page));
    else {
      const name = canonical(verb);
      io.stdout.write(helpText(name, (await load(name)).spec, page));
    }
  } catch (error) {
    if (!(error instanceof BrokenPipe)) throw error;
  }
  return 0;
};

/** Of help that goes to a file or a pager. */
const plainWidth = 88;
