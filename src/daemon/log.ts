/** The daemon's own log: JSON lines to stderr (or the file it is pointed at), pretty for people at a terminal. */
import { closeSync, constants, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import pino from 'pino';
import pretty from 'pino-pretty';
import { hasCode } from '../shared/log-file.ts';
import { sinceBoot } from '../shared/since-boot.ts';
import { LogPace } from './log-pace.ts';
import type { Logger } from './ports.ts';

export interface LogOptions {
  readonly level: string;
  readonly terminal: boolean;
  /** `null`: stderr. */
  readonly file: string | null;
}

/** Through no link that somebody put there. */
export const openLog = (file: string): number => {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
  return openSync(file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600);
};

/**
 * Writes at once, and never fails: a full disk, or a reader of stderr that has gone, is no reason for the daemon to end.
 * What is lost meanwhile is counted, and said once it can be.
 */
export class LineSink {
  #descriptor: number;
  readonly #write: typeof writeSync;
  #lost = 0;
  /** The last line was written in part. */
  #torn = false;

  constructor(descriptor: number, write: typeof writeSync = writeSync) {
    this.#descriptor = descriptor;
    this.#write = write;
  }

  write(line: string): void {
    if (this.#lost > 0) {
      const said = JSON.stringify({
        level: 'warn',
        time: new Date().toISOString(),
        lines: this.#lost,
        msg: 'lines of this log could not be written',
      });
      if (!this.#put(`${this.#torn ? '\n' : ''}${said}\n`)) {
        this.#lost += 1;
        return;
      }
      this.#lost = 0;
    }
    if (!this.#put(line)) this.#lost += 1;
  }

  /** What comes from now on goes there. */
  protected turnTo(descriptor: number): number {
    const before = this.#descriptor;
    this.#descriptor = descriptor;
    return before;
  }

  #put(text: string): boolean {
    const bytes = Buffer.from(text);
    let written = 0;
    try {
      while (written < bytes.length) written += this.#write(this.#descriptor, bytes, written);
      this.#torn = false;
      return true;
    } catch {
      this.#torn ||= written > 0;
      return false;
    }
  }
}

export const maxLogBytes = 10 * 1024 * 1024;

/** A file of its own, kept bounded: one that is full is kept beside it as `.1`, and the one before that goes. */
export class FileSink extends LineSink {
  readonly #file: string;
  #bytes = 0;

  constructor(file: string) {
    const descriptor = openLog(file);
    super(descriptor);
    this.#file = file;
    this.#bytes = fstatSync(descriptor).size;
  }

  override write(line: string): void {
    if (this.#bytes > maxLogBytes) this.#rotate();
    super.write(line);
    this.#bytes += Buffer.byteLength(line);
  }

  #rotate(): void {
    // Where it cannot be, it goes on as it is, and is tried again when as much has come again.
    this.#bytes = 0;
    try {
      renameSync(this.#file, `${this.#file}.1`);
    } catch (error) {
      // Taken away by somebody, or moved by us when there was no room for a new one: what is open has no end.
      if (!hasCode(error, 'ENOENT')) return;
    }
    try {
      closeSync(this.turnTo(openLog(this.#file)));
    } catch {
      // No room for a new one.
    }
  }
}

export interface OwnLog extends Logger {
  /** How many more there were of what was only counted so far. By itself at the process's end, but not where it goes on as another program. */
  sayCounted(): void;
}

export const createLog = ({ level, terminal, file }: LogOptions): OwnLog => {
  const pace = new LogPace({ mono: sinceBoot, after: (ms, callback) => void setTimeout(callback, ms).unref() });
  process.once('exit', () => pace.flush());
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    hooks: {
      logMethod(words, method) {
        const [details, message] = words as [object, string];
        const isAdmitted = pace.admit(message, (more) => method.apply(this, [{ more }, `${message}: so many more`]));
        if (isAdmitted) method.apply(this, [details, message]);
      },
    },
  };
  // In this process and synchronously: a line that explains a crash must not be lost with it.
  const stream = terminal
    ? pretty({ destination: 2, sync: true, translateTime: 'SYS:HH:MM:ss.l' })
    : file === null
      ? new LineSink(2)
      : new FileSink(file);
  return Object.assign(pino(options, stream), { sayCounted: () => pace.flush() });
};
