/**
 * A02 and A10: another user reaches nothing of a daemon: not its sockets, logs, databases, FIFOs or token. Nor where
 * somebody has opened the way to it: each thing is closed by itself.
 */
import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { part, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { canBeOther, canRunOurs, runAsOther } from '../../helpers/other-user.ts';
import { dist } from '../../helpers/sandbox.ts';

/** What open() and connect() say to each path, to read and to write. */
const tries = `
import errno, json, os, socket, stat, sys
def attempt(work):
    try:
        work()
        return 'done'
    except OSError as error:
        return errno.errorcode[error.errno]
def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)
said = {}
for path, kind in json.load(sys.stdin):
    if kind == 'socket':
        said[path] = [attempt(lambda: connect(path))]
    elif kind == 'directory':
        said[path] = [attempt(lambda: os.listdir(path)), attempt(lambda: os.mkdir(path + '/planted'))]
    else:
        said[path] = [attempt(lambda: os.open(path, flags | os.O_NONBLOCK)) for flags in (os.O_RDONLY, os.O_WRONLY)]
print(json.dumps(said))
`;

const kindOf = (path: string): string => {
  const stat = lstatSync(path);
  return stat.isSocket() ? 'socket' : stat.isDirectory() ? 'directory' : 'file';
};

const everything = (directory: string): readonly string[] => [
  directory,
  ...readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => join(directory, name)),
];

const attempts = (paths: readonly string[]): Record<string, readonly string[]> => {
  const { stdout, stderr } = runAsOther(
    ['python3', '-c', tries],
    JSON.stringify(paths.map((path) => [path, kindOf(path)])),
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Record<string, readonly string[]>;
};

describe.skipIf(!canBeOther)('A02, A10: another uid', () => {
  test.each([
    ['as it is', 0o700],
    ['after somebody opened the home', 0o755],
  ])('gets EACCES from everything in the home, %s', async (_, mode) => {
    await using box = new CrashBox();
    chmodSync(box.directory, 0o755);
    await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'command', spec: { ...shell('echo hi; sleep 1000'), stdin: true } });
    await client.call('start', { name: 'process', spec: part('process', 'counts') });
    await client.call('start', { name: 'thread', spec: part('thread', 'counts') });
    chmodSync(box.home, mode);
    const paths = everything(box.home);
    for (const name of ['workerd.sock', 'shim.sock', 'registry.db', 'lock.db', 'shim.token', 'workerd.log']) {
      expect(paths).toContain(join(box.home, name));
    }
    expect(paths.some((path) => /run\/thread.*\/up$/.test(path))).toBe(true);
    const said = attempts(paths);
    const allowed = Object.entries(said).filter(([path, results]) =>
      results.some((result) => result !== 'EACCES' && !(mode === 0o755 && path === box.home)),
    );
    expect(allowed).toEqual([]);
    expect(Object.keys(said)).toHaveLength(paths.length);
    if (mode === 0o755) expect(said[box.home]).toEqual(['done', 'EACCES']);
    chmodSync(box.home, 0o700);
  });

  test.skipIf(!canRunOurs)('is told "permission denied" by workerctl, and that it is not its daemon', async () => {
    await using box = new CrashBox();
    chmodSync(box.directory, 0o755);
    await box.startDaemon();
    const { status, stderr } = runAsOther([
      process.execPath,
      join(dist, 'workerctl.cjs'),
      '--home',
      box.home,
      'status',
    ]);
    expect([status, stderr]).toEqual([125, expect.stringContaining(`${box.socket} (permission denied)`)]);
  });
});
