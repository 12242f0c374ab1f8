/** D10: a daemon leaves the registry of a newer one as it is, and clients of an older one work with it. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { connectTo } from '../../helpers/daemon-client.ts';
import { Sandbox } from '../../helpers/sandbox.ts';

const spec = { kind: 'command', command: ['sleep', '1000'] } as const;

/** Done while no daemon is there. */
const onRegistry = (box: Sandbox, work: (db: DatabaseSync) => void): void => {
  const db = new DatabaseSync(join(box.home, 'registry.db'));
  try {
    work(db);
  } finally {
    db.close();
  }
};

/** The registry with all that belongs to it: what lies there, and its bytes. */
const registryOf = (box: Sandbox): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(box.home)
      .filter((name) => name.startsWith('registry.db'))
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(box.home, name)))
          .digest('hex'),
      ]),
  );

describe('the registry of a newer daemon', () => {
  test('is refused in words, by every way to start one, and not touched; the newer one finds all as it was', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('define', { name: 'w', spec });
    client.close();
    expect((await box.workerd(['stop'])).code).toBe(0);
    let own = 0;
    onRegistry(box, (db) => {
      own = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
      db.exec(`PRAGMA user_version = ${own + 1}; PRAGMA wal_checkpoint(TRUNCATE)`);
    });
    const before = registryOf(box);
    expect(Object.keys(before)).toContain('registry.db');
    try {
      const words = new RegExp(
        `^workerd: (cannot start the daemon: )?the registry is of version ${own + 1}, .* up to ${own}.*newer.*--home`,
      );
      for (const args of [['start'], ['start', '--detach'], ['start', '--external-shim']]) {
        const { code, stderr } = await box.workerd(args);
        expect({ args, code, stderr }).toEqual({ args, code: 125, stderr: expect.stringMatching(words) });
      }
      // Nor by a client that would start one.
      const { code, stderr } = await box.workerctl(['start', 'w']);
      expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('written by a newer one') });
      expect(registryOf(box)).toEqual(before);
      expect(box.processes()).toEqual([]);
    } finally {
      onRegistry(box, (db) => db.exec(`PRAGMA user_version = ${own}`));
    }
    await box.startDaemon();
    expect(await box.status('w')).toMatchObject({ name: 'w', phase: 'stopped', generation: 0 });
  });
});

describe('an old client', () => {
  test.each<[string, object | null]>([
    ['says hello with the protocol alone', { protocol: 1 }],
    ['says hello with nothing', {}],
    ['says no hello', null],
  ])('that %s is served', async (_what, hello) => {
    await using box = new Sandbox();
    await box.startDaemon();
    using client = connectTo(box);
    if (hello !== null) {
      expect(await client.result('hello', hello)).toMatchObject({ protocol: 1, version: expect.any(String) });
    }
    const worker = async (method: string, params: object = {}) =>
      (await client.result<{ worker: WorkerView }>(method, { name: 'w', ...params })).worker;
    const started = await worker('start', { spec });
    expect(started).toMatchObject({ phase: 'running', generation: 1, startedBy: { pid: null, via: null } });
    expect(await client.result('watch', { names: ['w'] })).toMatchObject({ subscription: expect.any(String) });
    expect(await client.result('status')).toMatchObject({ workers: [{ name: 'w', pid: started.pid }], next: null });
    expect(await worker('publish', { state: { a: 1 } })).toMatchObject({ state: { a: 1 } });
    expect(await worker('stop')).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGTERM' } });
    expect(await client.result('logs.locate', { name: 'w' })).toMatchObject({ files: [{ generation: 1 }] });
    expect(await client.result('history', { name: 'w' })).toMatchObject({ runs: [{ generation: 1 }] });
    expect(client.events().at(-1)).toMatchObject({ type: 'phase', worker: { phase: 'stopped' } });
  });
});
