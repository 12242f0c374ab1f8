/**
 * The segments of a run's log, opened for reading while their writer rotates, drops and replaces them. Their order is
 * that of their numbers, and each has its place in the run's output also where somebody took its index away.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasCode, listSegments, type Segment, segmentPaths, statedBase } from './log-file.ts';

/** A segment opened for reading: it can be read to its end, whatever becomes of its name. */
export interface OpenSegment {
  readonly segment: Segment;
  readonly log: number;
  /** `null`: its index is gone. */
  readonly idx: number | null;
  readonly ino: bigint;
  readonly idxIno: bigint | null;
  /** Offset of its first byte in the run's output. */
  readonly base: number;
}

/** Opens the segment that holds `offset`, or else the first one after it; `null` where there is none. */
export const segmentAt = (directory: string, generation: number, offset: number): OpenSegment | null =>
  atOneMoment(directory, generation, (segments) => {
    let best: OpenSegment | null = null;
    let low = 0;
    let high = segments.length - 1;
    // The newest first: it is asked for most.
    for (let probe = high; low <= high; probe = (low + high) >> 1) {
      const open = openPlaced(segments, probe);
      const isOurs = open !== null && (open.base <= offset || probe === 0);
      const other = isOurs ? best : open;
      if (other !== null) closeSegment(other);
      if (isOurs) {
        best = open;
        low = probe + 1;
      } else high = open === null ? -1 : probe - 1;
    }
    return best;
  });

/** The segment that follows `previous` in the run's output. */
export const segmentAfter = (directory: string, previous: OpenSegment): OpenSegment | null =>
  nextInNumber(directory, previous) ??
  atOneMoment(directory, previous.segment.generation, (segments) => {
    const own = segments.findLastIndex(({ logPath }) => inodeOf(logPath) === previous.ino);
    if (own !== -1) return own + 1 < segments.length ? openPlaced(segments, own + 1) : null;
    // Dropped or deleted meanwhile: the first of those that began after it.
    let first: OpenSegment | null = null;
    for (let index = segments.length - 1; index >= 0; index -= 1) {
      const open = openPlaced(segments, index);
      if (open === null || open.base < previous.base) {
        if (open !== null) closeSegment(open);
        break;
      }
      if (first !== null) closeSegment(first);
      first = open;
    }
    return first;
  });

/** The usual case of many segments: nobody touched them, and there is no need to look at all. `null`: look. */
const nextInNumber = (directory: string, { segment, ino }: OpenSegment): OpenSegment | null => {
  const { generation, number } = segment;
  if (number === null) return null;
  const next = { generation, number: number + 1, ...segmentPaths(directory, generation, number + 1) };
  const open = openFiles(next);
  if (open === null) return null;
  const base = open.idx === null ? null : statedBase(open.idx);
  if (base !== null && inodeOf(segment.logPath) === ino) return { ...open, base };
  closeFiles(open);
  return null;
};

/** Its name belongs to another file now, it has another index, or it was a finished segment all along. */
export const hasMoved = ({ segment, ino, idxIno }: OpenSegment): boolean =>
  segment.number !== null || inodeOf(segment.logPath) !== ino || inodeOf(segment.idxPath) !== idxIno;

/** A writer that rotates faster than one can look is met between two rotations by then. */
const mostLooks = 200;

/** What `look` finds while no segment appeared or went: a rotation in between hides one under its new name. */
const atOneMoment = (
  directory: string,
  generation: number,
  look: (segments: readonly Segment[]) => OpenSegment | null,
): OpenSegment | null => {
  let segments = listSegments(directory, generation);
  for (let looks = 1; ; looks += 1) {
    const found = look(segments);
    const now = listSegments(directory, generation);
    const same = now.length === segments.length && now.every(({ number }, index) => number === segments[index]?.number);
    if (same || looks === mostLooks) return found;
    if (found !== null) closeSegment(found);
    segments = now;
  }
};

const inodeOf = (path: string): bigint | null => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino ?? null;

/** `null` where it has been rotated away or dropped meanwhile. */
const openPlaced = (segments: readonly Segment[], index: number): OpenSegment | null => {
  const open = openFiles(segments[index] as Segment);
  if (open === null) return null;
  const base = (open.idx === null ? null : statedBase(open.idx)) ?? guessedBase(segments, index, open);
  return { ...open, base };
};

/** Where no index says so: after the one before it, or before the one after it, or at the start. */
const guessedBase = (segments: readonly Segment[], index: number, { segment, log }: Files): number => {
  if (index > 0) {
    const before = openPlaced(segments, index - 1);
    if (before === null) return 0;
    const end = before.base + fstatSync(before.log).size;
    closeSegment(before);
    return end;
  }
  const after = segments[1];
  if (segment.number === null || segment.number === 1 || after === undefined) return 0;
  const next = openFiles(after);
  if (next === null) return 0;
  const stated = next.idx === null ? null : statedBase(next.idx);
  closeFiles(next);
  return Math.max(0, (stated ?? 0) - fstatSync(log).size);
};

type Files = Omit<OpenSegment, 'base'>;

const openFiles = (segment: Segment): Files | null => {
  const log = openIfThere(segment.logPath);
  if (log === null) return null;
  let idx: number | null = null;
  try {
    const { ino } = fstatSync(log, { bigint: true });
    idx = openIfThere(segment.idxPath) ?? indexLeftBehind(segment);
    const idxIno = idx === null ? null : fstatSync(idx, { bigint: true }).ino;
    // The log is renamed before its index: the name still ours now means that the index was ours, too.
    if (inodeOf(segment.logPath) === ino) return { segment, log, idx, ino, idxIno };
  } catch (error) {
    closeFiles({ log, idx });
    throw error;
  }
  closeFiles({ log, idx });
  return null;
};

/** Between the writer's two renames, or for long where it died there: still under the name of the live one. */
const indexLeftBehind = ({ logPath, idxPath, generation, number }: Segment): number | null => {
  const live = segmentPaths(dirname(logPath), generation, null);
  if (number === null || existsSync(live.logPath)) return null;
  const idx = openIfThere(live.idxPath);
  if (idx === null) return null;
  // Renamed meanwhile it may be the next one's by now.
  const renamed = inodeOf(idxPath);
  if (renamed === null || renamed === fstatSync(idx, { bigint: true }).ino) return idx;
  closeSync(idx);
  return openIfThere(idxPath);
};

/** Never waits, whatever somebody put under the name; only what is a file is there. */
const openIfThere = (path: string): number | null => {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO')) return null;
    throw error;
  }
  if (fstatSync(descriptor).isFile()) return descriptor;
  closeSync(descriptor);
  return null;
};

const closeFiles = ({ log, idx }: Pick<Files, 'log' | 'idx'>): void => {
  closeSync(log);
  if (idx !== null) closeSync(idx);
};

export const closeSegment = (open: OpenSegment): void => closeFiles(open);
