/**
 * Opens the registry, whatever has become of its file: refuses what is not ours to touch and names it; what is damaged
 * is moved aside, never deleted, and a new one is begun with the definitions that can still be read in it. What lives is
 * added from what the shim knows (adoption.ts).
 */
import { accessSync, constants, lstatSync, renameSync, type Stats } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { WorkerdError } from '../shared/errors.ts';
import type { WorkerRecord } from './core/model.ts';
import type { Logger } from './ports.ts';
import { isDamage, SqliteStore } from './store.ts';
import { definitionOfRow } from './store-rows.ts';

const statOf = (path: string): Stats | null => {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
};

const refused = (message: string): WorkerdError => new WorkerdError('internal', message, { exitCode: 77 });

/** Looked at only: opening it with `fs`, and closing it again, would drop SQLite's lock. */
const checkFile = (path: string): void => {
  const stat = statOf(path);
  if (stat === null) return;
  const uid = process.geteuid?.() ?? -1;
  const choose = 'Move it away, or choose another --home';
  if (!stat.isFile()) throw refused(`the registry ${path} is not a regular file. ${choose}`);
  if (stat.uid !== uid) throw refused(`the registry ${path} belongs to uid ${stat.uid}, not to uid ${uid}. ${choose}`);
  if (stat.nlink > 1) throw refused(`the registry ${path} has another name too (a hard link). ${choose}`);
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch {
    throw refused(`the registry ${path} cannot be read and written by us. Allow it with: chmod 600 ${path}`);
  }
};

export interface Opened {
  readonly store: SqliteStore;
  readonly loaded: ReturnType<SqliteStore['load']>;
}

const open = (path: string): Opened => {
  let store: SqliteStore | undefined;
  try {
    store = new SqliteStore(path);
    return { store, loaded: store.load() };
  } catch (error) {
    store?.close();
    if (isDamage(error) || error instanceof WorkerdError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new WorkerdError('internal', `cannot open the registry ${path}: ${reason}`, {}, { cause: error });
  }
};

const companions = ['', '-wal', '-shm'] as const;

/** Under a name that says when; with what belongs to it, so that tools can still look into it. */
const moveAside = (path: string, now: number): string => {
  const aside = `${path}.damaged-${new Date(now).toISOString().replaceAll(/[:.]/g, '')}`;
  for (const companion of companions) {
    if (statOf(`${path}${companion}`) !== null) renameSync(`${path}${companion}`, `${aside}${companion}`);
  }
  return aside;
};

/** Definitions that can still be read. None of them is known to run: what does is told by the shim. */
const salvage = (path: string): readonly WorkerRecord[] => {
  const found: WorkerRecord[] = [];
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true, defensive: false });
    // Otherwise a file that is shorter than it says is not looked into at all.
    db.exec('PRAGMA writable_schema = ON; PRAGMA trusted_schema = OFF;');
    for (const row of db.prepare('SELECT * FROM workers').iterate()) {
      try {
        const worker = definitionOfRow(row as Record<string, unknown>);
        found.push({ ...worker, intent: { want: 'down' }, settled: 'stopped', stopOrder: null, backoff: null });
      } catch {
        // This one cannot.
      }
    }
  } catch {
    // As far as it could be read.
  } finally {
    db?.close();
  }
  return found;
};

export const openStore = (path: string, now: number, log: Logger): Opened => {
  checkFile(path);
  try {
    return open(path);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const aside = moveAside(path, now);
    const workers = salvage(aside);
    const why = error instanceof Error ? error.message : String(error);
    log.error(
      { registry: path, kept: aside, why, definitions: workers.length },
      'the registry is damaged: it was moved aside, and a new one begun with the definitions that could be read in it; ' +
        'what runs is taken over from the shim, the history of earlier runs is lost',
    );
    const opened = open(path);
    if (workers.length === 0) return opened;
    opened.store.commit({ workers, removed: [], runs: [], hosts: [], removedHosts: [] });
    return { ...opened, loaded: opened.store.load() };
  }
};
