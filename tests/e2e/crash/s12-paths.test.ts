/**
 * S12: homes and sockets with spaces, other scripts, relative, and through a link: they work, under the same name for
 * everybody, and nothing listens elsewhere. What is too long is refused (tests/e2e/single-instance.test.ts).
 */
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { Sandbox } from '../../helpers/sandbox.ts';

/** Paths of listening sockets that contain this. */
const listening = (part: string): readonly string[] =>
  readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .filter((line) => line.split(/\s+/)[3] === '00010000' && line.includes(part))
    .map((line) => line.slice(line.indexOf('/')));

test.each([
  'with a space/home',
  'ünïcode-日本語/home',
  "quo'te $(x) `y`/home",
  'new\nline/home',
])('S12: a home in %j', async (name) => {
  await using box = new Sandbox(name);
  mkdirSync(dirname(box.home), { mode: 0o700 });
  const { code, stderr } = await box.workerctl([
    'start',
    '-n',
    'w',
    '--',
    'sh',
    '-c',
    'echo "$WORKERD_HOME"; sleep 1000',
  ]);
  expect([code, stderr]).toEqual([0, expect.stringContaining('started the daemon')]);
  expect((await box.workerctl(['logs', 'w'])).stdout.trimEnd().replaceAll('\\u{a}', '\n')).toBe(box.home);
  expect((await box.workerd(['restart'])).code).toBe(0);
  expect(await box.status('w')).toMatchObject({ phase: 'running', generation: 1 });
  if (!name.includes('\n')) {
    for (const path of listening(basename(box.directory))) expect(dirname(path)).toBe(box.home);
  }
});

test('S12: a relative home, and one through a link, are the same as by its full name', async () => {
  await using box = new Sandbox();
  const link = join(box.directory, 'link');
  symlinkSync(box.directory, link);
  const names = [
    { env: { WORKERD_HOME: 'home' }, cwd: box.directory },
    { env: { WORKERD_HOME: `../${basename(box.directory)}/./home` }, cwd: link },
    { env: { WORKERD_HOME: join(link, 'home') } },
    { env: { WORKERD_HOME: '', WORKERD_SOCKET: 'home/workerd.sock' }, cwd: box.directory },
  ];
  const [first] = names;
  expect((await box.workerctl(['start', '-n', 'w', '--', 'sleep', '1000'], first ?? {})).code).toBe(0);
  const pids = await Promise.all(
    names.map(async (options) => {
      const { code, stdout, stderr } = await box.workerctl(['rpc', 'daemon.info'], options);
      expect([code, stderr]).toEqual([0, '']);
      return (JSON.parse(stdout) as { pid: number }).pid;
    }),
  );
  expect(new Set(pids).size).toBe(1);
  for (const options of names.slice(0, 3)) {
    // By whichever name: nobody starts a second one.
    expect((await box.workerd(['start'], options)).code).toBe(1);
  }
});
