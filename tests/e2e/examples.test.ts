/** The examples do what their first lines say: each is run for real, as a user would. */
import { createHash } from 'node:crypto';
import { cpSync, globSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { WorkerView } from '../../src/shared/worker.ts';
import { eventually } from '../helpers/eventually.ts';
import { root, Sandbox } from '../helpers/sandbox.ts';

const example = (name: string): string => join(root, 'examples', name);
const counterOf = ({ state }: WorkerView): number => Number(state?.['counter'] ?? 0);
const ok = { code: 0, stderr: '' };
/** The first command of a sandbox starts its daemon, and says so. */
const sandbox = async (): Promise<Sandbox> => {
  const box = new Sandbox();
  await box.startDaemon();
  return box;
};

describe.each(['--thread', '--process'])('counter.ts %s', (kind) => {
  test('counts, is seen by two watchers at once, is stopped by another shell, and returns its count', async () => {
    await using box = await sandbox();
    const file = example('counter.ts');
    expect(await box.workerctl(['start', kind, file, '-p', 'stepMs=50'])).toMatchObject({ ...ok, stdout: 'counter\n' });
    const watchers = [1, 2].map(() => box.spawn('workerctl', ['watch', 'counter', '--json']));
    const seen = (text: string): readonly number[] =>
      [...text.matchAll(/"state":\{"counter":(\d+)\}/g)].map(([, count]) => Number(count));
    await eventually(() => watchers.every((watcher) => new Set(seen(watcher.stdout())).size >= 3), {
      what: 'both watchers see it count',
    });

    expect(await box.workerctl(['stop', 'counter'])).toMatchObject(ok);
    const [one, two] = await Promise.all(watchers.map(({ finished }) => finished));
    expect(one).toMatchObject(ok);
    expect(two).toMatchObject(ok);
    const stopped = await box.status('counter');
    expect(stopped).toMatchObject({ phase: 'stopped', exit: { kind: 'returned' }, kind: kind.slice(2) });
    expect(stopped.result).toEqual(stopped.state);
    const last = [one, two].map((watcher) => seen(watcher?.stdout ?? '').at(-1));
    expect(last).toEqual([counterOf(stopped), counterOf(stopped)]);
  });
});

describe('hash-tree.ts', () => {
  const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');
  /** What it must find, found another way. */
  const expected = (top: string) => {
    const paths = globSync('**', { cwd: top, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const lines = paths.map((path) => `${sha256(readFileSync(path))}  ${relative(top, path)}`).sort();
    const bytes = paths.reduce((sum, path) => sum + statSync(path).size, 0);
    return { files: paths.length, bytes, unreadable: 0, algorithm: 'sha256', digest: sha256(lines.join('\n')) };
  };
  const hash = async (box: Sandbox, name: string, top: string): Promise<WorkerView> => {
    const started = await box.workerctl(['start', '-n', name, example('hash-tree.ts'), '-p', `root=${top}`]);
    expect(started).toMatchObject(ok);
    expect(await box.workerctl(['wait', name, '--timeout', '30s'])).toMatchObject(ok);
    return box.status(name);
  };

  test('hashes every file of a small tree, whatever it is called, and returns a summary', async () => {
    await using box = await sandbox();
    const top = join(box.directory, 'tree');
    mkdirSync(join(top, 'a', 'b c'), { recursive: true });
    mkdirSync(join(top, 'empty'));
    writeFileSync(join(top, 'hello.txt'), 'hello\n');
    writeFileSync(join(top, 'a', 'b c', 'ä\n"quoted".bin'), Buffer.alloc(200_000, 7));
    writeFileSync(join(top, 'a', 'nothing'), '');
    symlinkSync('hello.txt', join(top, 'a', 'link'));
    const { phase, result, state } = await hash(box, 'small', top);
    expect({ phase, result }).toEqual({
      phase: 'exited',
      result: { ...expected(top), files: 3, bytes: 200_006 },
    });
    expect(state).toMatchObject({ bytes: 200_006, progress: { done: 3, total: 3, unit: 'files' } });
  });

  test('hashes a real tree, showing how far it is, and two runs agree', async () => {
    await using box = await sandbox();
    const top = join(box.directory, 'src');
    // Others may be at work in ours.
    cpSync(join(root, 'src'), top, { recursive: true });
    const watcher = box.spawn('workerctl', ['watch', '--json']);
    const first = await hash(box, 'first', top);
    const { files } = expected(top);
    expect(files).toBeGreaterThan(50);
    expect(first.result).toEqual(expected(top));
    await eventually(() => watcher.stdout().includes(`"done":${files},"total":${files}`), {
      what: 'the watcher sees the progress reach its total',
    });
    writeFileSync(join(top, 'one-more'), 'x');
    const second = await hash(box, 'second', top);
    expect(second.result).toEqual(expected(top));
    expect(second.result).not.toEqual(first.result);
    watcher.child.kill('SIGINT');
    await watcher.finished;
  });

  test('says what is missing, and fails, where no directory is named', async () => {
    await using box = await sandbox();
    await box.workerctl(['start', example('hash-tree.ts')]);
    await box.workerctl(['wait', 'hash-tree']);
    const { phase, exit } = await box.status('hash-tree');
    expect(phase).toBe('failed');
    expect(exit).toMatchObject({ kind: 'error', name: 'TypeError' });
    expect(JSON.stringify(exit)).toContain('-p root=DIRECTORY');
  });
});

describe('counters in other languages publish on descriptor 3 and hear TERM', () => {
  test.each([
    ['counter.sh', [example('counter.sh'), '0.05'], /^counter: 0\ncounter: 1\n(?:.*\n)*stopped at \d+\n$/],
    [
      'counter.py',
      ['python3', '-u', example('counter.py'), '10000', '0.05'],
      /^counter: 1\ncounter: 2\n(?:.*\n)*stopped at \d+\n$/,
    ],
  ])('%s', async (name, command, log) => {
    await using box = await sandbox();
    expect(await box.workerctl(['start', '-n', 'counter', '--', ...command])).toMatchObject(ok);
    const early = await eventually(async () => {
      const worker = await box.status('counter');
      return counterOf(worker) >= 2 && worker;
    });
    await eventually(async () => counterOf(await box.status('counter')) > counterOf(early));

    expect(await box.workerctl(['stop', 'counter'])).toMatchObject(ok);
    const worker = await box.status('counter');
    expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'code', code: 0 } });
    const { stdout } = await box.workerctl(['logs', 'counter', '-n', 'all']);
    expect(stdout, name).toMatch(log);
    // TERM may meet sh between a step and its publication.
    const stoppedAt = Number(/stopped at (\d+)/.exec(stdout)?.[1]);
    expect([0, 1]).toContain(stoppedAt - counterOf(worker));
  });

  test('counter.py ends by itself at its total, with its progress full', async () => {
    await using box = await sandbox();
    const python = ['python3', '-u', example('counter.py'), '5', '0.01'];
    await box.workerctl(['start', '-n', 'counter', '--ready', '--', ...python]);
    expect(await box.workerctl(['wait', 'counter'])).toMatchObject(ok);
    expect(await box.status('counter')).toMatchObject({
      phase: 'exited',
      exit: { kind: 'code', code: 0 },
      state: { counter: 5, square: 25, progress: { done: 5, total: 5, unit: 'steps' } },
    });
  });
});

describe('python3 -m http.server, a plain command that knows nothing of us', () => {
  const freePort = async (): Promise<number> => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    await new Promise((resolve) => server.close(resolve));
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  };
  const canListen = (port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });

  test('serves a file of its directory, logs the request, and its port is free when stop returns', async () => {
    await using box = await sandbox();
    const site = join(box.directory, 'site');
    mkdirSync(site);
    writeFileSync(join(site, 'hello.txt'), 'hello from a worker\n');
    const port = await freePort();
    const server = ['python3', '-u', '-m', 'http.server', String(port), '--bind', '127.0.0.1'];
    expect(await box.workerctl(['start', '-n', 'web', '-C', site, '--', ...server])).toMatchObject(ok);
    const body = await eventually(async () => (await fetch(`http://127.0.0.1:${port}/hello.txt`)).text(), {
      what: 'the server serves',
    });
    expect(body).toBe('hello from a worker\n');
    expect(await canListen(port)).toBe(false);
    await eventually(async () =>
      (await box.workerctl(['logs', 'web'])).stdout.includes('"GET /hello.txt HTTP/1.1" 200'),
    );

    expect(await box.workerctl(['stop', 'web'])).toMatchObject(ok);
    expect(await canListen(port)).toBe(true);
    expect(await box.status('web')).toMatchObject({ phase: 'stopped', leftovers: [] });
  });
});
