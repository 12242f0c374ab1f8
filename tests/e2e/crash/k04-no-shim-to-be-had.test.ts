/**
 * K04 where no other shim can be had: workers are stopped by proven identity all the same, and whoever asked for that is
 * told what is not known yet instead of waiting for ever; the daemon ends when it is told to.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { deaf, part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { takeShimAway } from '../../helpers/without-shim.ts';

test.concurrent('a stop ends the worker and says what is not known; that is known once there is a shim', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: { ...part('command', 'counts'), graceMs: 2000 } });
  await client.call('start', { name: 't', spec: { ...part('thread', 'counts'), graceMs: 500 } });
  await client.call('start', { name: 'other', spec: part('thread', 'counts') });
  const { pid } = await box.status('other');
  const giveBack = await takeShimAway(box);
  const [w, t] = await Promise.all([box.workerctl(['stop', 'w', '--json']), box.workerctl(['stop', 't'])]);
  expect(box.livingRuns('w')).toEqual([]);
  expect([w.code, JSON.parse(w.stdout)]).toMatchObject([1, { error: { code: 'worker.busy', data: { name: 'w' } } }]);
  expect(w.stdout).toMatch(/w has ended; how it ended.*is known once a shim answers: no shim.*workerctl daemon status/);
  expect([t.code, t.stderr]).toEqual([1, expect.stringContaining('t cannot be ended now: no shim')]);
  const told = await box.workerctl(['daemon', 'status']);
  expect(told.stderr).toMatch(/there is no shim.*shim\.log/);
  giveBack();
  await eventually(async () => (await box.status('w')).phase === 'stopped', { what: 'its end is known' });
  expect(await box.status('w')).toMatchObject({ exit: { kind: 'lost', reason: 'the shim died' } });
  await eventually(async () => (await box.status('t')).phase === 'stopped', { what: 'the thread has ended' });
  // Nobody said SIGKILL to their host: its other thread is not taken for dead.
  expect(await box.status('other')).toMatchObject({ phase: 'running', pid, generation: 1 });
});

test.concurrent('the daemon ends when it is told to, and every worker with it', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'deaf', spec: { ...deaf, graceMs: 500 } });
  for (const kind of ['command', 'process', 'thread'] as const)
    await client.call('start', { name: kind, spec: { ...part(kind, 'counts'), graceMs: 500 } });
  await takeShimAway(box);
  const { code, stderr } = await box.workerd(['stop']);
  expect([code, stderr]).toEqual([0, '']);
  expect(await daemon.ended).toBe(0);
  // One that was being tried in this moment finds no place, and ends by itself.
  await eventually(() => box.processes().length === 0, { what: 'nothing is left' });
  rmSync(join(box.home, 'shim.sock'), { recursive: true });
  await box.daemon();
  for (const name of ['deaf', 'command', 'process'])
    expect(await box.status(name), name).toMatchObject({ phase: 'stopped', exit: { kind: 'lost' } });
  expect(await box.status('thread')).toMatchObject({ phase: 'stopped', exit: { kind: 'terminated' } });
});

test.concurrent('a daemon that finds no shim to be had serves all the same, says so, and starts what was asked for once there is one', async () => {
  await using box = new CrashBox();
  const socket = join(box.home, 'shim.sock');
  mkdirSync(join(socket, 'in the way'), { recursive: true, mode: 0o700 });
  await box.startDaemon();
  const { stderr } = await box.workerctl(['status']);
  expect(stderr).toMatch(/there is no shim.*it ended before it was ready.*see: .*shim\.log/);
  const client = await box.client();
  const starting = client.call('start', { name: 'w', spec: part('command', 'counts') });
  rmSync(socket, { recursive: true });
  expect((await starting).worker.phase).toBe('running');
  expect((await box.workerctl(['status'])).stderr).toBe('');
});
