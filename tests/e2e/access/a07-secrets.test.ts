/**
 * A07: the value of an environment variable is in the registry, in the worker, and nowhere else: no file, log, answer,
 * event, error or command line has it, nor the surroundings of daemon and shim; and neither of these leaves a core dump.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { module, part, shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';

const canary = 'CANARY-1234';
const registryFiles = ['registry.db', 'registry.db-shm', 'registry.db-wal'];

const holds = (path: string): boolean => {
  try {
    return readFileSync(path, 'latin1').includes(canary);
  } catch {
    return false;
  }
};

/** Files of the home that have it; FIFOs and sockets are no place to keep anything. */
const filesWithIt = (home: string): readonly string[] =>
  readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && holds(join(entry.parentPath, entry.name)))
    .map(({ name }) => name);

const softCoreLimit = (pid: number): string | undefined =>
  /^Max core file size\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'latin1'))?.[1];

test('A07: a secret is in the registry and in the worker, and nowhere else', async () => {
  await using box = new Sandbox();
  // Whoever starts the daemon by a verb has secrets of his own.
  const start = await box.workerctl(['start', '-n', 'given', '-e', 'SECRET', '--', 'sleep', '1000'], {
    env: { SECRET: canary, OTHER_SECRET: `${canary}-of-the-shell` },
  });
  expect([start.code, start.stdout]).toEqual([0, 'given\n']);
  const client = await box.client();
  const events: unknown[] = [];
  const watching = (async () => {
    for await (const event of client.watch()) {
      events.push(event);
      if (event.type === 'removed') return;
    }
  })();
  const caller = { env: { PATH: process.env['PATH'] ?? '', SECRET: canary }, cwd: '/', umask: 0o022 };
  const env = { SECRET: canary };
  const answers: unknown[] = [];
  const ask = async (method: Parameters<typeof client.call>[0], params: object) => {
    answers.push(
      await client
        .call(method, params as never)
        .catch((error: unknown) => ({ ...(error as object), text: String(error) })),
    );
  };
  for (const kind of ['thread', 'process'] as const) {
    await ask('start', { name: kind, spec: { ...part(kind, 'counts'), env }, caller });
  }
  await ask('start', { name: 'fails', spec: { ...shell('exit 3'), env, restart: { policy: 'always' } }, caller });
  await ask('start', { name: 'missing', spec: { kind: 'command', command: ['/nowhere'], env }, caller });
  await ask('start', { name: 'broken', spec: { ...module('process', 'fails-to-load.mjs'), env }, caller });
  await ask('start', { name: 'given', spec: { ...shell('true'), env: { SECRET: `${canary}-2` } }, caller });
  // Refused, and the words name the member alone.
  await ask('start', { name: 'bad', spec: { ...shell('true'), env: { SECRET: [canary] } } });
  await ask('start', { name: 'bad', spec: { ...shell('true'), env: { [`${canary}=A`]: 'x' } } }).catch(() => {});
  await ask('start', { name: 'bad', spec: { ...shell('true'), env: { SECRET: `${canary}\0` } } });
  for (const method of ['status', 'rpc.discover', 'daemon.info'] as const) await ask(method, {});
  await ask('history', { name: 'fails' });
  await ask('logs', { name: 'fails' });
  const printed = await Promise.all(
    [
      ['status'],
      ['status', 'given'],
      ['status', '--json'],
      ['history', 'given'],
      ['logs', 'broken'],
      ['status', 'missing'],
    ].map((args) => box.workerctl(args)),
  );
  const daemonAndShim = box.processes().filter(({ command }) => /workerd\.cjs|shim\.cjs/.test(command));
  expect(daemonAndShim).toHaveLength(2);
  for (const { pid, command } of daemonAndShim) {
    expect(holds(`/proc/${pid}/environ`), command).toBe(false);
    expect(softCoreLimit(pid), command).toBe('0');
  }
  expect(box.processes().filter(({ command }) => command.includes(canary))).toEqual([]);
  expect(filesWithIt(box.home).filter((name) => !registryFiles.includes(name))).toEqual([]);
  expect(filesWithIt(box.home)).not.toEqual([]);
  // After a crash of both, too.
  for (const { pid } of daemonAndShim) process.kill(pid, 'SIGABRT');
  await eventually(() => !box.processes().some(({ command }) => /workerd\.cjs|shim\.cjs/.test(command)));
  await box.workerctl(['status']);
  expect(filesWithIt(box.home).filter((name) => !registryFiles.includes(name))).toEqual([]);
  await client.call('remove', { name: 'given', force: true });
  await watching;
  const said = JSON.stringify([answers, printed, events]);
  // What was asked for with a wrong key is named, as the member that it is.
  expect(said.replaceAll(`${canary}=A`, '')).not.toContain(canary);
  expect(events.length).toBeGreaterThan(5);
  const shown = await client.call('status', { names: ['thread'], showEnv: true });
  expect(shown.workers[0]?.spec.env).toEqual(env);
  // Nor there any more, once the workers are forgotten.
  expect((await box.workerctl(['rm', '--all', '--force'])).code).toBe(0);
  expect((await box.workerd(['stop'])).code).toBe(0);
  expect(filesWithIt(box.home)).toEqual([]);
}, 120_000);

test('A07: daemon and shim leave no core dump where their starter would; workers have his limit', async () => {
  await using box = new Sandbox();
  const script = `ulimit -S -c 4096; exec '${process.execPath}' '${join(dist, 'workerd.cjs')}' start --detach`;
  const { status } = spawnSync('bash', ['-c', script], { env: box.env(), timeout: 30_000 });
  expect(status).toBe(0);
  const client = await box.client();
  const limits = async (name: string) => {
    await client.call('start', { name, spec: { kind: 'command', command: ['sleep', '1000'] } });
    const { pid } = await box.status(name);
    return softCoreLimit(pid ?? 0);
  };
  const own = () =>
    box.processes().flatMap(({ pid, command }) => (/workerd\.cjs|shim\.cjs/.test(command) ? [softCoreLimit(pid)] : []));
  expect([own(), await limits('first')]).toEqual([['0', '0'], String(4096 * 1024)]);
  expect((await box.workerd(['restart'])).code).toBe(0);
  for (const { pid, command } of box.processes()) if (/shim\.cjs/.test(command)) process.kill(pid, 'SIGKILL');
  // A new shim is of the daemon that was replaced meanwhile.
  await eventually(() => own().length === 2);
  const later = await eventually(() => limits('second').catch(() => null));
  expect([own(), later]).toEqual([['0', '0'], String(4096 * 1024)]);
});
