/**
 * What `start` and `run` are asked to start: a name, a module or a command, with its definition. Reads files and the
 * environment it is given; everything doubtful is a usage error, before the daemon hears of it.
 */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, extname, isAbsolute, resolve } from 'node:path';
import { isClean, isPrivate } from '../shared/environment.ts';
import { exitCodes } from '../shared/errors.ts';
import type { CallerInput, ParamsInput, SpecInput } from '../shared/protocol.ts';
import { isWorkerName, type Json, type RestartPolicy } from '../shared/worker.ts';
import type { Args, OptionSpec } from './args.ts';
import type { Context } from './context.ts';
import { parseEnvFile } from './env-file.ts';
import type { Io } from './io.ts';
import {
  isPlainObject,
  pairsToObject,
  parseChoice,
  parseCount,
  parseDuration,
  parseJson,
  parseSignal,
  parseSize,
  quoted,
  usage,
} from './values.ts';

export const definitionOptions: readonly OptionSpec[] = [
  { flags: '-n, --name <name>', text: "its name (default: the file's or program's)" },
  { flags: '--thread', text: 'run the module as a thread' },
  { flags: '--process', text: 'run the module as a process of its own (default)' },
  { flags: '-p, --param <key=value>', text: 'a parameter; JSON where it parses, else text', repeat: true },
  { flags: '--params <json>', text: 'all parameters as JSON; -p is laid over it' },
  { flags: '-e, --env <key=value>', text: 'an environment variable; KEY alone passes on yours', repeat: true },
  { flags: '--env-file <file>', text: 'KEY=VALUE lines', repeat: true },
  { flags: '--clean-env', text: 'do not pass on your environment' },
  { flags: '-C, --cwd <dir>', text: 'working directory (default: this one)' },
  { flags: '--user <user>', text: 'run as this user (root only)' },
  { flags: '--restart <policy>', text: 'no, on-failure or always (default: no)' },
  { flags: '--enable', text: 'start it with the daemon, too' },
  { flags: '--if-running <what>', text: 'keep, fail or replace (default: keep)' },
  { flags: '--grace <duration>', text: 'time to stop in before force is used (default: 10s)' },
  { flags: '--stop-signal <signal>', text: 'what asks a command to stop (default: TERM)' },
  { flags: '--stdin', text: 'give it a standard input, for `send`' },
  { flags: '--ready', text: 'it says itself when it is ready' },
  { flags: '--log-size <size>', text: 'rotate its log at this size (default: 10MiB)' },
  { flags: '--log-files <count>', text: 'keep this many log files (default: 5)' },
  { flags: '--wait <for>', text: 'wait until it is running or ready (default: ready)' },
  { flags: '--no-wait', text: 'return at once' },
  { flags: '--timeout <duration>', text: 'wait no longer than this (default: 30s)' },
];

/** Those that are part of the definition: with a bare name there is nothing to define. */
const definingOptions: Readonly<Record<string, string>> = {
  thread: '--thread',
  process: '--process',
  param: '--param',
  params: '--params',
  env: '--env',
  envFile: '--env-file',
  cleanEnv: '--clean-env',
  cwd: '--cwd',
  user: '--user',
  restart: '--restart',
  grace: '--grace',
  stopSignal: '--stop-signal',
  stdin: '--stdin',
  ready: '--ready',
  logSize: '--log-size',
  logFiles: '--log-files',
};

type StartInput = ParamsInput<'start'>;
export interface StartRequest {
  readonly params: StartInput;
  /** The name as given, or the one the daemon will derive (then perhaps with a number). */
  readonly likelyName: string;
}

/** What was named for the worker's environment and does not reach it: to be said, or it would be looked for long. */
export const sayDropped = (context: Context, { params }: StartRequest): void => {
  const dropped = Object.keys(params.spec?.env ?? {}).filter(isPrivate);
  if (dropped.length > 0) {
    context.note(
      `${dropped.join(', ')}: never passed on to a worker; NOTIFY_SOCKET, LISTEN_*, WATCHDOG_* and WORKERD_* are not`,
    );
  }
};

const moduleEndings: ReadonlySet<string> = new Set(['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs']);

/** `path#export`; the part behind the last `#` only where what is before it looks like a module. */
const asModule = (text: string): { readonly path: string; readonly name: string } | null => {
  const at = text.lastIndexOf('#');
  const path = at > 0 ? text.slice(0, at) : text;
  if (at > 0 && moduleEndings.has(extname(path))) return { path, name: text.slice(at + 1) };
  return text.includes('/') || moduleEndings.has(extname(text)) ? { path: text, name: 'default' } : null;
};

/** A file's name without its ending, or a program's, made into a legal worker name. */
export const nameFrom = (path: string): string => {
  const base = basename(path);
  const bare = moduleEndings.has(extname(base)) ? base.slice(0, -extname(base).length) : base;
  const legal = bare
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 64)
    .replace(/-+$/, '');
  return legal === '' ? 'worker' : legal;
};

export const readStart = (args: Args, io: Io): StartRequest => {
  const [target] = args.operands;
  const module = target === undefined ? null : asModule(target);
  const { command } = args;
  if (command !== null && target !== undefined) {
    throw usage(`${quoted(target)} and a command after -- exclude each other; name the worker with -n ${target}`);
  }
  if (command !== null && command.length === 0) throw usage('the command after -- is missing');
  if (command === null && target === undefined) {
    throw usage('what to start is missing: a NAME, a ./module.ts, or -- COMMAND');
  }
  const name = args.value('name');
  if (name !== undefined && !isWorkerName(name)) throw usage(badName('--name', name));
  const request = requestOptions(args);
  if (command === null && module === null) return byName(target ?? '', name, args, request);
  const common = specOptions(args, io);
  const spec = module === null ? commandSpec(command ?? [], args, common) : moduleSpec(module, args, common, io);
  const params: StartInput = { ...request, ...(name === undefined ? {} : { name }), spec, caller: callerOf(io, spec) };
  return { params, likelyName: name ?? nameFrom(module === null ? (command?.[0] ?? '') : module.path) };
};

const badName = (what: string, name: string): string =>
  `${what}: ${quoted(name)} cannot be a worker's name; names are letters, digits, ".", "_" and "-", at most 64, and start with a letter or digit`;

const byName = (
  target: string,
  name: string | undefined,
  args: Args,
  request: Omit<StartInput, 'spec'>,
): StartRequest => {
  if (!isWorkerName(target)) throw usage(badName('NAME', target));
  if (name !== undefined && name !== target)
    throw usage(`${quoted(target)} and --name ${name} are two names for one worker`);
  const defining = args.given.find((option) => Object.hasOwn(definingOptions, option));
  if (defining !== undefined) {
    throw usage(
      `${definingOptions[defining]} is part of a definition: give the module or command, too (workerctl start -n ${target} … -- COMMAND)`,
    );
  }
  return { params: { ...request, name: target }, likelyName: target };
};

const requestOptions = (args: Args): Omit<StartInput, 'spec'> => {
  const ifRunning = args.value('ifRunning');
  const wait = args.value('wait');
  const timeout = args.value('timeout');
  return {
    ...(ifRunning === undefined
      ? {}
      : { ifRunning: parseChoice(ifRunning, '--if-running', ['keep', 'fail', 'replace'] as const) }),
    ...(args.negated('wait') ? { wait: 'none' as const } : {}),
    ...(wait === undefined ? {} : { wait: parseChoice(wait, '--wait', ['running', 'ready'] as const) }),
    ...(timeout === undefined ? {} : { timeoutMs: parseDuration(timeout, '--timeout') }),
    ...(args.flag('enable') ? { enable: true } : {}),
  };
};

type CommonSpec = Omit<Extract<SpecInput, { kind: 'command' }>, 'kind' | 'command'>;

const specOptions = (args: Args, io: Io): CommonSpec => {
  const policy = args.value('restart');
  const grace = args.value('grace');
  const stopSignal = args.value('stopSignal');
  const cwd = args.value('cwd');
  const user = args.value('user');
  const size = args.value('logSize');
  const files = args.value('logFiles');
  const log = {
    ...(size === undefined ? {} : { maxBytes: parseSize(size, '--log-size') }),
    ...(files === undefined ? {} : { files: parseCount(files, '--log-files', 1, 1000) }),
  };
  return {
    params: paramsOf(args),
    env: environmentOf(args, io),
    ...(args.flag('cleanEnv') ? { inheritEnv: false } : {}),
    ...(cwd === undefined ? {} : { cwd: isAbsolute(cwd) ? resolve(cwd) : resolve(io.cwd(), cwd) }),
    ...(user === undefined ? {} : { user }),
    ...(policy === undefined
      ? {}
      : { restart: { policy: parseChoice<RestartPolicy>(policy, '--restart', ['no', 'on-failure', 'always']) } }),
    ...(grace === undefined ? {} : { graceMs: parseDuration(grace, '--grace') }),
    ...(stopSignal === undefined ? {} : { stopSignal: parseSignal(stopSignal, '--stop-signal', constants.signals) }),
    ...(args.flag('stdin') ? { stdin: true } : {}),
    ...(args.flag('ready') ? { ready: { by: 'worker' } } : {}),
    ...(Object.keys(log).length === 0 ? {} : { log }),
  };
};

const commandSpec = (command: readonly string[], args: Args, common: CommonSpec): SpecInput => {
  const flag = args.flag('thread') ? '--thread' : args.flag('process') ? '--process' : null;
  if (flag !== null) throw usage(`${flag} is for modules; a command is always a process`);
  return { kind: 'command', command: [...command], ...common };
};

const moduleSpec = (module: { path: string; name: string }, args: Args, common: CommonSpec, io: Io): SpecInput => {
  if (args.flag('thread') && args.flag('process')) throw usage('--thread and --process exclude each other');
  if (module.name === '') throw usage(`the name of the export after # is missing in ${quoted(`${module.path}#`)}`);
  const kind = args.flag('thread') ? 'thread' : 'process';
  if (kind === 'thread' && args.value('user') !== undefined) {
    throw usage('--user: a thread shares its process with others, so it has no user of its own. Use --process');
  }
  if (kind === 'thread' && args.flag('stdin')) {
    throw usage('--stdin: a thread has none of its own. Leave it away: what is sent reaches ctx.messages');
  }
  return {
    kind,
    module: isAbsolute(module.path) ? resolve(module.path) : resolve(io.cwd(), module.path),
    export: module.name,
    ...common,
  };
};

const paramsOf = (args: Args): Json => {
  const whole = args.value('params');
  const pairs = args.list('param');
  const base = whole === undefined ? {} : parseJson(whole, '--params');
  if (pairs.length === 0) return base as Json;
  if (!isPlainObject(base)) throw usage('--params must be an object where -p adds to it');
  return { ...base, ...pairsToObject(pairs, '-p') } as Json;
};

const environmentOf = (args: Args, io: Io): Record<string, string> => {
  const env = Object.create(null) as Record<string, string>;
  for (const file of args.list('envFile'))
    Object.assign(env, readEnvFile(isAbsolute(file) ? file : resolve(io.cwd(), file)));
  for (const pair of args.list('env')) {
    const at = pair.indexOf('=');
    const key = at === -1 ? pair : pair.slice(0, at);
    if (key === '') throw usage(`-e: ${quoted(pair)} has no name before the =`);
    const value = at === -1 ? io.env[key] : pair.slice(at + 1);
    if (value === undefined) throw usage(`-e ${key}: it is not set in your environment; write -e ${key}=VALUE`);
    env[key] = value;
  }
  return env;
};

const readEnvFile = (path: string): Readonly<Record<string, string>> => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const fault = error as NodeJS.ErrnoException;
    const details = fault.code === 'EACCES' ? { exitCode: exitCodes.noPermission } : {};
    throw usage(`--env-file: cannot read ${path}: ${whyOf(fault)}`, details);
  }
  return parseEnvFile(text, path);
};

const whyOf = ({ errno, code, message }: NodeJS.ErrnoException): string =>
  errno === undefined ? message : `${process.getBuiltinModule('node:util').getSystemErrorMessage(errno)} (${code})`;

const callerOf = (io: Io, spec: SpecInput): CallerInput => {
  const env = Object.create(null) as Record<string, string>;
  for (const [key, value] of Object.entries(io.env)) {
    const passedOn = key !== '' && !isPrivate(key) && (spec.inheritEnv !== false || isClean(key));
    if (value !== undefined && passedOn) env[key] = value;
  }
  // With a directory of its own named, the one we are in does not matter, even if it is gone.
  return { env, cwd: spec.cwd ?? io.cwd(), umask: io.umask(), limits: io.limits() };
};
