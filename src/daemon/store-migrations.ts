/**
 * The registry's schema, version by version. A migration that has shipped never changes; each runs in a transaction of
 * its own with the version it brings, so that a crash in the middle leaves either the old schema or the new one.
 */
import type { DatabaseSync } from 'node:sqlite';

const migrations: readonly string[] = [
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

export const schemaVersion = migrations.length;

export const migrate = (db: DatabaseSync): void => {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > schemaVersion) {
    throw new Error(
      `the registry is of version ${version}, this workerd knows up to ${schemaVersion}: it was written by a newer one. ` +
        'Run that one, or choose another --home',
    );
  }
  for (let next = version; next < schemaVersion; next += 1) {
    db.exec('BEGIN IMMEDIATE');
    try {
      db.exec(migrations[next] ?? '');
      db.exec(`PRAGMA user_version = ${next + 1}`);
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
};
