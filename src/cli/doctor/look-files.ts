/** The home as it lies on disk. Only looks: opens nothing to write, follows no link, and stays off network file systems. */
import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  type Stats,
  statfsSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Mount, mountOf } from '../../shared/mounts.ts';
import type { Places } from '../../shared/paths.ts';
import { type Entry, type EntryKind, type HomeFacts, isEntry, type RegistryFile, type Seen } from './facts.ts';

const kindOf = (stat: Stats): EntryKind => {
  if (stat.isDirectory()) return 'directory';
  if (stat.isFile()) return 'file';
  if (stat.isSocket()) return 'socket';
  if (stat.isFIFO()) return 'fifo';
  return stat.isSymbolicLink() ? 'link' : 'other';
};

export const look = (path: string): Seen => {
  try {
    const stat = lstatSync(path);
    const { uid, nlink: links, size: bytes, mtimeMs: changedAt } = stat;
    return { path, kind: kindOf(stat), uid, mode: stat.mode & 0o7777, links, bytes, changedAt };
  } catch (error) {
    return { path, error: (error as NodeJS.ErrnoException).code ?? String(error) };
  }
};

const namesIn = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
};

/** The way to it as it is written, and as it is once every link is followed. */
const parentsOf = (path: string): readonly Entry[] => {
  const parents = new Map<string, Entry>();
  for (const way of [path, realPath(path)]) {
    for (let parent = dirname(way); ; parent = dirname(parent)) {
      const seen = look(parent);
      if (isEntry(seen)) parents.set(parent, seen);
      if (parent === dirname(parent)) break;
    }
  }
  return [...parents.values()];
};

/** With every link followed, as far as it is there. */
const realPath = (path: string): string => {
  try {
    return realpathSync(path);
  } catch {
    return path === dirname(path) ? path : join(realPath(dirname(path)), basename(path));
  }
};

const spaceOf = (path: string): HomeFacts['space'] => {
  // A home that is not there yet will be where the nearest directory is.
  for (let at = path; ; at = dirname(at)) {
    try {
      const { bsize, blocks, bavail, files, ffree } = statfsSync(at);
      return { freeBytes: bavail * bsize, allBytes: blocks * bsize, freeInodes: ffree, allInodes: files };
    } catch {
      if (at === dirname(at)) return null;
    }
  }
};

const largestLookedInto = 64 * 1024 * 1024;

/** Never through SQLite where somebody may write: a second opening would make files of its own beside it. */
const registryOf = (path: string, isHeld: boolean): RegistryFile | null => {
  const seen = look(path);
  if (!isEntry(seen) || seen.kind !== 'file') return null;
  const header = Buffer.alloc(100);
  let length = 0;
  try {
    const descriptor = openSync(path, 'r');
    try {
      length = readSync(descriptor, header, 0, header.length, 0);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return null;
  }
  const log = look(`${path}-wal`);
  const isQuiet = !isHeld && !(isEntry(log) && log.bytes > 0);
  // Begun, and nothing in it yet but what its log may hold.
  if (seen.bytes === 0) return { isDatabase: !isQuiet, isWhole: true, fault: null };
  const isDatabase = length >= 100 && header.toString('latin1', 0, 15) === 'SQLite format 3';
  const pageBytes = header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16);
  const isWhole = !isDatabase || !isQuiet || seen.bytes >= pageBytes * header.readUInt32BE(28);
  const mayLook = isDatabase && isWhole && isQuiet && seen.bytes <= largestLookedInto;
  return { isDatabase, isWhole, fault: mayLook ? faultIn(path) : null };
};

const faultIn = (path: string): string | null => {
  const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
  const { pathToFileURL } = process.getBuiltinModule('node:url');
  // Immutable: it makes no files and takes no locks.
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  try {
    const db = new DatabaseSync(url, { readOnly: true });
    try {
      const said = String(db.prepare('PRAGMA quick_check(1)').get()?.['quick_check']);
      return said === 'ok' ? null : said;
    } finally {
      db.close();
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

const tailBytes = 4096;

/** The last line of the daemon's log, where it says why it ended or did not start. */
const lastWordsIn = (path: string): string | null => {
  try {
    const lines = readFileSync(path, 'utf8').slice(-tailBytes).trimEnd().split('\n');
    const { level, msg, why, error } = JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
    if (level !== 'error' && level !== 'fatal') return null;
    const reason = typeof why === 'string' ? why : typeof error === 'string' ? error : null;
    return reason === null ? String(msg) : `${String(msg)}: ${reason}`;
  } catch {
    return null;
  }
};

const readText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

export const mountOfHome = ({ home }: Places): Mount | null => mountOf(resolve(home), readText('/proc/self/mountinfo'));

/** `isHeld`: a daemon has the registry open. */
export const lookAtHome = (places: Places, mount: Mount | null, isHeld: boolean): HomeFacts => {
  const home = look(places.home);
  const inHome = isEntry(home) && home.kind === 'directory' ? namesIn(places.home) : [];
  const directory = dirname(places.socket);
  return {
    home,
    parents: parentsOf(places.home),
    socket: look(places.socket),
    socketDirectory: directory === places.home ? null : look(directory),
    files: [...inHome.map((name) => join(places.home, name)), ...deeper(places)]
      .filter((path) => path !== places.socket)
      .map(look)
      .filter(isEntry),
    runs: namesIn(places.runs).filter((name) => name !== 'pool'),
    damaged: inHome.filter((name) => /\.damaged-[0-9TZ-]+$/.test(name)).map((name) => join(places.home, name)),
    registry: registryOf(places.registry, isHeld),
    mount,
    space: spaceOf(places.home),
    serviceMark: inHome.includes(basename(places.serviceMark)),
    lastWords: lastWordsIn(places.daemonLog),
  };
};

/** Of a home with very many workers: enough to see how it was made. */
const mostLookedAt = 2000;

/** Directories of workers and of runs, and logs; not the FIFOs, which are those of the workers' users. */
const deeper = ({ logs, runs }: Places): readonly string[] => {
  const of = (directory: string) => namesIn(directory).map((name) => join(directory, name));
  const workers = of(logs).slice(0, mostLookedAt);
  const found = [...workers, ...of(runs)];
  for (const worker of workers) {
    if (found.length >= mostLookedAt) break;
    found.push(...of(worker));
  }
  return found.slice(0, Math.max(mostLookedAt, workers.length));
};

/** Not touched at all: who looks at a network file system may wait for ever. */
export const homeUnseen = (places: Places, mount: Mount): HomeFacts => {
  const unseen = (path: string): Seen => ({ path, error: 'not looked at' });
  return {
    home: unseen(places.home),
    parents: [],
    socket: unseen(places.socket),
    socketDirectory: null,
    files: [],
    runs: [],
    damaged: [],
    registry: null,
    mount,
    space: null,
    serviceMark: false,
    lastWords: null,
  };
};
