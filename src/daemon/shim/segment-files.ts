/** The files of a run's log, as the writer handles them: opened only where they are ours, healed, dropped. */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { hasCode, indexEnd, listSegments, segmentPaths } from '../../shared/log-file.ts';

/** A writer that died between its two renames left the index of the newest numbered segment behind. */
export const healHalfRotation = (directory: string, generation: number): void => {
  const live = segmentPaths(directory, generation, null);
  const newest = listSegments(directory, generation).findLast((segment) => segment.number !== null);
  if (newest === undefined || exists(newest.idxPath) || exists(live.logPath) || !exists(live.idxPath)) return;
  renameSync(live.idxPath, newest.idxPath);
};

/** Where this run's numbered segments end in its output. */
export const endOfEarlier = (directory: string, generation: number): number => {
  const newest = listSegments(directory, generation).findLast((segment) => segment.number !== null);
  if (newest === undefined || !exists(newest.idxPath)) return 0;
  const idx = openSync(newest.idxPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return indexEnd(idx).offset;
  } finally {
    closeSync(idx);
  }
};

/** Refuses a link under the name of the directory: what is written would land elsewhere. */
export const checkDirectory = (path: string): void => {
  if (!lstatSync(path).isDirectory()) throw new Error(`it is not a directory. Move ${path} away`);
};

/** Refuses what another planted under the name. */
export const openOwn = (path: string): number => {
  const descriptor = openSync(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW,
    0o600,
  );
  const stat = fstatSync(descriptor);
  const fault = !stat.isFile()
    ? 'it is not a regular file'
    : stat.uid !== process.geteuid?.()
      ? 'it belongs to somebody else'
      : stat.nlink > 1
        ? 'it has another name elsewhere (a hard link)'
        : null;
  if (fault === null) return descriptor;
  closeSync(descriptor);
  throw new Error(`${fault}. Move ${path} out of ${dirname(path)}`);
};

/** A file of ours with just this in it, in place of the one that has the name: who reads that one sees it is another. */
export const replaceOwn = (path: string, text: string): number => {
  const made = `${path}.new`;
  remove(made);
  const descriptor = openOwn(made);
  try {
    writeWhole(descriptor, text);
    renameSync(made, path);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    remove(made);
    throw error;
  }
};

/** All of it, or an error: half of it would say something else. */
const writeWhole = (descriptor: number, text: string): void => {
  if (writeSync(descriptor, text, null, 'latin1') < text.length) {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  }
};

export const inodeAt = (path: string): bigint | undefined =>
  statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
export const inode = (descriptor: number): bigint => fstatSync(descriptor, { bigint: true }).ino;
const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const remove = (path: string): void => {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
};

/** Of this many runs a worker's logs are kept at most, however short: each is looked at whenever another begins. */
const mostRuns = 200;

interface Bounds {
  readonly directory: string;
  readonly generation: number;
  readonly maxBytes: number;
  readonly files: number;
  /** The segment being written, which is never dropped. */
  readonly live: string;
  readonly liveBytes: number;
}

/** Drops the oldest segments until the worker keeps within its bounds; gives back the bytes of those that are left. */
export const dropOldest = ({ directory, generation, maxBytes, files, live, liveBytes }: Bounds): number => {
  const sizes = listSegments(directory)
    .filter((segment) => segment.logPath !== live)
    .map((segment) => ({ segment, bytes: sizeOf(segment.logPath) + sizeOf(segment.idxPath) }));
  let total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  let own = sizes.filter(({ segment }) => segment.generation === generation).length + 1;
  for (const { segment, bytes } of sizes) {
    const tooMany = segment.generation === generation && own > files;
    const tooOld = segment.generation <= generation - mostRuns;
    if (!tooMany && !tooOld && total + liveBytes <= files * maxBytes) continue;
    remove(segment.logPath);
    remove(segment.idxPath);
    total -= bytes;
    if (segment.generation === generation) own -= 1;
  }
  return total;
};
