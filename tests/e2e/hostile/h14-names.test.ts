/** H14, H03: names that cannot be, written into the registry by hand; and what the command line makes of such names. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import type { StatusResult } from '../../../src/shared/protocol.ts';
import { type Answer, RawClient } from '../../helpers/fake-server.ts';
import { Sandbox } from '../../helpers/sandbox.ts';
import { steers } from '../../helpers/terminal.ts';
import { noFaults } from '../../helpers/vitals.ts';

const names = [
  ...['../../victim', '../victim', '..', '.', 'a/b', '/etc', '', '-rf', '--all', '__proto__'],
  ...[
    'x'.repeat(300),
    '\x1b[31mred\x1b]0;title\x07',
    '\u202eabc',
    '\u009b2J',
    'a\nb',
    "'; DROP TABLE workers; --",
    'ü',
  ],
];

it('H14: such rows are shown escaped, never run, and removed; nothing outside the home is touched', async () => {
  await using box = new Sandbox();
  const victim = join(box.directory, 'victim');
  mkdirSync(victim);
  writeFileSync(join(victim, 'precious'), 'precious');
  await box.startDaemon();
  await box.workerctl(['run', '-n', 'good', '--', 'true']);
  await box.workerctl(['enable', 'good']);
  await box.workerd(['stop']);
  const db = new DatabaseSync(join(box.home, 'registry.db'));
  const columns = 'enabled, intent, policy, generation, spec, caller';
  const add = db.prepare(
    `INSERT INTO workers (name, ${columns}) SELECT ?, ${columns} FROM workers WHERE name = 'good'`,
  );
  const addRun = db.prepare(
    "INSERT INTO runs (name, generation, run) SELECT ?, generation, run FROM runs WHERE name = 'good'",
  );
  for (const name of names) {
    add.run(name);
    addRun.run(name);
  }
  db.close();
  const outside = readdirSync(box.directory);
  const logs = readdirSync(join(box.home, 'logs'));
  // After an orderly end enabled workers are started: the good one is, the others are not.
  await box.startDaemon();
  await box.workerctl(['wait', 'good']);
  const client = await box.client();
  const { workers } = await client.call('status', {});
  expect(workers.map(({ name }) => name).sort()).toEqual(['good', ...names].sort());
  // Also in pages, each of which is asked for with the last name of the one before.
  const paged: string[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const page: StatusResult = await client.call('status', { limit: 1, ...(after === undefined ? {} : { after }) });
    paged.push(...page.workers.map(({ name }) => name));
    after = page.next;
  }
  expect(paged).toEqual(workers.map(({ name }) => name));
  for (const { name, phase, generation } of workers)
    if (name !== 'good') expect({ name, phase, generation }).toMatchObject({ generation: 1 });
  for (const args of [['status'], ['status', '--json'], ['status', '-q'], ['watch', '*'], ['status', '*']]) {
    const { code, stdout, stderr } = await box.workerctl(args);
    expect(code === 0 || code === 3, `${args.join(' ')}: ${code} ${stderr}`).toBe(true);
    expect(steers(Buffer.from(stdout + stderr)), args.join(' ')).toBeNull();
    expect(stdout).toMatch(/\\u\{?0{0,2}1b/);
  }
  // Other verbs do not take such a name, and say so.
  const raw = new RawClient(box.socket);
  for (const method of ['start', 'stop', 'enable', 'history', 'logs', 'logs.locate', 'publish', 'restart']) {
    const params = { name: '../../victim', ...(method === 'publish' ? { state: {} } : {}) };
    raw.ask({ jsonrpc: '2.0', id: method, method, params });
  }
  for (const answer of (await raw.received(8)) as readonly Answer[]) expect(answer.error?.code).toBe(-32602);
  raw.socket.destroy();
  await client.call('remove', { name: '../../victim' });
  const all = await box.workerctl(['rm', '--all']);
  expect(all).toMatchObject({ code: 0, stderr: '' });
  expect(steers(Buffer.from(all.stdout))).toBeNull();
  expect(await client.call('status', {})).toEqual({ workers: [], next: null });
  expect(readdirSync(victim)).toEqual(['precious']);
  expect(readdirSync(box.directory)).toEqual(outside);
  expect(readdirSync(join(box.home, 'logs'))).toEqual(logs.filter((name) => name !== 'good'));
  await box.workerd(['restart']);
  expect(await (await box.client()).call('status', {})).toEqual({ workers: [], next: null });
  noFaults(box.home);
});

it('H03: the command line refuses such names in words, with exit code 2, and creates nothing', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  // Node's compile cache is no name of a worker's.
  const places = () => readdirSync(box.home, { recursive: true }).filter((place) => !String(place).startsWith('cache'));
  const before = places();
  const refusals = names
    .filter((name) => !name.startsWith('-') && name !== '')
    .flatMap((name) => [
      ['start', '-n', name, '--', 'true'],
      ['rm', name],
    ]);
  for (const args of refusals) {
    const { code, stdout, stderr } = await box.workerctl(args.slice(0, 5));
    expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' });
    expect(steers(Buffer.from(stderr)), JSON.stringify(args)).toBeNull();
    if (args[0] !== 'start') continue;
    expect(stderr).toMatch(/cannot be a worker's name|names are letters/);
  }
  expect(places()).toEqual(before);
  expect(existsSync(join(box.directory, 'x'))).toBe(false);
});
