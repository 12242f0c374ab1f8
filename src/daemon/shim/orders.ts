/** Reads the daemon's requests: the shim trusts it with what it asks for, not with the shape it asks in. */
import { constants } from 'node:os';
import { WorkerdError } from '../../shared/errors.ts';
import { resourceNames, type SoftLimits } from '../../shared/resource-limits.ts';
import type { Exit, JsonObject } from '../../shared/worker.ts';
import { isObject } from './control.ts';
import type { Known, ShimMethods, SpawnParams } from './protocol.ts';

type Params = Readonly<Record<string, unknown>>;

const wrong = (member: string, wanted: string): WorkerdError =>
  new WorkerdError('usage', `invalid params: ${member} must be ${wanted}`, { member });

export const paramsOf = (params: unknown): Params => {
  if (params === undefined) return {};
  if (!isObject(params)) throw wrong('params', 'an object');
  return params;
};

const string = (params: Params, member: string): string => {
  const value = params[member];
  if (typeof value !== 'string') throw wrong(member, 'a string');
  return value;
};

export const count = (params: Params, member: string): number => {
  const value = params[member];
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(member, 'a whole number, 0 or more');
  return value as number;
};

const object = (params: Params, member: string): JsonObject => {
  const value = params[member];
  if (!isObject(value)) throw wrong(member, 'an object');
  return value as JsonObject;
};

const optionalString = (params: Params, member: string): string | null =>
  params[member] === null ? null : string(params, member);

const boolean = (params: Params, member: string): boolean => {
  const value = params[member];
  if (typeof value !== 'boolean') throw wrong(member, 'true or false');
  return value;
};

/** Becomes the name of a directory. */
const runPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
export const runOf = (params: Params, member = 'run'): string => {
  const run = string(params, member);
  if (!runPattern.test(run) || run === 'pool') throw wrong(member, 'a run id');
  return run;
};

const signalOf = (params: Params, member: string): string => {
  const signal = string(params, member);
  if (!Object.hasOwn(constants.signals, signal)) throw wrong(member, 'a signal, such as SIGTERM');
  return signal;
};

const kinds: readonly unknown[] = ['command', 'module', 'host', 'thread'] satisfies SpawnParams['kind'][];

const texts = (params: Params, member: string): readonly string[] => {
  const value = params[member] ?? [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    throw wrong(member, 'a list of strings');
  return value as readonly string[];
};

/** A name that we do not know yet is no reason to start nothing. */
const limitsOf = (limits: Params): SoftLimits =>
  Object.fromEntries(
    resourceNames
      .filter((name) => limits[name] !== undefined)
      .map((name) => [name, limits[name] === null ? null : count(limits, name)]),
  );

export const spawnOrder = (raw: unknown): SpawnParams => {
  const params = paramsOf(raw);
  const argv = params['argv'];
  if (!Array.isArray(argv) || !argv.every((item) => typeof item === 'string')) throw wrong('argv', 'a list of strings');
  const env = object(params, 'env');
  if (!Object.values(env).every((value) => typeof value === 'string')) throw wrong('env', 'an object of strings');
  const kind = params['kind'];
  if (!kinds.includes(kind)) throw wrong('kind', 'command, module, host or thread');
  const stop = object(params, 'stop');
  const log = object(params, 'log');
  const directory = string(log, 'directory');
  if (!directory.startsWith('/')) throw wrong('log.directory', 'an absolute path');
  return {
    run: runOf(params),
    name: string(params, 'name'),
    generation: count(params, 'generation'),
    kind: kind as SpawnParams['kind'],
    argv: argv as readonly string[],
    env: env as Readonly<Record<string, string>>,
    cwd: string(params, 'cwd'),
    umask: count(params, 'umask') & 0o777,
    user: optionalString(params, 'user'),
    openFiles: params['openFiles'] === null ? null : count(params, 'openFiles'),
    ...(params['limits'] === undefined ? {} : { limits: limitsOf(object(params, 'limits')) }),
    stdin: boolean(params, 'stdin'),
    stop: { signal: signalOf(stop, 'signal'), graceMs: count(stop, 'graceMs') },
    log: { directory, maxBytes: Math.max(1, count(log, 'maxBytes')), files: Math.max(1, count(log, 'files')) },
    host: optionalString(params, 'host'),
    launch: params['launch'] === null ? null : object(params, 'launch'),
    keep: texts(params, 'keep'),
  };
};

export const adoptOrder = (raw: unknown): ShimMethods['adopt']['params'] => {
  const params = paramsOf(raw);
  return {
    ...spawnOrder(raw),
    pid: count(params, 'pid'),
    startTime: count(params, 'startTime'),
    revision: count(params, 'revision'),
    ...(params['known'] === undefined ? {} : { known: knownOf(object(params, 'known')) }),
  };
};

const knownOf = (known: Params): Known => ({
  running: boolean(known, 'running'),
  ready: boolean(known, 'ready'),
  state: known['state'] === null ? null : object(known, 'state'),
  stateAt: known['stateAt'] === null ? null : count(known, 'stateAt'),
  ranMs: count(known, 'ranMs'),
});

export const signalOrder = (raw: unknown): ShimMethods['signal']['params'] => {
  const params = paramsOf(raw);
  const to = string(params, 'to');
  if (to !== 'group' && to !== 'leader') throw wrong('to', 'group or leader');
  return { run: runOf(params), signal: signalOf(params, 'signal'), to };
};

export const downOrder = (raw: unknown): ShimMethods['down']['params'] => {
  const params = paramsOf(raw);
  return { run: runOf(params), message: object(params, 'message') };
};

export const inputOrder = (raw: unknown): ShimMethods['input']['params'] => {
  const params = paramsOf(raw);
  return { run: runOf(params), text: string(params, 'text') };
};

export const publishOrder = (raw: unknown): ShimMethods['publish']['params'] => {
  const params = paramsOf(raw);
  return { run: runOf(params), patch: object(params, 'patch') };
};

export const concludeOrder = (raw: unknown): ShimMethods['conclude']['params'] => {
  const params = paramsOf(raw);
  const exit = object(params, 'exit');
  string(exit, 'kind');
  return { run: runOf(params), exit: exit as unknown as Exit };
};
