/**
 * The registry's schema, version by version. A migration that has shipped never changes; each runs in a transaction of
 * its own with the version it brings, so that a crash in the middle leaves either the old schema or the new one.
 */
import type { DatabaseSync } from 'node:sqlite';
import { WorkerdError } from '../shared/errors.ts';
import { failpoint } from '../shared/failpoints.ts';

/** A step of the schema: SQL. The first makes version 1. */
export type Migrations = readonly string[];

export const shipped: Migrations = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
   CREATE TABLE workers (
     name TEXT PRIMARY KEY,
     spec TEXT NOT NULL DEFAULT '{}',
     caller TEXT NOT NULL DEFAULT '{}',
     enabled INTEGER NOT NULL,
     intent TEXT NOT NULL,
     policy TEXT NOT NULL,
     generation INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE runs (
     name TEXT NOT NULL,
     generation INTEGER NOT NULL,
     run TEXT NOT NULL,
     PRIMARY KEY (name, generation)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE hosts (
     run TEXT PRIMARY KEY,
     key TEXT NOT NULL,
     pid INTEGER,
     start_time INTEGER,
     boot_id TEXT NOT NULL
   ) STRICT;`,
];

export const schemaVersion = shipped.length;

/**
 * Refuses what a newer daemon wrote; to be asked before anything is changed, be it how the file is written. Other steps
 * than the shipped ones are for tests alone.
 */
export const versionOf = (db: DatabaseSync, migrations: Migrations = shipped): number => {
  const newest = migrations.length;
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > newest) {
    throw new WorkerdError(
      'internal',
      `the registry ${db.location() ?? ''} is of version ${version}, this workerd knows up to ${newest}: ` +
        'it was written by a newer one. ' +
        'Run that one, or choose another --home',
    );
  }
  return version;
};

export const migrate = (db: DatabaseSync, migrations: Migrations = shipped): void => {
  for (let next = versionOf(db, migrations); next < migrations.length; next += 1) {
    failpoint('store.migrate.before');
    db.exec('BEGIN IMMEDIATE');
    try {
      db.exec(migrations[next] ?? '');
      db.exec(`PRAGMA user_version = ${next + 1}`);
      failpoint('store.migrate.written');
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
    failpoint('store.migrate.done');
  }
};
