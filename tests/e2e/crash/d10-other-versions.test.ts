/** D10: a daemon leaves the registry of a newer one as it is, and clients of an older one work with it. */
import { createHash } from 'node:crypto';
import { copyFileSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { connectTo } from '../../helpers/daemon-client.ts';
import { eventually } from '../../helpers/eventually.ts';
import { Sandbox } from '../../helpers/sandbox.ts';

const spec = { kind: 'command', command: ['sleep', '1000'] } as const;

const pathOf = (box: Sandbox): string => join(box.home, 'registry.db');

/** Done while no daemon is there. */
const onRegistry = (box: Sandbox, work: (db: DatabaseSync) => void): void => {
  const db = new DatabaseSync(pathOf(box));
  try {
    work(db);
  } finally {
    db.close();
  }
};

/** The registry with all that belongs to it, without the index of its log, which any reader makes, and an empty log. */
const registryOf = (box: Sandbox): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(box.home)
      .filter((name) => name.startsWith('registry.db') && !name.endsWith('-shm'))
      .map((name) => [name, readFileSync(join(box.home, name))] as const)
      .filter(([, bytes]) => bytes.length > 0)
      .map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex')]),
  );

/** How a newer daemon may have left it. */
const ways: readonly (readonly [string, (box: Sandbox, version: number) => void])[] = [
  ['ended in good order', (box, version) => onRegistry(box, (db) => db.exec(`PRAGMA user_version = ${version}`))],
  [
    'was killed, its last commits in the log alone',
    (box, version) => {
      const files = ['', '-wal'].map((end) => `${pathOf(box)}${end}`);
      onRegistry(box, (db) => {
        db.exec(`PRAGMA user_version = ${version}`);
        for (const file of files) copyFileSync(file, `${file}.kept`);
      });
      for (const file of files) renameSync(`${file}.kept`, file);
    },
  ],
  [
    'has no such log',
    (box, version) =>
      onRegistry(box, (db) => db.exec(`PRAGMA user_version = ${version}; PRAGMA journal_mode = DELETE`)),
  ],
];

describe('the registry of a newer daemon', () => {
  test.each(ways)('that %s is refused in words and not touched; nothing of it is lost', async (_how, leave) => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('define', { name: 'w', spec });
    client.close();
    expect((await box.workerd(['stop'])).code).toBe(0);
    let own = 0;
    onRegistry(box, (db) => {
      own = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
    });
    leave(box, own + 1);
    const before = registryOf(box);
    expect(Object.keys(before)).toContain('registry.db');
    try {
      const words = new RegExp(
        `^workerd: (cannot start the daemon: )?the registry .*registry\\.db is of version ${own + 1}, .* up to ${own}:.*newer.*--home`,
      );
      for (const args of [['start'], ['start', '--detach'], ['start', '--external-shim']]) {
        const { code, stderr } = await box.workerd(args);
        expect({ args, code, stderr }).toEqual({ args, code: 125, stderr: expect.stringMatching(words) });
      }
      // Nor by a client that would start one.
      const { code, stderr } = await box.workerctl(['start', 'w']);
      expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('written by a newer one') });
      expect(registryOf(box)).toEqual(before);
      await eventually(() => box.processes().length === 0, { what: 'none of them stays' });
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
