/**
 * One daemon per home: makes and checks the home, and holds the lock for life. The lock is an exclusive transaction on
 * `lock.db`: the kernel frees it with the process, kill -9 included, and no child inherits it.
 */
import {
  accessSync,
  chmodSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  type Stats,
  statfsSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { getSystemErrorMessage } from 'node:util';
import { WorkerdError } from '../shared/errors.ts';
import { isNetwork, mountOf } from '../shared/mounts.ts';
import { checkSocketPath, filesOf, type Places } from '../shared/paths.ts';
import { wayOutOf } from './problems.ts';

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

/** Made for us with an everyday umask: ours, and all that others can do is to see that there is nothing in it. */
const canBeClosed = (path: string, { mode }: Stats): boolean => (mode & 0o022) === 0 && readdirSync(path).length === 0;

/** Ours alone: a directory, no link, our uid, no access for others. What another owns is refused, never repaired. */
const checkOwn = (path: string, stat: Stats): void => {
  if (stat.isSymbolicLink()) throw refused(`${path} is a symbolic link; name the real directory with --home`);
  if (!stat.isDirectory()) throw refused(`${path} is not a directory. Move it away, or choose another --home`);
  if (stat.uid !== ownUid()) {
    throw refused(`${path} belongs to uid ${stat.uid}, not to uid ${ownUid()}. Choose another place with --home`);
  }
  if (isOpen(stat) && !canBeClosed(path, stat)) {
    const mode = (stat.mode & 0o777).toString(8);
    throw refused(`${path} has mode ${mode} and is open to others. Close it with: chmod 700 ${path}`);
  }
};

const isOpen = ({ mode }: Stats): boolean => (mode & 0o077) !== 0;

const isOurs = ({ uid }: Stats): boolean => uid === 0 || uid === ownUid();

/** Nobody else may be able to swap it, or what is in it; with the sticky bit everybody has but his own. */
const checkSafe = (path: string, stat: Stats, what: string, flag: string): void => {
  if (!isOurs(stat)) throw refused(`${path} belongs to uid ${stat.uid}, who could replace ${what}. ${flag}`);
  if (stat.isSymbolicLink()) return;
  if ((stat.mode & 0o022) !== 0 && (stat.mode & 0o1000) === 0) {
    throw refused(`${path} can be written by others, who could replace ${what}. ${flag}`);
  }
};

const chooseHome = 'Choose another --home';
const chooseSocket = 'Choose another place with --socket';

/** Node names the call and the temporary name, of which nobody knows. */
export const cannotListen = (path: string, error: NodeJS.ErrnoException): WorkerdError => {
  const { errno, code, message } = error;
  const why = errno === undefined ? message : `${getSystemErrorMessage(errno)} (${code})`;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  const way = isFull ? `${wayOutOf(why, path)}, or choose another place with --socket` : chooseSocket;
  const words = `cannot make the socket ${path}: ${why}. ${way}`;
  return new WorkerdError('internal', words, {}, { cause: error });
};

/** With every link followed, as far as it is there. */
const realPath = (path: string): string => {
  try {
    return realpathSync(path);
  } catch {
    return path === dirname(path) ? path : join(realPath(dirname(path)), basename(path));
  }
};

/** The way to it as it is written, and as it is once every link is followed. */
const checkAncestors = (path: string, flag: string): void => {
  for (const way of new Set([path, realPath(path)])) {
    for (let parent = dirname(way); ; parent = dirname(parent)) {
      const stat = statOf(parent);
      if (stat !== null) checkSafe(parent, stat, path, flag);
      if (parent === dirname(parent)) break;
    }
  }
};

/** One after the other: Node's own `recursive` turns for ever where a file system takes no directories (/proc). */
const make = (path: string, flag: string): void => {
  if (statOf(path) !== null) return;
  if (path !== dirname(path)) make(dirname(path), flag);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    const words = `cannot make ${path}: ${message}. ${flag}`;
    if (['EACCES', 'EPERM', 'EROFS', 'ENOENT'].includes(code ?? '')) throw refused(words);
    throw new WorkerdError('internal', words);
  }
};

/**
 * The socket's own directory may be shared with others (/run, /tmp): nobody else may be able to put another socket
 * under our name. A socket that a daemon left there is replaced; anything else is somebody's, and stays.
 */
const checkSocketPlace = ({ home, socket }: Pick<Places, 'home' | 'socket'>): void => {
  const directory = dirname(socket);
  if (directory !== home) {
    checkAncestors(directory, chooseSocket);
    const stat = statOf(directory);
    if (stat?.isSymbolicLink()) throw refused(`${directory} is a symbolic link; name the real directory with --socket`);
    if (stat?.isDirectory() === false) throw refused(`${directory} is not a directory. ${chooseSocket}`);
    if (stat !== null) checkSafe(directory, stat, socket, chooseSocket);
  }
  if (statOf(socket)?.isSocket() === false)
    throw refused(`${socket} is not a socket. Move it away, or choose another place with --socket`);
};

/** Made where it is missing, or has vanished. */
export const prepareSocketDirectory = (places: Pick<Places, 'home' | 'socket'>): void => {
  checkSocketPlace(places);
  make(dirname(places.socket), chooseSocket);
};

/** Whatever a daemon finds in its home is a file of its own under one name: never somebody's file that it would change. */
const checkFiles = (places: Places): void => {
  for (const path of filesOf(places)) {
    const stat = statOf(path);
    if (stat === null) continue;
    const fault = !stat.isFile()
      ? 'is not a regular file'
      : stat.uid !== ownUid()
        ? `belongs to uid ${stat.uid}, not to uid ${ownUid()}`
        : stat.nlink > 1
          ? 'has another name too (a hard link)'
          : null;
    if (fault !== null) throw refused(`${path} ${fault}. Move it away, or choose another --home`);
  }
};

/** As statfs(2) tells them: the lock and the registry's log lie in memory that only one machine sees. */
const networkFileSystems: Readonly<Record<number, string>> = {
  26985: 'NFS',
  20859: 'SMB',
  4283649346: 'CIFS',
  4266872130: 'SMB2',
  1397113167: 'AFS',
  12805120: 'Ceph',
};

export const networkFileSystem = (type: number): string | null => networkFileSystems[type] ?? null;

const refuseNetwork = (home: string, name: string | null): void => {
  if (name === null) return;
  throw refused(
    `${home} is on a network file system (${name}), where one daemon cannot lock another out. ${chooseHome}`,
  );
};

/** Before anything there is touched, and by the names of those that tell statfs nothing (fuse). */
const checkMount = (home: string): void => {
  const mount = mountOf(home, readFileSync('/proc/self/mountinfo', 'utf8'));
  refuseNetwork(home, mount !== null && isNetwork(mount) ? mount.type : null);
};

const close = (path: string): void => {
  const stat = statOf(path);
  if (stat !== null && isOpen(stat)) chmodSync(path, 0o700);
};

/** Makes the directories with mode 0700; throws a WorkerdError in words, and has changed nothing. The umask is 077. */
export const prepareHome = (places: Places): void => {
  checkSocketPath(places.socket);
  checkSocketPath(places.shimSocket);
  checkMount(places.home);
  const directories = [places.home, places.logs, places.runs, places.cache];
  checkAncestors(places.home, chooseHome);
  for (const directory of directories) {
    const stat = statOf(directory);
    if (stat !== null) checkOwn(directory, stat);
  }
  checkFiles(places);
  checkSocketPlace(places);
  make(places.home, chooseHome);
  refuseNetwork(places.home, networkFileSystem(statfsSync(places.home).type));
  checkMount(realPath(places.home));
  for (const directory of directories) {
    make(directory, chooseHome);
    close(directory);
  }
  make(dirname(places.socket), chooseSocket);
  checkWritable(places.socket);
};

/** Before a shim is started: of a daemon that cannot serve it would be left. */
const checkWritable = (socket: string): void => {
  try {
    accessSync(dirname(socket), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw cannotListen(socket, error as NodeJS.ErrnoException);
  }
};

export interface Lock {
  release(): void;
}

/** Each time after a wait of its own, up to so long. */
const [lockTries, longestWaitMs] = [6, 40];

/** `null`: another daemon holds it. */
export const acquireLock = (places: Pick<Places, 'lock'>): Lock | null => {
  for (let tried = 1; ; tried += 1) {
    const lock = tryLock(places);
    if (lock !== null || tried === lockTries) return lock;
    // Of two that begin at once each may find the other in its way, and none would have it.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1 + Math.random() * longestWaitMs);
  }
};

const tryLock = ({ lock }: Pick<Places, 'lock'>): Lock | null => {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(lock, { timeout: 0 });
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    if (isBusy(error)) return null;
    throw new WorkerdError('internal', `cannot lock ${lock}: ${(error as Error).message}`);
  }
  const held = db;
  return { release: () => held.close() };
};

const sqliteBusy = 5;
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === sqliteBusy;
