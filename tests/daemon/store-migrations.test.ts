/**
 * D14: there is one version of the schema so far; two made-up ones after it stand for those to come. Whatever happens at
 * whichever step, the file has one of the versions whole, nothing in it is lost, and the next start goes on from there.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrate, shipped } from '../../src/daemon/store-migrations.ts';
import { armFailpoints } from '../../src/shared/failpoints.ts';

const later: readonly string[] = [
  "ALTER TABLE workers ADD COLUMN note TEXT NOT NULL DEFAULT 'made up'; UPDATE workers SET note = 'of ' || name;",
  'CREATE TABLE notes AS SELECT name, note FROM workers; DELETE FROM hosts;',
];
const all = [...shipped, ...later];

let directory: string;
let path: string;
const use = <T>(act: (db: DatabaseSync) => T): T => {
  const db = new DatabaseSync(path);
  try {
    return act(db);
  } finally {
    db.close();
  }
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'wd-schema-'));
  path = join(directory, 'registry.db');
  use((db) => {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    migrate(db);
    const add = db.prepare(
      "INSERT INTO workers (name, enabled, intent, policy, generation) VALUES (?, 0, '{}', '{}', 1)",
    );
    for (let number = 0; number < 100; number += 1) add.run(`w${number}`);
    db.exec("INSERT INTO hosts VALUES ('_host.0.aa', 'key', 1, 1, 'boot')");
  });
});
afterEach(() => {
  armFailpoints(undefined);
  rmSync(directory, { recursive: true, force: true });
});

/** The version, once it is certain that the file is of that version and of no other, and that nothing is lost. */
const version = (): number =>
  use((db) => {
    const found = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
    const count = (what: string) => Number(db.prepare(`SELECT count(*) AS n FROM ${what}`).get()?.['n']);
    expect(count("pragma_table_info('workers') WHERE name = 'note'")).toBe(found >= 2 ? 1 : 0);
    expect(count("sqlite_schema WHERE name = 'notes'")).toBe(found >= 3 ? 1 : 0);
    expect(count('hosts')).toBe(found >= 3 ? 0 : 1);
    expect(count('workers')).toBe(100);
    if (found >= 2) expect(count("workers WHERE note = 'of ' || name")).toBe(100);
    if (found >= 3) expect(count('notes')).toBe(100);
    return found;
  });

const points = ['store.migrate.before', 'store.migrate.written', 'store.migrate.done'] as const;
const cases = points.flatMap((point) =>
  later.map((_, step) => {
    const after = shipped.length + step + (point === 'store.migrate.done' ? 1 : 0);
    return [point, step, step === 0 ? '' : `${step}*off->`, after] as const;
  }),
);

describe('D14: a migration from an older version', () => {
  it('goes through all steps, once', () => {
    expect(version()).toBe(1);
    use((db) => migrate(db, all));
    expect(version()).toBe(3);
    use((db) => migrate(db, all));
    expect(version()).toBe(3);
  });

  it.each(cases)('that fails at %s of step %i is finished by the next start', (point, _step, first, after) => {
    armFailpoints(`${point}=${first}1*error(EIO)`);
    expect(() => use((db) => migrate(db, all))).toThrow('EIO');
    expect(version()).toBe(after);
    use((db) => migrate(db, all));
    expect(version()).toBe(3);
  });

  it.each(
    cases,
  )('whose process is killed at %s of step %i is finished by the next start', (point, _step, first, after) => {
    const source = resolve(import.meta.dirname, '../../src');
    const program = `
      import { DatabaseSync } from 'node:sqlite';
      import { migrate } from '${source}/daemon/store-migrations.ts';
      import { armFailpoints } from '${source}/shared/failpoints.ts';
      armFailpoints(process.env.WORKERD_FAILPOINTS);
      migrate(new DatabaseSync(${JSON.stringify(path)}), ${JSON.stringify(all)});`;
    const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      env: { ...process.env, WORKERD_FAILPOINTS: `${point}=${first}1*kill` },
      encoding: 'utf8',
    });
    expect([signal, stderr]).toEqual(['SIGKILL', '']);
    expect(version()).toBe(after);
    use((db) => migrate(db, all));
    expect(version()).toBe(3);
  });

  it('of a newer version is refused, and nothing is changed', () => {
    use((db) => migrate(db, all));
    expect(() => use((db) => migrate(db))).toThrow(/version 3, this workerd knows up to 1.*newer/);
    expect(version()).toBe(3);
  });
});
