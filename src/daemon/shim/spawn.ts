/**
 * Starting a program so that what goes wrong is known by name. Everything that can be known before is looked at before
 * (the program may be started through a wrapper, whose own exec always succeeds); a throw, an 'error' event and a
 * half-made child are one thing: a failure with its errno.
 */
import { type ChildProcess, execFile, type StdioOptions, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { getSystemErrorMessage, promisify } from 'node:util';
import { type AllBounds, boundsOf, limitFlags, type SoftLimits } from '../../shared/resource-limits.ts';
import type { SpawnParams } from './protocol.ts';

export interface SpawnFailure {
  readonly errno: string;
  readonly message: string;
}

export class SpawnError extends Error {
  override readonly name = 'SpawnError';
  readonly failure: SpawnFailure;

  constructor(errno: string, message: string) {
    super(message);
    this.failure = { errno, message };
  }
}

/** Any fault as a failure to start. */
export const failureOf = (error: unknown): SpawnFailure => {
  if (error instanceof SpawnError) return error.failure;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_INVALID_ARG_VALUE')
    return { errno: 'EINVAL', message: 'an argument or the environment holds a NUL' };
  if (code === 'E2BIG')
    return { errno: 'E2BIG', message: 'the arguments and the environment are too long for the system' };
  if (code === 'EMFILE' || code === 'ENFILE') {
    return {
      errno: code,
      message: 'no descriptors are left for its pipes: stop some workers or raise the limit of open files',
    };
  }
  if (code === 'EAGAIN') {
    return {
      errno: code,
      message: 'no more processes can be made: stop some workers or raise the limit (ulimit -u, TasksMax=, pids.max)',
    };
  }
  return { errno: typeof code === 'string' ? code : 'UNKNOWN', message: message ?? String(error) };
};

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** What to execute, with every wrapper. */
export interface Program {
  readonly file: string;
  readonly argv0: string;
  readonly args: readonly string[];
  /** Set where the run belongs to another user. */
  readonly identity: Identity | null;
}

/** Throws a SpawnError for what can be known before. */
export const prepare = async (order: SpawnParams): Promise<Program> => {
  const strings = [...order.argv, order.cwd, ...Object.entries(order.env).flat()];
  if (strings.some((text) => text.includes('\0')))
    throw new SpawnError('EINVAL', 'an argument or the environment holds a NUL');
  checkDirectory(order.cwd);
  const found = findProgram(order);
  checkInterpreter(found.path, order.cwd, 0);
  const identity = await userOf(order, found.path);
  return wrap(order, found, identity);
};

const describe = (error: unknown): { code: string; words: string } => {
  const { code = 'UNKNOWN', errno } = error as NodeJS.ErrnoException;
  return { code, words: errno === undefined ? code : getSystemErrorMessage(errno) };
};

const checkDirectory = (cwd: string): void => {
  try {
    if (!statSync(cwd).isDirectory()) throw new SpawnError('ENOTDIR', `cannot start in ${cwd}: not a directory`);
    accessSync(cwd, constants.X_OK);
  } catch (error) {
    if (error instanceof SpawnError) throw error;
    const { code, words } = describe(error);
    throw new SpawnError(code, `cannot start in ${cwd}: ${words}`);
  }
};

interface Found {
  readonly path: string;
  /** Whoever executes `argv[0]` with the worker's environment finds the same. */
  readonly byOwnName: boolean;
}

/** What an exec of the worker's PATH looks through where it has none. */
const defaultPath = '/bin:/usr/bin';

const findProgram = ({ argv, env, cwd }: SpawnParams): Found => {
  const name = argv[0] ?? '';
  if (name === '') throw new SpawnError('ENOENT', 'command not found: its name is empty');
  if (name.includes('/')) {
    const path = resolve(cwd, name);
    const fault = executableFault(path);
    if (fault !== null) throw new SpawnError(fault.code, `cannot execute ${path}: ${fault.words}`);
    return { path, byOwnName: true };
  }
  let refused: SpawnError | null = null;
  for (const directory of (env['PATH'] ?? defaultPath).split(':')) {
    const path = join(isAbsolute(directory) ? directory : resolve(cwd, directory), name);
    if (isMissing(path)) continue;
    const fault = executableFault(path);
    if (fault === null) return { path, byOwnName: env['PATH'] !== undefined && !name.startsWith('-') };
    if (fault.code === 'EACCES') refused ??= new SpawnError('EACCES', `cannot execute ${path}: ${fault.words}`);
  }
  throw refused ?? new SpawnError('ENOENT', `command not found: ${name}`);
};

/** Without an error that is made and thrown away for every directory of a PATH. */
const isMissing = (path: string): boolean => {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    // There, or not to be seen: `executableFault` says which.
    return false;
  }
};

const executableFault = (path: string): { code: string; words: string } | null => {
  try {
    if (!statSync(path).isFile()) return { code: 'EACCES', words: 'not a regular file' };
    accessSync(path, constants.X_OK);
    return null;
  } catch (error) {
    return describe(error);
  }
};

/** A script whose interpreter is missing fails as if it were missing itself: so the interpreter is named. */
const checkInterpreter = (path: string, cwd: string, depth: number): void => {
  const first = readStart(path);
  if (!first.startsWith('#!') || depth > 4) return;
  const interpreter = (first.slice(2).split('\n')[0] ?? '').trim().split(/[ \t]/)[0] ?? '';
  if (interpreter === '') return;
  const program = resolve(cwd, interpreter);
  const fault = executableFault(program);
  if (fault !== null) {
    throw new SpawnError(fault.code, `cannot execute ${path}: its interpreter ${interpreter}: ${fault.words}`);
  }
  checkInterpreter(program, cwd, depth + 1);
};

const readStart = (path: string): string => {
  const buffer = Buffer.alloc(256);
  try {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return buffer.toString('latin1', 0, readSync(descriptor, buffer));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // It may be executed without being readable.
    return '';
  }
};

const run = promisify(execFile);

const userOf = async ({ user, cwd }: SpawnParams, program: string): Promise<Identity | null> => {
  if (user === null) return null;
  const ask = async (flag: string): Promise<number> => {
    try {
      return Number((await run('id', [flag, '--', user])).stdout.trim());
    } catch {
      throw new SpawnError('EINVAL', `there is no user ${user} on this machine`);
    }
  };
  const identity = { uid: await ask('-u'), gid: await ask('-g') };
  if (identity.uid === process.geteuid?.() && identity.uid !== 0) return null;
  if (process.geteuid?.() !== 0) {
    throw new SpawnError('EPERM', `cannot run as ${user}: only a daemon that runs as root can change the user`);
  }
  const test = 'cd "$1" || exit 3; test -x "$2" || exit 4';
  try {
    await run('setpriv', [...toUser(identity), '/bin/sh', '-c', test, 'sh', cwd, program], { cwd: '/' });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === 3) throw new SpawnError('EACCES', `cannot start in ${cwd} as ${user}: permission denied`);
    if (code === 4) throw new SpawnError('EACCES', `cannot execute ${program} as ${user}: permission denied`);
    throw new SpawnError('EPERM', `cannot run as ${user}: ${(stderr ?? '').trim() || 'setpriv failed'}`);
  }
  return identity;
};

const toUser = ({ uid, gid }: Identity): readonly string[] => [
  '--reuid',
  String(uid),
  '--regid',
  String(gid),
  '--init-groups',
  '--',
];

let workersCoreLimit: SoftLimits = {};
/** The limit of core dumps that workers get whose definition brings none, as the shim's own is none. */
export const setWorkersCoreLimit = (limit: string | null): void => {
  if (limit !== null) workersCoreLimit = { core: limit === 'unlimited' ? null : Number(limit) };
};

const wrap = (order: SpawnParams, found: Found, identity: Identity | null): Program => {
  const [argv0 = '', ...args] = order.argv;
  const named = found.byOwnName && !argv0.startsWith('-') ? argv0 : found.path;
  const limiter = limiterOf(order);
  const wrapper = identity === null ? limiter : [tool('setpriv'), ...toUser(identity), ...limiter];
  const [file, ...rest] = [...wrapper, named, ...args];
  if (wrapper.length === 0 || file === undefined) return { file: found.path, argv0, args, identity };
  return { file, argv0: file, args: rest, identity };
};

/** `prlimit` passes the environment on as it is; a shell drops what it takes for no variable, and adds its own. */
const limiterOf = ({ openFiles, limits }: SpawnParams): readonly string[] => {
  const flags = limitFlags({ ...workersCoreLimit, ...limits, nofile: openFiles ?? undefined }, ownBounds());
  if (flags.length === 0) return [];
  const prlimit = tool('prlimit');
  if (prlimit !== 'prlimit') return [prlimit, ...flags, '--'];
  if (openFiles === null) return [];
  return ['/bin/sh', '-c', 'ulimit -S -n "$1"; shift; exec "$@"', 'sh', String(openFiles)];
};

const tool = (name: string): string =>
  ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin'].map((place) => join(place, name)).find(existsSync) ??
  name;

let knownBounds: AllBounds | null = null;
/** Node has raised that of open files when it started, and we have put that of core dumps down. */
const ownBounds = (): AllBounds => {
  knownBounds ??= boundsOf('self');
  return knownBounds;
};

export interface SpawnEvents {
  readonly onExit: (code: number | null, signal: NodeJS.Signals | null) => void;
  readonly onFailed: (failure: SpawnFailure) => void;
}

/** Executes; the pid, or `null` where it failed (then `onFailed` has been or will be called). */
export const execute = (
  program: Program,
  order: SpawnParams,
  stdio: StdioOptions,
  events: SpawnEvents,
): number | null => {
  let failed = false;
  const fail = (error: unknown) => {
    if (failed) return;
    failed = true;
    events.onFailed(failureOf(error));
  };
  let child: ChildProcess;
  // The mask is the whole process's: set around the one synchronous call.
  process.umask(order.umask);
  try {
    child = spawn(program.file, program.args, {
      argv0: program.argv0,
      cwd: order.cwd,
      env: order.env,
      stdio,
      detached: true,
    });
  } catch (error) {
    fail(error);
    return null;
  } finally {
    process.umask(0o077);
  }
  const { pid } = child;
  child.on('error', (error) => {
    // Later errors are of `child.kill`, which is never called here.
    if (pid === undefined) fail(error);
  });
  child.on('exit', (code, signal) => {
    if (pid !== undefined) events.onExit(code, signal);
  });
  return pid ?? null;
};
