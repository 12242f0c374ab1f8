/**
 * Starts a daemon that outlives its starter: forked twice, in a session of its own, with a clean environment and none
 * of the starter's descriptors; waits for its one line of readiness. Used by `workerd start --detach` and by the CLI.
 */
import { existsSync, readFileSync } from 'node:fs';
import { closeInherited } from './descriptors.ts';
import { isClean } from './environment.ts';
import { failpointVariable } from './failpoints.ts';
import type { Places } from './paths.ts';
import { startersOpenFiles } from './resource-limits.ts';

export interface LaunchOptions {
  readonly places: Places;
  /** The bundle of the daemon. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** More for its command line. */
  readonly flags?: readonly string[];
  readonly signal?: AbortSignal;
}

export type Readiness =
  | { readonly kind: 'ready'; readonly pid: number }
  /** Another daemon holds the home. */
  | { readonly kind: 'running' }
  /** `exitCode`: what the refusal it gave means, where it gave one. */
  | { readonly kind: 'failed'; readonly why: string; readonly exitCode?: number };

/**
 * It lives for months: V8 by itself lets the young generation grow to some 100 MB, and keeps it, and starts a helper
 * thread for every core, each with memory of its own. 1 MiB instead of 2 saves 2 MiB, and a fifth of the round trips.
 * What leisure.ts collects V8 would collect once more, 8 s later.
 */
const memoryFlags = ['--max-semi-space-size=2', '--v8-pool-size=1', '--no-memory-reducer'];
/** A first start makes directories and a database; on a busy machine that takes its time. */
const readyWithinMs = 20_000;

/** The log level and the faults of a test are its own. */
const ownVariables: readonly string[] = ['WORKERD_LOG', failpointVariable];

/** Nothing else of whoever happens to start it: a marker would make it part of a worker, a secret would stay for months. */
const cleanEnvironment = (env: LaunchOptions['env']): Record<string, string> =>
  Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && (isClean(entry[0]) || ownVariables.includes(entry[0])),
    ),
  );

/** It cannot ask for itself: between us and it is a shell, which has the limit that Node has raised. */
const openFiles = (): readonly string[] => {
  const soft = startersOpenFiles();
  return soft === null ? [] : ['--open-files', String(soft)];
};

export const launchDaemon = async ({ places, program, env, flags = [], signal }: LaunchOptions): Promise<Readiness> => {
  // Only here: most calls find a daemon and need no child process.
  const { spawn } = process.getBuiltinModule('node:child_process');
  closeInherited(undefined);
  const where = ['--home', places.home, '--socket', places.socket];
  const argv = [process.execPath, '--disable-sigusr1', ...memoryFlags, program, 'start', '--background', ...where];
  argv.push('--ready-fd', '3', ...(flags.includes('--open-files') ? [] : openFiles()), ...flags);
  const child = spawn('/bin/sh', ['-c', '"$@" </dev/null >/dev/null 2>&1 &', 'sh', ...argv], {
    cwd: '/',
    detached: true,
    env: cleanEnvironment(env),
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const { promise, resolve, reject } = Promise.withResolvers<Readiness>();
  const failed = (why: string) => resolve({ kind: 'failed', why });
  const abort = () => reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  const timer = setTimeout(() => failed(`it was not ready in ${readyWithinMs / 1000} s`), readyWithinMs);
  child.once('error', (error) => failed(error.message));
  child.unref();
  // Without a descriptor to be had there is no child, and nothing of it but its error.
  const ready = (child as Partial<typeof child>).stdio?.[3];
  let said = '';
  if (ready !== null && ready !== undefined && 'on' in ready) {
    ready.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
      if (said.includes('\n')) resolve(readReadiness(said.slice(0, said.indexOf('\n'))));
    });
    ready.on('end', () => failed(`it ended at once${lastWords(places.daemonLog)}`));
    ready.on('error', (error: Error) => failed(error.message));
  }
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    ready?.destroy();
  }
};

/** What a failed start adds to an error's details. */
export const detailsOf = ({ exitCode }: { readonly exitCode?: number }): Readonly<Record<string, unknown>> =>
  exitCode === undefined ? {} : { exitCode };

const readReadiness = (line: string): Readiness => {
  try {
    const said = JSON.parse(line) as {
      ready?: unknown;
      pid?: unknown;
      running?: unknown;
      error?: unknown;
      exitCode?: unknown;
    };
    if (said.ready === true && typeof said.pid === 'number') return { kind: 'ready', pid: said.pid };
    if (said.running === true) return { kind: 'running' };
    if (typeof said.error === 'string') {
      const { exitCode } = said;
      return { kind: 'failed', why: said.error, ...(typeof exitCode === 'number' ? { exitCode } : {}) };
    }
  } catch {
    // Said below.
  }
  return { kind: 'failed', why: 'it said something else than that it is ready' };
};

/** The last message of the daemon's own log, where there is one. */
const lastWords = (log: string): string => {
  try {
    const line = readFileSync(log, 'utf8').trimEnd().split('\n').at(-1) ?? '';
    const { msg, level } = JSON.parse(line) as { msg?: unknown; level?: unknown };
    // One that was killed had nothing to say of it: what it did last is no reason.
    return typeof msg === 'string' && level !== 'info' ? `: ${msg} (${log})` : `; see ${log}`;
  } catch {
    return existsSync(log) ? `; see ${log}` : '';
  }
};
