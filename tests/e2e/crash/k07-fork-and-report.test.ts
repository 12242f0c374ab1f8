/**
 * K07, D14, D17 and the shim's own failpoints: cut off at a step that nobody has heard of yet. What was left there is
 * found, the schema is the old or the new one, and a fault is one caller's.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { WorkerdError } from '../../../src/shared/errors.ts';
import { command, part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { RawClient } from '../../helpers/fake-server.ts';
import { rounds, roundsTimeoutMs } from '../../helpers/rounds.ts';

const tries = rounds(5, 50);
const sleeper = command('sleep', '1000');

test(
  'K07: the shim dies between fork and report: the child is found by its marker, named, and ended by stop',
  async () => {
    await using box = new CrashBox();
    // Every shim that this daemon starts dies at its first fork.
    await box.daemon('shim.spawn.forked=1*kill');
    const client = await box.client();
    for (let number = 0; number < tries; number += 1) {
      const name = `w${number}`;
      const error: unknown = await client.call('start', { name, spec: sleeper }).catch((reason: unknown) => reason);
      expect(error, name).toBeInstanceOf(WorkerdError);
      expect((error as WorkerdError).message).toContain('it was lost: the shim died while starting it');
      const left = box.livingRuns(name);
      expect(left, name).toHaveLength(1);
      await eventually(async () => (await box.status(name)).leftovers.length > 0, {
        what: `${name}: the child is named`,
      });
      expect((await box.status(name)).leftovers.map(({ pid }) => pid)).toEqual(left);
      const { worker } = await client.call('stop', { name });
      expect(worker.leftovers).toEqual([]);
      expect(box.livingRuns(name), name).toEqual([]);
    }
  },
  roundsTimeoutMs,
);

test('K07: the next start ends the child that was left before it starts another', async () => {
  await using box = new CrashBox();
  const first = await box.daemon('shim.spawn.forked=1*kill');
  const client = await box.client();
  await client.call('start', { name: 'w', spec: sleeper }).catch(() => {});
  const [left] = box.livingRuns('w');
  client.close();
  await first.kill();
  process.kill(box.shimPid, 'SIGKILL');
  await box.daemon();
  const { worker } = await (await box.client()).call('start', { name: 'w' });
  expect(worker.phase).toBe('running');
  expect(worker.pid).not.toBe(left);
  expect(box.livingRuns('w')).toEqual([worker.pid]);
});

describe('the shim is killed at', () => {
  test.each([
    'shim.spawn.ordered',
    'shim.spawn.piped',
    'shim.spawn.told',
    'shim.exit.seen',
    'shim.exit.told',
    'shim.ack.before',
    'shim.release.before',
  ])('%s: one process or none, and what the registry says', async (at) => {
    await using box = new CrashBox();
    const first = await box.daemon(`${at}=1*kill`);
    const client = await box.client();
    // Each new shim of this daemon dies there, too: nobody waits for an end of that.
    await client.call('start', { name: 'w', spec: sleeper, timeoutMs: 1000 }).catch(() => {});
    await client.call('stop', { name: 'w', wait: false }).catch(() => {});
    await eventually(() => box.shimPid !== 0);
    client.close();
    await first.kill();
    const armed = box.shimPid;
    if (armed !== 0) process.kill(armed, 'SIGKILL');
    await box.daemon();
    const settled = async () => {
      const { phase, pid } = await box.status('w');
      return ['stopped', 'failed', 'running'].includes(phase) && box.livingRuns('w').join() === (pid ?? []).toString();
    };
    await eventually(settled, { what: 'registry and processes agree' });
    const again = await box.client();
    const { worker } = await again.call('start', { name: 'w' });
    expect(box.livingRuns('w')).toEqual([worker.pid]);
    expect((await again.call('stop', { name: 'w' })).worker.phase).toBe('stopped');
  });
});

describe('D14: killed in the middle of making the schema', () => {
  test.each([
    'store.migrate.before',
    'store.migrate.written',
    'store.migrate.done',
  ])('at %s: the next start finishes it', async (at) => {
    await using box = new CrashBox();
    const first = box.launch(`${at}=1*kill`);
    expect(await first.ended).toBe('SIGKILL');
    await box.daemon();
    const client = await box.client();
    expect((await client.call('start', { name: 'w', spec: sleeper })).worker.phase).toBe('running');
  });

  test('a newer schema is refused, named, and left as it is', async () => {
    await using box = new CrashBox();
    const first = await box.daemon();
    await (await box.client()).call('daemon.stop', {});
    await first.ended;
    const path = join(box.home, 'registry.db');
    const db = new DatabaseSync(path);
    db.exec('PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE);');
    db.close();
    const bytes = readFileSync(path);
    const { code, stderr } = await box.workerd(['start']);
    expect([code, stderr]).toEqual([125, expect.stringMatching(/registry\.db.*version 99.*newer.*--home/s)]);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    const again = new DatabaseSync(path);
    again.exec('PRAGMA user_version = 1');
    again.close();
  });
});

test('D17: a fault in one method is an internal error of that one caller; everything else goes on', async () => {
  await using box = new CrashBox();
  await box.daemon('rpc.history=2*error(EFAULT)');
  const client = await box.client();
  await client.call('start', { name: 'w', spec: sleeper });
  const raw = new RawClient(box.socket);
  raw.send('{"jsonrpc":"2.0","id":1,"method":"history","params":{"name":"w"}}\n');
  const others = Promise.all(Array.from({ length: 20 }, () => client.call('status', {})));
  const answer = await eventually(
    () => raw.answers()[0] as { error?: { code: number; message: string; data: object } },
  );
  expect(answer.error).toMatchObject({ code: -32603, message: 'internal error' });
  expect(JSON.stringify(answer)).not.toContain('EFAULT');
  for (const { workers } of await others) expect(workers).toMatchObject([{ name: 'w', phase: 'running' }]);
  await expect(client.call('history', { name: 'w' })).rejects.toMatchObject({ code: 'internal' });
  expect((await client.call('history', { name: 'w' })).runs).toEqual([]);
  expect(box.said()).toContain('EFAULT');
  raw.socket.destroy();
});

test('failpoints that are malformed are refused at the start, and no worker sees them', async () => {
  await using box = new CrashBox();
  const { code, stderr } = await box.workerd(['start'], { env: { WORKERD_FAILPOINTS: 'store.comit=kill' } });
  expect([code, stderr]).toEqual([2, expect.stringMatching(/"store\.comit=kill" names no failpoint/)]);
  const env = { WORKERD_FAILPOINTS: 'rpc.history=error(EIO)' };
  const started = await box.workerctl(['start', '-n', 'w', '--', 'sh', '-c', 'env; sleep 1000'], { env });
  expect(started.stderr).toContain('started the daemon');
  expect((await box.workerctl(['history', 'w'])).code).toBe(125);
  const log = () => readFileSync(join(box.home, 'logs', 'w', '1.log'), 'utf8');
  await eventually(() => log().includes('WORKERD_RUN='));
  expect(log()).not.toContain('FAILPOINTS');
});

test('K07: the shim dies between forking a thread host and telling of it: the stray is ended, the thread runs in another', async () => {
  await using box = new CrashBox();
  const first = await box.daemon('shim.spawn.forked=1*kill');
  const client = await box.client();
  const spec = part('thread', 'counts');
  const started = client.call('start', { name: 't', spec }).catch(() => {});
  // Each shim of this daemon dies there.
  await eventually(() => box.processes().some(({ command: words }) => words.includes('thread-host.js')));
  client.close();
  await first.kill();
  await started;
  if (box.shimPid !== 0) process.kill(box.shimPid, 'SIGKILL');
  const strays = box.processes().flatMap(({ pid, command: words }) => (words.includes('thread-host.js') ? [pid] : []));
  await box.daemon();
  const again = await box.client();
  const { worker } = await again.call('start', { name: 't' });
  expect(worker.phase).toBe('running');
  const hosts = () =>
    box.processes().flatMap(({ pid, command: words }) => (words.includes('thread-host.js') ? [pid] : []));
  await eventually(() => hosts().length === 1, { what: 'one thread host' });
  expect([hosts(), strays.includes(worker.pid ?? 0)]).toEqual([[worker.pid], false]);
});
