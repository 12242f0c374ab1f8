/**
 * Starting the daemon for a verb that needs one: in a session of its own, with none of the caller's descriptors, and
 * waiting until it answers. Where a service manager runs it, it is waited for and none is started.
 */
import { existsSync, readFileSync } from 'node:fs';
import { type Client, unreachable } from '../shared/client.ts';
import { closeInherited } from '../shared/descriptors.ts';
import { WorkerdError } from '../shared/errors.ts';
import type { Places } from '../shared/paths.ts';

const answerWithinMs = 5000;
/** A first start makes directories and a database; on a busy machine that takes its time. */
const readyWithinMs = 20_000;

export interface AutostartOptions {
  readonly places: Places;
  /** The bundle of the daemon. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly connect: () => Promise<Client>;
  readonly signal: AbortSignal;
  /** Told once, when this call started one. */
  readonly onStarted: (pid: number) => void;
}

type Readiness =
  | { readonly kind: 'ready'; readonly pid: number }
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly why: string };

export const connectOrStart = async (options: AutostartOptions): Promise<Client> => {
  if (existsSync(options.places.serviceMark)) return untilConnected(options);
  const readiness = await startDaemon(options);
  if (readiness.kind === 'failed') {
    throw new WorkerdError(
      'daemon.unreachable',
      `cannot start the daemon: ${readiness.why}. To see it in full: workerd start`,
      {
        reason: 'no socket',
        socket: options.places.socket,
      },
    );
  }
  if (readiness.kind === 'ready') options.onStarted(readiness.pid);
  return untilConnected(options);
};

/** Tries again at once, then less and less often, for 5 s: another client's daemon is on its way. */
const untilConnected = async ({ places, connect, signal }: AutostartOptions): Promise<Client> => {
  const deadline = performance.now() + answerWithinMs;
  for (let pauseMs = 10; ; pauseMs = Math.min(50, pauseMs * 1.5)) {
    try {
      return await connect();
    } catch (error) {
      signal.throwIfAborted();
      const waiting = error instanceof WorkerdError && error.data['reason'] === 'no socket';
      if (!waiting) throw error;
      if (performance.now() > deadline) throw unreachable(places.socket, 'no socket');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
};

const startDaemon = async (options: AutostartOptions): Promise<Readiness> => {
  const { places, program, env, signal } = options;
  // Only here: most calls find a daemon and need no child process.
  const { spawn } = process.getBuiltinModule('node:child_process');
  // What this process was given above descriptor 15 Node would pass on.
  closeInherited(undefined);
  const daemon = [process.execPath, program, 'start', '--background', '--home', places.home, '--socket', places.socket];
  const child = spawn('/bin/sh', ['-c', '"$@" </dev/null >/dev/null 2>&1 &', 'sh', ...daemon, '--ready-fd', '3'], {
    cwd: '/',
    detached: true,
    env: cleanEnvironment(env),
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const ready = child.stdio[3];
  const { promise, resolve, reject } = Promise.withResolvers<Readiness>();
  const failed = (why: string) => resolve({ kind: 'failed', why });
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  const timer = setTimeout(() => failed(`it was not ready in ${readyWithinMs / 1000} s`), readyWithinMs);
  let said = '';
  child.once('error', (error) => failed(error.message));
  child.unref();
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
    signal.removeEventListener('abort', abort);
    ready?.destroy();
  }
};

const readReadiness = (line: string): Readiness => {
  try {
    const said = JSON.parse(line) as { ready?: unknown; pid?: unknown; running?: unknown; error?: unknown };
    if (said.ready === true && typeof said.pid === 'number') return { kind: 'ready', pid: said.pid };
    if (said.running === true) return { kind: 'running' };
    if (typeof said.error === 'string') return { kind: 'failed', why: said.error };
  } catch {
    // Said below.
  }
  return { kind: 'failed', why: 'it said something else than that it is ready' };
};

/** The last message of the daemon's own log, where there is one. */
const lastWords = (log: string): string => {
  try {
    const line = readFileSync(log, 'utf8').trimEnd().split('\n').at(-1) ?? '';
    const { msg } = JSON.parse(line) as { msg?: unknown };
    return typeof msg === 'string' ? `: ${msg} (${log})` : `; see ${log}`;
  } catch {
    return existsSync(log) ? `; see ${log}` : '';
  }
};

const notForTheDaemon =
  /^(?:NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS|NODE_CHANNEL_FD|NOTIFY_SOCKET|LD_.*|DYLD_.*|LISTEN_.*|WATCHDOG_.*)$/;
/** What a worker that calls us was given for itself: with its marker the daemon would be taken for a part of it. */
const ofAWorker = /^WORKERD_(?:NAME|GENERATION|RUN|FD|DOWN_FD|PARAMS)$/;

const cleanEnvironment = (env: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(env).filter(([key]) => !notForTheDaemon.test(key) && !ofAWorker.test(key)),
  ) as NodeJS.ProcessEnv;
