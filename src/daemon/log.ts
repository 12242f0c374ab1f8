/** The daemon's own log: JSON lines to stderr (or the file it is pointed at), pretty for people at a terminal. */
import { constants, openSync, renameSync, statSync, writeSync } from 'node:fs';
import pino from 'pino';
import pretty from 'pino-pretty';
import type { Places } from '../shared/paths.ts';
import type { Logger } from './ports.ts';

export interface LogOptions {
  readonly level: string;
  readonly terminal: boolean;
  /** `null`: stderr. */
  readonly file: string | null;
}

const openLog = (file: string): number => {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
  return openSync(file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600);
};

/**
 * Writes at once, and never fails: a full disk, or a reader of stderr that has gone, is no reason for the daemon to end.
 * What is lost meanwhile is counted, and said once it can be.
 */
export class LineSink {
  readonly #descriptor: number;
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

export const createLog = ({ level, terminal, file }: LogOptions): Logger => {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  // In this process and synchronously: a line that explains a crash must not be lost with it.
  const stream = terminal
    ? pretty({ destination: 2, sync: true, translateTime: 'SYS:HH:MM:ss.l' })
    : new LineSink(file === null ? 2 : openLog(file));
  return pino(options, stream);
};

const maxLogBytes = 10 * 1024 * 1024;

/** The daemon's own log, when detached: kept bounded by starting a new one and keeping the last. */
export const rotateDaemonLog = (places: Places): void => {
  try {
    if (statSync(places.daemonLog).size > maxLogBytes) renameSync(places.daemonLog, `${places.daemonLog}.1`);
  } catch {
    // Not there yet.
  }
};
