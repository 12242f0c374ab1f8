/**
 * The world as the CLI sees it: three streams, the environment, signals. `processIo` is the real one; tests bring
 * their own. Output is written at once and whole; a reader that has gone is said as `BrokenPipe`.
 */
import { fstatSync, write, writeSync } from 'node:fs';
import { type SoftLimits, startersLimits } from '../shared/resource-limits.ts';
import { usage } from './values.ts';

export interface Output {
  readonly isTty: boolean;
  /** Columns and rows of the terminal; `null` where there is none. */
  size(): { readonly columns: number; readonly rows: number } | null;
  /**
   * Calls `listener` once nobody reads any more, which whoever waits before it writes would learn late; until the
   * returned function is called.
   */
  onAbandoned(listener: () => void): () => void;
  /** Throws BrokenPipe where nobody reads any more. */
  write(data: string | Uint8Array): void;
  /** As `write`, and signals are heard while a slow reader is waited for. */
  writePatiently(data: Uint8Array): Promise<void>;
}

export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly uid: number;
  cwd(): string;
  umask(): number;
  /** The soft resource limits that we were started under. */
  limits(): SoftLimits;
  /** The program of the daemon, beside this one. */
  daemonProgram(): string;
  /** Calls `listener` on each such signal until the returned function is called. */
  onSignal(signal: NodeJS.Signals, listener: () => void): () => void;
  /** Ends the process as this signal does by itself; an exit would wait for a write that is stuck. */
  endBy(signal: NodeJS.Signals): void;
  /** Calls `listener` as the last thing before the process ends, however it ends. */
  onExit(listener: () => void): () => void;
}

/** Whoever read our output has left: nothing more to do, and nothing to complain of. */
export class BrokenPipe extends Error {
  override readonly name = 'BrokenPipe';
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** A terminal or pipe that others made non-blocking answers EAGAIN when it is full: waited for, briefly and again. */
const pause = (): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
};
const pauseMs = 2;

/** Most output goes to a file or a pipe, and node:tty need not be loaded to know that. */
const isTerminal = (fd: number): boolean => {
  try {
    return fstatSync(fd).isCharacterDevice() && process.getBuiltinModule('node:tty').isatty(fd);
  } catch {
    return false;
  }
};

const isPipe = (fd: number): boolean => {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    return false;
  }
};

const isFile = (fd: number): boolean => {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
};

/**
 * Node cannot wait for the far end of a pipe to close without writing; `tail -f` does, and dies of it. One without these
 * flags, or none at all, ends in another way: then the next write has to tell.
 */
const watchPipe = (fd: number, listener: () => void): (() => void) => {
  if (!isPipe(fd)) return () => {};
  const { spawn } = process.getBuiltinModule('node:child_process');
  const sentry = spawn('tail', [`--pid=${process.pid}`, '-s', '0.3', '-f', '/dev/null'], {
    stdio: ['ignore', fd, 'ignore'],
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
  });
  sentry.on('error', () => {});
  sentry.on('exit', (_code, signal) => {
    if (signal === 'SIGPIPE') listener();
  });
  sentry.unref();
  return () => {
    sentry.removeAllListeners('exit');
    sentry.kill('SIGKILL');
  };
};

const makeOutput = (fd: 1 | 2): Output => ({
  isTty: isTerminal(fd),
  size() {
    if (!this.isTty) return null;
    const { columns, rows } = fd === 1 ? process.stdout : process.stderr;
    // A terminal that nobody told its size says 0.
    return { columns: columns || 80, rows: rows || 24 };
  },
  onAbandoned: (listener) => watchPipe(fd, listener),
  write(data) {
    let rest: Uint8Array = typeof data === 'string' ? Buffer.from(data) : data;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(fd, rest));
      } catch (error) {
        if (isUnwritable(error)) return;
        pause();
      }
    }
  },
  async writePatiently(data) {
    // A file keeps nobody waiting, and a thread would.
    if (isFile(fd)) return this.write(data);
    for (let rest = data; rest.length > 0; ) {
      try {
        rest = rest.subarray(await writeInThread(fd, rest));
      } catch (error) {
        if (isUnwritable(error)) return;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  },
});

/** Closed from the start: nothing is to be written. `false`: it is full, and is to be tried again. */
const isUnwritable = (error: unknown): boolean => {
  const code = codeOf(error);
  if (code === 'EPIPE' || code === 'EIO') throw new BrokenPipe();
  if (code !== 'EAGAIN' && code !== 'EBADF') throw error;
  return code === 'EBADF';
};

const writeInThread = (fd: number, bytes: Uint8Array): Promise<number> =>
  new Promise((resolve, reject) => {
    write(fd, bytes, (error, written) => (error === null ? resolve(written) : reject(error)));
  });

const currentDirectory = (): string => {
  try {
    return process.cwd();
  } catch {
    throw usage('the current directory is gone. Change to another one, or name one with -C');
  }
};

export const processIo = (daemonProgram: () => string): Io => ({
  env: process.env,
  stdout: makeOutput(1),
  stderr: makeOutput(2),
  uid: process.getuid?.() ?? 0,
  cwd: currentDirectory,
  umask: () => process.umask(),
  limits: startersLimits,
  daemonProgram,
  onSignal(signal, listener) {
    process.on(signal, listener);
    return () => process.removeListener(signal, listener);
  },
  endBy(signal) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  },
  onExit(listener) {
    process.on('exit', listener);
    return () => process.removeListener('exit', listener);
  },
});
