/**
 * The note that a daemon leaves beside its socket while it is replaced: the socket is gone for a moment, and so is the
 * lock, and whoever would start another daemon, or give up, is told to wait. It stays afterwards: a client whose
 * connection ended by a replacement knows by it that what was not answered was not done.
 */
import type { BigIntStats } from 'node:fs';

export interface Handover {
  /** The daemon's, which it keeps. */
  readonly pid: number;
  /** Of that process, in clock ticks since boot: a pid alone is not proof. */
  readonly startTime: number;
  /** When it began; milliseconds since the epoch. */
  readonly at: number;
  /** Until when it may take; past once the next daemon listens. */
  readonly untilAt: number;
}

/** A start takes a fraction of a second, on a busy machine a few. */
export const handoverMs = 15_000;

export const handoverPath = (socket: string): string => `${socket}.handover`;

// Loaded where a connection failed: most calls never come here.
const fs = () => process.getBuiltinModule('node:fs');

/** Whole or not at all: clients read it at any moment. */
export const writeHandover = (socket: string, handover: Handover): void => {
  const { renameSync, writeFileSync } = fs();
  const path = handoverPath(socket);
  const next = `${path}.${process.pid}`;
  writeFileSync(next, `${JSON.stringify(handover)}\n`, { mode: 0o600 });
  renameSync(next, path);
};

export const readHandover = (socket: string): Handover | null => {
  try {
    const { lstatSync, readFileSync } = fs();
    const path = handoverPath(socket);
    const own: BigIntStats = lstatSync(path, { bigint: true });
    const read = JSON.parse(readFileSync(path, 'utf8')) as Partial<Record<keyof Handover, unknown>>;
    const { pid, startTime, at, untilAt } = read;
    if (!own.isFile() || ![pid, startTime, at, untilAt].every(Number.isSafeInteger)) return null;
    return { pid, startTime, at, untilAt } as Handover;
  } catch {
    return null;
  }
};

/** In clock ticks since boot; `null`: there is no such process. */
export const startTimeOf = (pid: number): number | null => {
  try {
    const stat = fs().readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch {
    return null;
  }
};

/** A daemon is being replaced at this moment, by the process that it is itself. */
export const isHandingOver = (socket: string): Handover | null => {
  const handover = readHandover(socket);
  if (handover === null || Date.now() > handover.untilAt || handover.at > Date.now()) return null;
  return startTimeOf(handover.pid) === handover.startTime ? handover : null;
};
