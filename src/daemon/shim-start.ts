/** Connects to a shim that is there; starts one so that it outlives whoever started it, and waits until it can be asked. */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Places } from '../shared/paths.ts';
import type { Identity } from './core/model.ts';
import { openLog } from './log.ts';
import type { ProcessTable } from './ports.ts';

export interface ShimSurroundings {
  readonly env: Readonly<Record<string, string>>;
  /** The file for what it says by itself. */
  readonly log: string;
  readonly processes: ProcessTable;
}

/** As the daemon's (launch.ts), and a smaller young generation still: it makes little garbage, and forks all it has. */
export const shimFlags: readonly string[] = ['--max-semi-space-size=1', '--v8-pool-size=1', '--no-memory-reducer'];

export const shimArguments = (programs: string, { home }: Places): readonly string[] => [
  join(programs, 'shim.cjs'),
  '--home',
  home,
  '--ready-fd',
  '3',
];

/** A shim that was started says so within this, or the start counts as failed. */
const startMs = 10_000;

/** `command` says on descriptor 3 when it is ready. What went wrong, or `null`. */
export const startShim = async (
  command: readonly string[],
  { env, log, processes }: ShimSurroundings,
): Promise<string | null> => {
  const words = openWords(log);
  // Forked twice: the shell is gone at once, the shim is nobody's child and in a session of its own.
  const child = spawn('/bin/sh', ['-c', '"$@" & echo "$!" >&3', 'sh', ...command], {
    cwd: '/',
    env: { ...env },
    detached: true,
    stdio: ['ignore', 'ignore', words ?? 'ignore', 'pipe'],
  });
  if (words !== null) closeSync(words);
  let started: Identity | null = null;
  const { stdio } = child as Partial<typeof child>;
  const failed = await readyLine(stdio?.[3] as Readable | undefined, child, (pid) => {
    const startTime = processes.startTimeOf(pid);
    if (typeof startTime === 'number') started = { pid, startTime };
  });
  // It holds nothing yet. Without processes to be had Node's own start stands still for ever.
  if (failed !== null && started !== null) processes.signal(started, 'SIGKILL');
  return failed;
};

/** `null`: a full disk, or one that is read-only, does without its words. */
const openWords = (path: string): number | null => {
  try {
    return openLog(path);
  } catch {
    return null;
  }
};

/** Waits for the shim's line on its ready descriptor; before it comes its pid. Says what went wrong, or `null`. */
const readyLine = (
  pipe: Readable | undefined,
  child: NodeJS.EventEmitter,
  onPid: (pid: number) => void,
): Promise<string | null> =>
  new Promise((resolve) => {
    let text = '';
    const timer = setTimeout(() => done(`it did not say that it is ready within ${startMs} ms`), startMs);
    const done = (why: string | null) => {
      clearTimeout(timer);
      pipe?.destroy();
      resolve(why);
    };
    child.once('error', (error: Error) => done(error.message));
    // Without a descriptor to be had there is no child, and nothing of it but that error.
    if (pipe === undefined) return;
    pipe.setEncoding('utf8');
    pipe.on('data', (chunk: string) => {
      const lines = `${text}${chunk}`.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        if (/^\d+$/.test(line)) onPid(Number(line));
        else if (line !== '') done(null);
      }
    });
    pipe.on('end', () => done('it ended before it was ready; see shim.log'));
    pipe.on('error', (error) => done(error.message));
  });

type Attempt = { readonly socket: Socket } | { readonly error: NodeJS.ErrnoException };

export const tryConnect = (path: string): Promise<Attempt> =>
  new Promise((resolve) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve({ socket });
    });
    socket.once('error', (error) => resolve({ error }));
  });
