/** The files of a run's log, as the writer handles them: opened only where they are ours, healed, dropped. */
import { closeSync, constants, fstatSync, lstatSync, openSync, renameSync, statSync, unlinkSync } from 'node:fs';
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
  const idx = openSync(newest.idxPath, constants.O_RDONLY | constants.O_NOFOLLOW);
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

export const inode = (descriptor: number): bigint => fstatSync(descriptor, { bigint: true }).ino;
const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

export const remove = (path: string): void => {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
};
