/**
 * The registry on disk: node:sqlite, WAL, synchronous=FULL, versioned migrations. Owns `registry.db`; nobody else may
 * open it or its companions with `fs` (closing any descriptor of the file would drop SQLite's lock).
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { WorkerdError } from '../shared/errors.ts';
import { failpoint } from '../shared/failpoints.ts';
import type { Caller, Spec } from '../shared/worker.ts';
import { Callers } from './callers.ts';
import type { Run, WorkerRecord } from './core/model.ts';
import type { HostRow, Store, StoreChanges } from './ports.ts';
import { wayOutOf } from './problems.ts';
import { migrate, versionOf } from './store-migrations.ts';
import { type IntentColumn, type PolicyColumn, readableRun, runOfRow, text, workerOfRow } from './store-rows.ts';

/** Runs kept per worker. */
export const keptRuns = 100;

/** What was found when the whole file was looked through. */
class Damage extends Error {
  override readonly name = 'Damage';
}
const corrupt = 11;
const noDatabase = 26;
/** The file is no database, or a broken one; as opposed to one that cannot be opened or is not for us. */
export const isDamage = (error: unknown): boolean =>
  error instanceof Damage ||
  (error instanceof Error && 'errcode' in error && [corrupt, noDatabase].includes(Number(error.errcode) & 0xff));

/** Open, of this version, and read through: a page that is missing would otherwise be met in the middle of a verb. */
const openSound = (path: string): DatabaseSync => {
  const db = new DatabaseSync(path, { timeout: 5000 });
  // Refused, it is left open until the process ends: closing would write its log back into the newer daemon's file.
  versionOf(db);
  try {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;');
    // Values of environments: none in a temporary file elsewhere, and none left in the file once they are deleted.
    db.exec('PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON;');
    const { quick_check: said } = db.prepare('PRAGMA quick_check(1)').get() ?? {};
    if (said !== 'ok') throw new Damage(`the registry ${path} is damaged: ${String(said)}`);
    migrate(db);
    const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table'").get()?.['n'];
    if (Number(tables) < 4) throw new Damage(`the registry ${path} is damaged: tables are missing`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
};

export class SqliteStore implements Store {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #upsertWorker: StatementSync;
  readonly #define: StatementSync;
  readonly #removeWorker: StatementSync;
  readonly #removeRuns: StatementSync;
  readonly #upsertRun: StatementSync;
  readonly #pruneRuns: StatementSync;
  readonly #upsertHost: StatementSync;
  readonly #removeHost: StatementSync;
  readonly #setMeta: StatementSync;
  /** Definitions are long and change seldom: written only when they are other objects than the last written. */
  readonly #written = new Map<string, { readonly spec: Spec; readonly caller: Caller }>();

  constructor(path: string) {
    this.#path = path;
    this.#db = openSound(path);
    const prepare = (sql: string) => this.#db.prepare(sql);
    this.#upsertWorker = prepare(
      `INSERT INTO workers (name, enabled, intent, policy, generation) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled, intent = excluded.intent,
         policy = excluded.policy, generation = excluded.generation`,
    );
    this.#define = prepare('UPDATE workers SET spec = ?, caller = ? WHERE name = ?');
    this.#removeWorker = prepare('DELETE FROM workers WHERE name = ?');
    this.#removeRuns = prepare('DELETE FROM runs WHERE name = ?');
    this.#upsertRun = prepare(
      `INSERT INTO runs (name, generation, run) VALUES (?, ?, ?)
       ON CONFLICT (name, generation) DO UPDATE SET run = excluded.run`,
    );
    this.#pruneRuns = prepare('DELETE FROM runs WHERE name = ? AND generation <= ?');
    this.#upsertHost = prepare(
      `INSERT INTO hosts (run, key, pid, start_time, boot_id) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (run) DO UPDATE SET pid = excluded.pid, start_time = excluded.start_time`,
    );
    this.#removeHost = prepare('DELETE FROM hosts WHERE run = ?');
    this.#setMeta = prepare(
      'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
    );
  }

  load(): { workers: readonly WorkerRecord[]; hosts: readonly HostRow[] } {
    const runs = new Map<string, Run>();
    const newest = 'SELECT name, run, max(generation) FROM runs GROUP BY name';
    for (const row of this.#db.prepare(newest).all()) runs.set(text(row, 'name'), this.#read(row, runOfRow));
    const callers = new Callers();
    const workers = this.#db.prepare('SELECT * FROM workers ORDER BY name').all();
    const hosts = this.#db.prepare('SELECT * FROM hosts').all();
    return {
      workers: workers.map((row) => {
        const read = this.#read(row, (each) => workerOfRow(each, runs.get(text(each, 'name')) ?? null));
        const worker = { ...read, caller: callers.same(read.caller) };
        this.#written.set(worker.name, { spec: worker.spec, caller: worker.caller });
        return worker;
      }),
      hosts: hosts.map((row) => ({
        run: text(row, 'run'),
        key: text(row, 'key'),
        pid: row['pid'] as number | null,
        startTime: row['start_time'] as number | null,
        bootId: text(row, 'boot_id'),
      })),
    };
  }

  /** A page may be sound, and what is in it garbled. */
  #read<T>(row: Readonly<Record<string, unknown>>, as: (row: Readonly<Record<string, unknown>>) => T): T {
    try {
      return as(row);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Damage(`the registry ${this.#path} is damaged: what it says of ${row['name']} cannot be read (${why})`);
    }
  }

  commit(changes: StoreChanges): void {
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      failpoint('store.commit');
      for (const name of changes.removed) {
        this.#removeWorker.run(name);
        this.#removeRuns.run(name);
        this.#written.delete(name);
      }
      for (const worker of changes.workers) this.#writeWorker(worker);
      for (const { name, run } of changes.runs) this.#writeRun(name, run);
      for (const host of changes.hosts) {
        this.#upsertHost.run(host.run, host.key, host.pid, host.startTime, host.bootId);
      }
      for (const run of changes.removedHosts) this.#removeHost.run(run);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#written.clear();
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      const reason = error instanceof Error ? error.message : String(error);
      throw new WorkerdError(
        'limit.exceeded',
        `the registry could not be written (${reason}): nothing was changed. ${wayOutOf(reason, this.#path)}, then try again`,
        { limit: 'registry', reason },
        { cause: error },
      );
    }
    failpoint('store.commit.after');
  }

  #writeWorker(worker: WorkerRecord): void {
    const { name, spec, caller, backoff } = worker;
    const policy: PolicyColumn = {
      settled: worker.settled,
      reason: worker.reason,
      restarts: worker.restarts,
      shortRuns: worker.shortRuns,
      backoff,
    };
    const intent: IntentColumn = {
      intent: worker.intent,
      startedBy: worker.startedBy,
      stopOrder: worker.stopOrder,
    };
    this.#upsertWorker.run(
      name,
      worker.enabled ? 1 : 0,
      JSON.stringify(intent),
      JSON.stringify(policy),
      worker.generation,
    );
    const written = this.#written.get(name);
    if (written?.spec !== spec || written.caller !== caller) {
      this.#define.run(JSON.stringify(spec), JSON.stringify(caller), name);
      this.#written.set(name, { spec, caller });
    }
    if (worker.run !== null) this.#writeRun(name, worker.run);
  }

  #writeRun(name: string, run: Run): void {
    this.#upsertRun.run(name, run.generation, JSON.stringify(run));
    if (run.stage === 'ordered') this.#pruneRuns.run(name, run.generation - keptRuns);
  }

  /** Newest first, each read when it is asked for. One that is garbled is left out: the others are as true as before. */
  *history(name: string, limit: number): Generator<Run> {
    const select = this.#db.prepare('SELECT run FROM runs WHERE name = ? ORDER BY generation DESC LIMIT ?');
    for (const row of select.iterate(name, limit)) {
      const run = readableRun(row);
      if (run !== null) yield run;
    }
  }

  meta(key: string): string | null {
    const row = this.#db.prepare('SELECT value FROM meta WHERE key = ?').get(key);
    return row === undefined ? null : text(row, 'value');
  }

  setMeta(key: string, value: string): void {
    this.#setMeta.run(key, value);
  }

  /** Pages that it holds in memory: they are on disk. */
  letGo(): void {
    this.#db.exec('PRAGMA shrink_memory');
  }

  close(): void {
    this.#db.close();
  }
}
