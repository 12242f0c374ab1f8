/** The daemon's own log: JSON lines to stderr (or the file it is pointed at), pretty for people at a terminal. */
import { renameSync, statSync } from 'node:fs';
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
    : pino.destination({ dest: file ?? 2, sync: true, mode: 0o600 });
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
