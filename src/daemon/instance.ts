/**
 * One daemon per home: makes and checks the home, and holds the lock for life. The lock is an exclusive transaction on
 * `lock.db`: the kernel frees it with the process, kill -9 included, and no child inherits it.
 */
import { lstatSync, mkdirSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { WorkerdError } from '../shared/errors.ts';
import { checkSocketPath, type Places } from '../shared/paths.ts';

/** A refusal whose exit code is "no permission". */
const refused = (message: string): WorkerdError => new WorkerdError('internal', message, { exitCode: 77 });

const ownUid = (): number => process.getuid?.() ?? -1;

const statOf = (path: string): Stats | null => {
  try {
    return lstatSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw refused(`cannot look at ${path}: ${(error as Error).message}`);
  }
};

/** Ours alone: a directory, no link, our uid, no access for others. What another owns is refused, never repaired. */
const checkOwn = (path: string, stat: Stats): void => {
  if (stat.isSymbolicLink()) throw refused(`${path} is a symbolic link; name the real directory with --home`);
  if (!stat.isDirectory()) throw refused(`${path} is not a directory. Move it away, or choose another --home`);
  if (stat.uid !== ownUid()) {
    throw refused(`${path} belongs to uid ${stat.uid}, not to uid ${ownUid()}. Choose another place with --home`);
  }
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8);
    throw refused(`${path} has mode ${mode} and is open to others. Close it with: chmod 700 ${path}`);
  }
};

/** Nobody else may be able to swap what we go through. */
const checkAncestors = (path: string): void => {
  for (let parent = dirname(path); ; parent = dirname(parent)) {
    const stat = statOf(parent);
    if (stat !== null && !stat.isSymbolicLink()) {
      if (stat.uid !== 0 && stat.uid !== ownUid()) {
        throw refused(`${parent} belongs to uid ${stat.uid}, who could replace ${path}. Choose another --home`);
      }
      const sticky = (stat.mode & 0o1000) !== 0;
      if ((stat.mode & 0o022) !== 0 && !sticky) {
        throw refused(`${parent} can be written by others, who could replace ${path}. Choose another --home`);
      }
    }
    if (parent === dirname(parent)) return;
  }
};

const makeOwn = (path: string): void => {
  const before = statOf(path);
  if (before === null) {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') throw refused(`cannot make ${path}: ${message}`);
      throw new WorkerdError('internal', `cannot make ${path}: ${message}`);
    }
  }
  const stat = before ?? statOf(path);
  if (stat !== null) checkOwn(path, stat);
  checkAncestors(path);
};

/** The socket's own directory, where that is not the home: made where it is missing. */
export const prepareSocketDirectory = ({ home, socket }: Pick<Places, 'home' | 'socket'>): void => {
  const directory = dirname(socket);
  if (directory === home) return;
  const stat = statOf(directory);
  if (stat === null) makeOwn(directory);
  else if (stat.uid !== ownUid() && stat.uid !== 0) {
    throw refused(`${directory} belongs to uid ${stat.uid}. Choose another place for the socket with --socket`);
  }
};

/** Makes the directories with mode 0700; throws a WorkerdError in words. The umask is 077 already. */
export const prepareHome = (places: Places): void => {
  checkSocketPath(places.socket);
  checkSocketPath(places.shimSocket);
  makeOwn(places.home);
  prepareSocketDirectory(places);
  for (const directory of [places.logs, places.runs, places.cache]) makeOwn(directory);
};

export interface Lock {
  release(): void;
}

/** `null`: another daemon holds it. */
export const acquireLock = (places: Places): Lock | null => {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(places.lock, { timeout: 0 });
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    if (isBusy(error)) return null;
    throw new WorkerdError('internal', `cannot lock ${places.lock}: ${(error as Error).message}`);
  }
  const held = db;
  return { release: () => held.close() };
};

const sqliteBusy = 5;
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === sqliteBusy;
