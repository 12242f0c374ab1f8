/** D05, D07: SIGTERM in the middle of a start or of a replacement is an end in good order, and is not forgotten. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

test.concurrent.each([
  'SIGTERM',
  'SIGINT',
] as const)('%s while the daemon gives way to the next: that one obeys it', async (signal) => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const leaves = { ...shell('trap "" TERM; sleep 1000 & exit 0'), graceMs: 300 };
  await client.call('start', { name: 'leaves', spec: leaves }).catch(() => {});
  await client.call('wait', { name: 'leaves', for: 'exit' });
  // Begun, and to be answered before the daemon goes: as long as this takes, it is giving way.
  const stopping = client.call('stop', { name: 'leaves', graceMs: 60_000 });
  stopping.catch(() => {});
  await client.call('daemon.restart', {});
  await eventually(() => existsSync(join(box.home, 'workerd.sock.handover')));
  process.kill(daemon.pid, signal);
  expect(await daemon.ended).toBe(0);
  expect(box.said().match(/"ready"/g)).toHaveLength(1);
  expect(box.processes()).toEqual([]);
  await box.daemon();
  expect(await box.status('w')).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGTERM' } });
});

test.concurrent('SIGTERM while the daemon waits for its shim: the shim ends with it', async () => {
  await using box = new CrashBox();
  const cut = box.launch();
  // Its process is there, and takes a while until it answers.
  await eventually(() => box.shimPid !== 0);
  expect(await cut.kill('SIGTERM')).toBe(0);
  await eventually(() => box.processes().length === 0, { what: 'nothing is left' });
});

test.concurrent('SIGTERM while the daemon is loading is held until it can be obeyed', async () => {
  await using box = new CrashBox();
  const daemon = box.launch('store.migrate.before=1*sleep(1000)');
  await eventually(() => existsSync(join(box.home, 'registry.db')));
  process.kill(daemon.pid, 'SIGTERM');
  expect(await daemon.ended).toBe(0);
  await eventually(() => box.processes().length === 0, { what: 'nothing is left' });
});

test.concurrent('SIGHUP while the daemon is loading: it is replaced when it is ready, and says that it is ready', async () => {
  // No shim comes: it is longer getting ready than the next build's check takes.
  await using box = new CrashBox().with('--external-shim');
  const daemon = box.launch('store.migrate.before=1*sleep(1000)');
  await eventually(() => existsSync(join(box.home, 'registry.db')));
  process.kill(daemon.pid, 'SIGHUP');
  await daemon.ready;
  await eventually(() => box.said().match(/"ready"/g)?.length === 2, { what: 'the next one is ready' });
  expect((await (await box.client()).call('daemon.info', {})).pid).toBe(daemon.pid);
});

test.concurrent('killed in the middle of its replacement, when there is no socket: any verb starts the next one', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon('adoption.begun=1*sleep(2000)');
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const { pid } = await box.status('w');
  const restart = client.call('daemon.restart', {});
  restart.catch(() => {});
  const socket = join(box.home, 'workerd.sock');
  await eventually(() => existsSync(`${socket}.handover`) && !existsSync(socket));
  await daemon.kill();
  expect(existsSync(socket)).toBe(false);
  const { code, stdout } = await box.workerctl(['status', '--json', 'w']);
  expect([code, JSON.parse(stdout).workers[0].pid]).toEqual([0, pid]);
  // One that was ended in good order is not brought back by a question.
  await box.workerd(['stop']);
  expect((await box.workerctl(['status'])).code).toBe(125);
});
