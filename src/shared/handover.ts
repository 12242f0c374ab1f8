/**
 * The note that a daemon leaves beside its socket while it is replaced: the socket is gone for a moment, and so is the
 * lock, and whoever would start another daemon, or give up, is told to wait. It stays afterwards: a client whose
 * connection ended by a replacement knows by it that what was not answered was not done.
 */
import { readBootId, sinceBoot } from './since-boot.ts';

export interface Handover {
  /** The daemon's, which it keeps. */
  readonly pid: number;
  /** Of that process, in clock ticks since boot: a pid alone is not proof. */
  readonly startTime: number;
  /** When it began; milliseconds since boot, as clocks are set now and then. */
  readonly fromMono: number;
  /** Until when it may take; past once the next daemon listens. */
  readonly untilMono: number;
}

/** A start takes a fraction of a second, on a busy machine a few. */
export const handoverMs = 15_000;

export const handoverPath = (socket: string): string => `${socket}.handover`;

// Loaded where a connection failed: most calls never come here.
const fs = () => process.getBuiltinModule('node:fs');

/** Whole or not at all: clients read it at any moment. Never through a link that somebody put there. */
export const writeHandover = (socket: string, handover: Handover): void => {
  const { renameSync, rmSync, writeFileSync } = fs();
  const path = handoverPath(socket);
  const next = `${path}.${process.pid}`;
  const { fromMono, untilMono } = handover;
  const epoch = Date.now() - sinceBoot();
  // The last two are what clients of earlier builds read.
  const [at, untilAt] = [Math.floor(epoch + fromMono), Math.floor(epoch + untilMono)];
  rmSync(next, { force: true });
  const note = `${JSON.stringify({ ...handover, boot: readBootId(), at, untilAt })}\n`;
  try {
    writeFileSync(next, note, { mode: 0o600, flag: 'wx' });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
};

/** The next daemon is there: what an earlier one promised is void. */
export const forgetHandover = (socket: string): void => fs().rmSync(handoverPath(socket), { force: true });

/** `null` also for one of another boot, and for one that whoever may write there has planted. */
export const readHandover = (socket: string): Handover | null => {
  try {
    const { lstatSync, readFileSync } = fs();
    const path = handoverPath(socket);
    const note = lstatSync(path);
    if (!note.isFile() || ![process.geteuid?.(), 0].includes(note.uid)) return null;
    const read = JSON.parse(readFileSync(path, 'utf8')) as Partial<Record<keyof Handover | 'boot', unknown>>;
    const { pid, startTime, fromMono, untilMono, boot } = read;
    if (boot !== readBootId() || ![pid, startTime, fromMono, untilMono].every(Number.isFinite)) return null;
    return { pid, startTime, fromMono, untilMono } as Handover;
  } catch {
    return null;
  }
};

/** In clock ticks since boot; `null`: there is no such process, or it has ended. */
export const startTimeOf = (pid: number): number | null => {
  try {
    const stat = fs().readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : Number(fields[19]);
  } catch {
    return null;
  }
};

/** Its process lives: one that was killed in the middle of its replacement has promised nothing of what it had begun. */
const isKept = ({ pid, startTime }: Handover): boolean => startTimeOf(pid) === startTime;

/** A daemon is being replaced at this moment, by the process that it is itself. */
export const isHandingOver = (socket: string): Handover | null => {
  const handover = readHandover(socket);
  return handover !== null && sinceBoot() <= handover.untilMono && isKept(handover) ? handover : null;
};

/** Killed in the middle of its replacement: then there is no socket, as after an orderly end, and yet it crashed. */
export const diedHandingOver = (socket: string): boolean => {
  const handover = readHandover(socket);
  // One that came through it has said since when it listens.
  return handover !== null && handover.untilMono - handover.fromMono > handoverMs - 1 && !isKept(handover);
};

/** A connection opened at `openedMono` was to a daemon that let itself be replaced: what it had not answered was not done. */
export const wasHandedOver = (socket: string, openedMono: number): boolean => {
  const handover = readHandover(socket);
  return handover !== null && handover.untilMono > openedMono && isKept(handover);
};
