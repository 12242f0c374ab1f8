/**
 * `workerd`: the composition root of the daemon and the commands that control it. The one place that reads argv and
 * the environment, installs signal handlers and decides the exit code.
 */
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { underCoreLimit, withoutCoreDumps } from '../shared/core-limit.ts';
import { closeInherited } from '../shared/descriptors.ts';
import { WorkerdError } from '../shared/errors.ts';
import { armFailpoints, failpointVariable } from '../shared/failpoints.ts';
import { type Places, resolvePlaces } from '../shared/paths.ts';
import { jsonText, printable } from '../shared/printable.ts';
import { startersOpenFiles } from '../shared/resource-limits.ts';
import { type ControlOptions, runRestart, runStatus, runStop, sayAlreadyRunning, startDetached } from './control.ts';
import { Daemon } from './daemon.ts';
import {
  colorOption,
  type GlobalFlags,
  help,
  isLogLevel,
  logLevelOf,
  openFilesOf,
  passedOn,
  type StartFlags,
  wholeNumber,
} from './flags.ts';
import { acquireLock, type Lock, prepareHome } from './instance.ts';
import { createLog } from './log.ts';
import { replacedBy } from './replacement.ts';
import { checkMyself } from './self-check.ts';
import { connectServiceManager } from './service-manager.ts';
import { shimFlags } from './shim-start.ts';
import { installSignals, letSignalsEnd } from './signals.ts';

/** Where this program and its siblings (shim, hosts) are. */
const programs = import.meta.dirname;

const readVersion = (): string => {
  const { version } = JSON.parse(readFileSync(join(programs, '..', 'package.json'), 'utf8')) as { version: string };
  return version;
};

const run = async (argv: readonly string[]): Promise<number> => {
  // Whoever read what we print has gone: nothing to say, and nothing to die of.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const version = readVersion();
  let exitCode = 0;
  const program = new Command('workerd')
    .description('The worker supervisor: holds the registry of workers and serves workerctl.')
    .version(`workerd ${version}`)
    .option('--home <dir>', 'where everything of this daemon lies (or WORKERD_HOME)')
    .option('--socket <path>', 'its socket (or WORKERD_SOCKET)')
    .option('--json', 'results and errors as JSON')
    .option('-q, --quiet', 'say nothing but what was asked for')
    .addOption(colorOption().default('auto'))
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .addHelpText('after', help.program);
  const controlOptions = (): ControlOptions => {
    const flags = program.opts<GlobalFlags>();
    return {
      places: placesOf(flags),
      json: flags.json === true,
      quiet: flags.quiet === true,
      program: join(programs, 'workerd.cjs'),
      env: process.env,
    };
  };
  const command = (name: string, summary: string, options: { readonly hidden?: boolean } = {}) => {
    const made = program
      .command(name, options)
      .description(summary)
      .exitOverride()
      .configureOutput({ outputError: () => {} });
    for (const flag of ['--home <dir>', '--socket <path>', '--json', '-q, --quiet']) {
      made.addOption(made.createOption(flag).hideHelp());
    }
    made.addOption(colorOption().hideHelp());
    // The global flags are taken before and after the verb alike.
    made.hook('preAction', () => {
      for (const [key, value] of Object.entries(made.opts())) {
        if (globalKeys.has(key) && value !== undefined) program.setOptionValue(key, value);
      }
    });
    return made;
  };
  command('start', 'Runs the daemon, in the foreground unless --detach is given.')
    .option('--detach', 'return when it answers, and print its pid')
    .option('--external-shim', 'the shim is started and stopped by somebody else (workerd shim)')
    .option(
      '--open-files <n>',
      'soft limit of open files for workers whose definition brings none (default: yours)',
      openFilesOf,
    )
    .option('--log-level <level>', 'debug, info, warn or error (default: info; also WORKERD_LOG)', logLevelOf)
    .addOption(program.createOption('--core-limit <bytes>').hideHelp())
    .addOption(program.createOption('--background').hideHelp())
    .addOption(program.createOption('--signalled <signal>').hideHelp())
    .addOption(program.createOption('--ready-fd <fd>').argParser(wholeNumber).hideHelp())
    .addHelpText('after', help.start)
    .action(async (flags: StartFlags) => {
      const options = controlOptions();
      exitCode =
        flags.detach === true
          ? await startDetached({ ...options, flags: passedOn(flags) })
          : await serve(options, flags, version);
    });
  command('stop', 'Ends every worker in good order, then the shim, then the daemon.')
    .option('--keep-workers', 'end the daemon alone; the next one finds the workers')
    .addHelpText('after', help.stop)
    .action(async (flags: { keepWorkers?: boolean }) => {
      exitCode = await runStop(controlOptions(), flags.keepWorkers === true);
    });
  command('restart', 'Replaces the daemon; the workers stay.').action(async () => {
    exitCode = await runRestart(controlOptions());
  });
  command('status', 'Says whether the daemon runs: exit code 0 when it does, 3 when it does not.').action(async () => {
    exitCode = await runStatus(controlOptions());
  });
  command('self-check', 'Says whether this build could serve the home; the running daemon asks before it gives way.', {
    hidden: true,
  }).action(() => {
    process.stdout.write(`${JSON.stringify(checkMyself(controlOptions().places, programs, version))}\n`);
  });
  command('shim', 'Runs the shim in the foreground, under a service manager (see --external-shim).').action(
    async () => {
      exitCode = await runShim(controlOptions().places);
    },
  );
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    return report(error, argv.includes('--json'));
  }
};

const globalKeys = new Set(['home', 'socket', 'json', 'quiet', 'color']);

const placesOf = (flags: GlobalFlags): Places =>
  resolvePlaces({ home: flags.home, socket: flags.socket, env: process.env, uid: process.getuid?.() ?? -1 });

/** An error of ours in words (or JSON), with the exit code that goes with it. */
const report = (error: unknown, json: boolean): number => {
  // Help and version are no errors, and have been shown.
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  if (error instanceof CommanderError && error.code === 'commander.help') return 2;
  const known = error instanceof WorkerdError ? error : faultOf(error);
  if (json) {
    const { code, ...data } = known.data;
    process.stdout.write(`${jsonText({ error: { code, message: known.message, data: { code, ...data } } })}\n`);
  } else process.stderr.write(`workerd: ${printable(known.message)}\n`);
  return known.exitCode;
};

const faultOf = (error: unknown): WorkerdError => {
  if (!(error instanceof CommanderError)) return new WorkerdError('internal', String(error), {}, { cause: error });
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\n/g, ' ')
    .replace(/\.+$/, '');
  return new WorkerdError('usage', `${message}. See: workerd --help`);
};

/** One line for whoever started us, on the descriptor it gave us. */
const tellStarter = (fd: number | undefined, message: object): void => {
  if (fd === undefined) return;
  try {
    writeSync(fd, `${JSON.stringify(message)}\n`);
    closeSync(fd);
  } catch {
    // It is gone and does not want to know any more.
  }
};

const serve = async (options: ControlOptions, flags: StartFlags, version: string): Promise<number> => {
  const { places } = options;
  const callersUmask = process.umask(0o077);
  // Before our own descriptors: what is open and not ours was the caller's.
  closeInherited(flags.readyFd);
  try {
    armFailpoints(process.env[failpointVariable]);
    prepareHome(places);
    // Its directory is made here, under our umask: a host would make it under its worker's.
    enableCompileCache(places.cache);
    const lock = await takeLock(places);
    if (lock === null) {
      letSignalsEnd();
      if (flags.background === true) tellStarter(flags.readyFd, { running: true });
      else await sayAlreadyRunning(options);
      return 1;
    }
    return await live(places, flags, version, callersUmask, lock);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const details = error instanceof WorkerdError ? { exitCode: error.exitCode } : {};
    tellStarter(flags.readyFd, { error: message, ...details });
    throw error;
  }
};

const lockAgainMs = 10;

/** Where a daemon is being replaced the lock is free for a moment, and it is that daemon's: nobody else takes it. */
const takeLock = async (places: Places): Promise<Lock | null> => {
  for (;;) {
    const replaced = replacedBy(places.socket);
    if (replaced === 'another') return null;
    const lock = acquireLock(places);
    if (lock !== null && replacedBy(places.socket) === 'another') {
      lock.release();
      return null;
    }
    // Somebody looks at it, and will see that it is ours.
    if (lock !== null || replaced !== 'us') return lock;
    await new Promise((resolve) => setTimeout(resolve, lockAgainMs));
  }
};

const live = async (
  places: Places,
  flags: StartFlags,
  version: string,
  callersUmask: number,
  lock: NonNullable<ReturnType<typeof acquireLock>>,
): Promise<number> => {
  const background = flags.background === true;
  const terminal = !background && process.stderr.isTTY;
  const wished = flags.logLevel ?? process.env['WORKERD_LOG'] ?? '';
  const level = isLogLevel(wished) ? wished : 'info';
  const log = createLog({ level, terminal, file: background ? places.daemonLog : null });
  // A variable may come from anywhere, and a daemon that is being replaced must come up.
  if (wished !== '' && wished !== level) log.warn({ WORKERD_LOG: wished }, `no such log level: ${level} is used`);
  const openFiles = flags.openFiles ?? startersOpenFiles();
  const serviceManager = connectServiceManager(process.env, log);
  const coreLimit = flags.coreLimit ?? withoutCoreDumps();
  process.chdir('/');
  const daemon = new Daemon({
    places,
    lock,
    log,
    version,
    serviceManager,
    externalShim: flags.externalShim === true,
    env: process.env,
    callersUmask,
    openFiles,
    shimWrapper: underCoreLimit(coreLimit),
    node: [process.execPath, '--disable-sigusr1'],
    programs,
  });
  const signals = installSignals(daemon, terminal, log);
  process.on('uncaughtException', (error) => {
    log.error({ stack: error.stack }, 'an error nobody caught; the daemon ends, the workers stay');
    process.exit(125);
  });
  const ended = daemon.run(() => tellStarter(flags.readyFd, { ready: true, pid: process.pid }));
  const early = flags.signalled ?? signals.early;
  if (early !== null) signals.obey(early);
  if ((await ended) === 'restart') {
    // What was sent until now is told in a turn of the loop, and an exec would forget it.
    await new Promise(setImmediate);
    const keep = { '--open-files': openFiles, '--core-limit': coreLimit, '--signalled': signals.tooLate() };
    log.sayCounted();
    replaceMyself(keep, callersUmask);
  }
  return 0;
};

/** The same process, with the program that is on disk now: the pid that a service manager knows stays. */
const replaceMyself = (limits: Readonly<Record<string, string | number | null>>, callersUmask: number): void => {
  const ofOneLife = ['--ready-fd', '--signalled'];
  const args = process.argv
    .slice(2)
    .filter((word, index, all) => !ofOneLife.includes(word) && !ofOneLife.includes(all[index - 1] ?? ''));
  for (const [flag, value] of Object.entries(limits)) {
    if (value !== null && !args.includes(flag)) args.push(flag, String(value));
  }
  // execve() is marked experimental and would say so on stderr.
  process.removeAllListeners('warning');
  process.umask(callersUmask);
  process.execve?.(
    process.execPath,
    [process.execPath, ...process.execArgv, join(programs, 'workerd.cjs'), ...args],
    process.env,
  );
};

/** The shim is a program of its own and small: this process becomes it. */
const runShim = async (places: Places): Promise<number> => {
  process.umask(0o077);
  prepareHome(places);
  process.removeAllListeners('warning');
  const argv = [process.execPath, '--disable-sigusr1', ...shimFlags, join(programs, 'shim.cjs'), '--home', places.home];
  process.execve?.(process.execPath, argv, process.env);
  return 125;
};

// Nothing that is still open (a client that does not read) keeps a daemon that has ended.
void run(process.argv.slice(2)).then((code) => process.exit(code));
