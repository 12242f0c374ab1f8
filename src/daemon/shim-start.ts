/** Starts a shim so that it outlives whoever started it, and waits until it can be asked. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

/** A shim that was started says so within this, or the start counts as failed. */
const startMs = 10_000;

/** `command` says on descriptor 3 when it is ready; what it says by itself goes to `log`. What went wrong, or `null`. */
export const startShim = (
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  log: string,
): Promise<string | null> => {
  // Forked twice: the shell is gone at once, the shim is nobody's child and in a session of its own.
  const child = spawn('/bin/sh', ['-c', '"$@" </dev/null >/dev/null 2>>"$0" &', log, ...command], {
    cwd: '/',
    env: { ...env },
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  return readyLine(child.stdio[3] as Readable, child);
};

/** Waits for the shim's one line on its ready descriptor; says what went wrong, or `null`. */
const readyLine = (pipe: Readable, child: NodeJS.EventEmitter): Promise<string | null> =>
  new Promise((resolve) => {
    let text = '';
    const timer = setTimeout(() => done(`it did not say that it is ready within ${startMs} ms`), startMs);
    const done = (why: string | null) => {
      clearTimeout(timer);
      pipe.destroy();
      resolve(why);
    };
    pipe.setEncoding('utf8');
    pipe.on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n')) done(null);
    });
    pipe.on('end', () => done('it ended before it was ready; see shim.log'));
    pipe.on('error', (error) => done(error.message));
    child.once('error', (error: Error) => done(error.message));
  });
