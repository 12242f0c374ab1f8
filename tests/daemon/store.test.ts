/** The registry on disk: round trips, versions, history and its bounds, all or nothing. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WorkerRecord } from '../../src/daemon/core/model.ts';
import type { StoreChanges } from '../../src/daemon/ports.ts';
import { keptRuns, SqliteStore } from '../../src/daemon/store.ts';
import { schemaVersion } from '../../src/daemon/store-migrations.ts';
import { at, commandSpec, fakeRun, fakeWorker, moduleSpec, runIn, stopAt } from '../helpers/fake-worker.ts';

let directory: string;
let path: string;
let store: SqliteStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'wd-store-'));
  path = join(directory, 'registry.db');
  store = new SqliteStore(path);
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

const changes = (some: Partial<StoreChanges>): StoreChanges => ({
  workers: [],
  removed: [],
  runs: [],
  hosts: [],
  removedHosts: [],
  ...some,
});
const reopen = (): SqliteStore => {
  store.close();
  store = new SqliteStore(path);
  return store;
};
/** With a second connection: what is on disk, or a hand in it. */
const onDisk = <T>(look: (db: DatabaseSync) => T): T => {
  const db = new DatabaseSync(path);
  try {
    return look(db);
  } finally {
    db.close();
  }
};

const actor = { uid: 1000, pid: 99, via: 'workerctl start' };
const whole: WorkerRecord = fakeWorker({
  name: 'counter',
  spec: moduleSpec('thread', { params: { a: [1, null, 'ü'] }, env: { TOKEN: 'x', __proto__x: 'y' } }),
  caller: { env: { PATH: '/bin', EMPTY: '' }, cwd: '/srv', umask: 0o27 },
  enabled: true,
  intent: { want: 'up', atLeast: 7 },
  startedBy: actor,
  stopOrder: { reason: 'replace', by: actor, graceMs: 5, force: true },
  generation: 7,
  run: fakeRun({
    id: 'counter.7.abcd',
    generation: 7,
    kind: 'thread',
    host: '_host.0.aa',
    state: { counter: 42 },
    stateAt: at,
    stateRevision: 42,
    stop: stopAt('asked'),
    exit: { kind: 'error', name: 'Error', message: 'x', stack: 'y' },
    result: [1, { a: null }],
  }),
  settled: 'failed',
  reason: 'why',
  restarts: 3,
  shortRuns: 2,
});

describe('round trip', () => {
  it('a whole record comes back as it was', () => {
    store.commit(changes({ workers: [whole, fakeWorker()] }));
    expect(reopen().load().workers).toEqual([whole, fakeWorker()]);
  });

  it('a restart that waits comes back with its time by both clocks', () => {
    const backoff = { untilAt: at + 5000, untilMono: 777, afterLoss: true, counted: true };
    store.commit(changes({ workers: [fakeWorker({ backoff })] }));
    expect(reopen().load().workers[0]?.backoff).toEqual(backoff);
  });

  it('leftovers are known by looking, not from the registry', () => {
    store.commit(changes({ workers: [fakeWorker({ leftovers: [{ pid: 1, startTime: 1, command: 'x' }] })] }));
    expect(reopen().load().workers[0]?.leftovers).toEqual([]);
  });

  it('hosts and notes', () => {
    const host = { run: '_host.0.aa', key: '{}', pid: null, startTime: null, bootId: 'boot' };
    store.commit(changes({ hosts: [host, { ...host, run: '_host.0.bb' }] }));
    store.commit(changes({ hosts: [{ ...host, pid: 5, startTime: 6 }], removedHosts: ['_host.0.bb'] }));
    expect(reopen().load().hosts).toEqual([{ ...host, pid: 5, startTime: 6 }]);
    expect(store.meta('shim')).toBeNull();
    store.setMeta('shim', 'a');
    store.setMeta('shim', 'b');
    expect(reopen().meta('shim')).toBe('b');
  });

  it('H14, H06: hostile names and texts are values, never SQL', () => {
    const names = ["'; DROP TABLE workers; --", '__proto__', '\u202e\u001b[31m', 'ü'.repeat(300)];
    store.commit(changes({ workers: names.map((name) => fakeWorker({ name, reason: name })) }));
    const read = reopen().load().workers;
    expect(read.map(({ name }) => name).sort()).toEqual([...names].sort());
    store.commit(changes({ removed: names }));
    expect(reopen().load().workers).toEqual([]);
  });
});

describe('definitions', () => {
  const specOnDisk = () => onDisk((db) => db.prepare('SELECT spec FROM workers').get()?.['spec']);
  const mark = () => onDisk((db) => db.exec(`UPDATE workers SET spec = '"mark"'`));

  it('are written when they are new or another, not with every change of the rest', () => {
    const worker = fakeWorker();
    store.commit(changes({ workers: [worker] }));
    mark();
    store.commit(changes({ workers: [{ ...worker, restarts: 1 }] }));
    expect(specOnDisk()).toBe('"mark"');
    store.commit(changes({ workers: [{ ...worker, spec: commandSpec({ graceMs: 5 }) }] }));
    expect(JSON.parse(String(specOnDisk()))).toMatchObject({ graceMs: 5 });
    mark();
    store.commit(changes({ workers: [{ ...worker, caller: { ...worker.caller, cwd: '/x' } }] }));
    expect(specOnDisk()).not.toBe('"mark"');
  });

  it('are not written again after a load', () => {
    store.commit(changes({ workers: [fakeWorker()] }));
    const [loaded] = reopen().load().workers;
    mark();
    store.commit(changes({ workers: [{ ...(loaded ?? fakeWorker()), restarts: 9 }] }));
    expect(specOnDisk()).toBe('"mark"');
  });

  it('of a worker that was removed and defined anew with the very same one are written', () => {
    const worker = fakeWorker();
    store.commit(changes({ workers: [worker] }));
    store.commit(changes({ removed: ['w'] }));
    store.commit(changes({ workers: [worker] }));
    expect(reopen().load().workers).toEqual([worker]);
  });

  it('removed and defined anew in one commit, with the very same definition', () => {
    const worker = fakeWorker();
    store.commit(changes({ workers: [worker] }));
    store.commit(changes({ removed: ['w'], workers: [worker] }));
    expect(reopen().load().workers).toEqual([worker]);
    store.commit(changes({ workers: [{ ...worker, restarts: 1 }] }));
    expect(reopen().load().workers).toEqual([{ ...worker, restarts: 1 }]);
  });

  it('that a refused commit wrote are written by the next', () => {
    const worker = fakeWorker();
    const bad = { ...fakeWorker({ name: 'bad' }), generation: Number.NaN };
    expect(() => store.commit(changes({ workers: [worker, bad] }))).toThrow();
    store.commit(changes({ workers: [worker] }));
    expect(reopen().load().workers).toEqual([worker]);
  });
});

describe('history', () => {
  const ran = (generation: number) => runIn('closed', { generation, id: `w.${generation}.aa` });

  it('is newest first, bounded by what is asked for', () => {
    for (const generation of [1, 2, 10, 9]) store.commit(changes({ runs: [{ name: 'w', run: ran(generation) }] }));
    expect([...store.history('w', 10)].map(({ generation }) => generation)).toEqual([10, 9, 2, 1]);
    expect([...store.history('w', 2)].map(({ generation }) => generation)).toEqual([10, 9]);
    expect([...store.history('x', 10)]).toEqual([]);
  });

  it('the newest run is the one that is loaded with the worker', () => {
    store.commit(changes({ workers: [fakeWorker({ run: ran(9), generation: 9 })] }));
    store.commit(changes({ workers: [fakeWorker({ run: ran(10), generation: 10 })] }));
    expect(reopen().load().workers[0]?.run?.generation).toBe(10);
  });

  it('L02: keeps the last 100 runs of each worker, others’ untouched', () => {
    store.commit(changes({ runs: [{ name: 'x', run: ran(1) }] }));
    for (let generation = 1; generation <= keptRuns + 50; generation += 1) {
      const run = { ...runIn('ordered'), generation };
      store.commit(changes({ workers: [fakeWorker({ run, generation })] }));
    }
    const kept = [...store.history('w', 1000)].map(({ generation }) => generation);
    expect(kept).toHaveLength(keptRuns);
    expect([kept.at(0), kept.at(-1)]).toEqual([keptRuns + 50, 51]);
    expect([...store.history('x', 10)]).toHaveLength(1);
  });

  it.each(['', '{', '5', '{"id":"w.2.aa"}'])('a run that is garbled is left out, the others are told: %j', (cell) => {
    for (const generation of [1, 2, 3]) store.commit(changes({ runs: [{ name: 'w', run: ran(generation) }] }));
    onDisk((db) => db.prepare('UPDATE runs SET run = ? WHERE generation = 2').run(cell));
    expect([...store.history('w', 10)].map(({ generation }) => generation)).toEqual([3, 1]);
  });

  it('goes with its worker', () => {
    store.commit(changes({ workers: [fakeWorker({ run: ran(2) })], runs: [{ name: 'w', run: ran(1) }] }));
    store.commit(changes({ removed: ['w'] }));
    expect([...store.history('w', 10)]).toEqual([]);
  });
});

describe('all or nothing', () => {
  it('a commit that fails in its middle leaves everything as it was, and the next works', () => {
    store.commit(changes({ workers: [fakeWorker({ name: 'a', restarts: 1 })] }));
    const bad = { ...fakeRun({ id: 'b.1.aa' }), generation: Number.NaN };
    const broken = changes({
      removed: ['a'],
      workers: [fakeWorker({ name: 'b' })],
      runs: [{ name: 'b', run: bad }],
      hosts: [{ run: '_host.0.aa', key: 'k', pid: null, startTime: null, bootId: 'boot' }],
    });
    expect(() => store.commit(broken)).toThrow();
    expect(store.load().workers.map(({ name, restarts }) => `${name} ${restarts}`)).toEqual(['a 1']);
    expect(store.load().hosts).toEqual([]);
    store.commit(changes({ workers: [fakeWorker({ name: 'c' })] }));
    expect(
      reopen()
        .load()
        .workers.map(({ name }) => name),
    ).toEqual(['a', 'c']);
  });

  it('what was committed is there although the process never closed the file', () => {
    store.commit(changes({ workers: [whole] }));
    const other = new SqliteStore(path);
    expect(other.load().workers).toEqual([whole]);
    other.close();
  });

  it('is in WAL with full synchronisation', () => {
    expect(onDisk((db) => db.prepare('PRAGMA journal_mode').get()?.['journal_mode'])).toBe('wal');
  });
});

describe('versions', () => {
  it('an empty file becomes the newest', () => {
    expect(onDisk((db) => db.prepare('PRAGMA user_version').get()?.['user_version'])).toBe(schemaVersion);
  });

  it('opening it again changes nothing', () => {
    store.commit(changes({ workers: [whole] }));
    expect(reopen().load().workers).toEqual(reopen().load().workers);
  });

  it('D10: a newer one is refused in words and left untouched', () => {
    store.commit(changes({ workers: [whole] }));
    store.close();
    onDisk((db) => db.exec(`PRAGMA user_version = ${schemaVersion + 1}; PRAGMA wal_checkpoint(TRUNCATE);`));
    const before = readFileSync(path);
    expect(() => new SqliteStore(path)).toThrow(/version \d+, this workerd knows up to \d+.*newer.*--home/s);
    expect(readFileSync(path).equals(before)).toBe(true);
    onDisk((db) => db.exec(`PRAGMA user_version = ${schemaVersion}`));
    store = new SqliteStore(path);
    expect(store.load().workers).toEqual([whole]);
  });

  it('D14: a migration that fails leaves the old version, and the next start finishes it', () => {
    store.close();
    rmSync(path);
    // Something in the way of the last table.
    onDisk((db) => db.exec('CREATE TABLE hosts (x)'));
    expect(() => new SqliteStore(path)).toThrow(/hosts/);
    const tables = () => onDisk((db) => db.prepare('SELECT name FROM sqlite_schema').all().length);
    expect(tables()).toBe(1);
    onDisk((db) => db.exec('DROP TABLE hosts'));
    store = new SqliteStore(path);
    expect(store.load().workers).toEqual([]);
  });

  it('D13: garbage is refused, not replaced', () => {
    store.close();
    rmSync(path);
    onDisk((db) => db.exec('VACUUM'));
    const garbage = Buffer.alloc(8192, 'garbage ');
    rmSync(path, { force: true });
    rmSync(`${path}-wal`, { force: true });
    rmSync(`${path}-shm`, { force: true });
    const { writeFileSync } = process.getBuiltinModule('node:fs');
    writeFileSync(path, garbage);
    expect(() => new SqliteStore(path)).toThrow(/not a database/);
    expect(readFileSync(path).equals(garbage)).toBe(true);
    rmSync(path);
    store = new SqliteStore(path);
  });
});
