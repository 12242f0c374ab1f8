import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  openSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bench, type Channel } from './harness.ts';

const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.end());

test('counter.ts counts until it is stopped, as a process and as a thread', async () => {
  const params = { stepMs: 5 };
  const run = { module: example('counter.ts'), params };
  const thread = bench.thread(bench.threadHost(), run);
  for (const channel of [bench.process(run).channel, thread]) {
    await bench.until('it counts', () => Number(channel.state['counter']) > 3);
    channel.stop();
    await bench.until('it ended', () => channel.line('exit') !== undefined);
    expect(channel.line('exit')).toEqual({ kind: 'returned' });
    expect(channel.line('result')).toEqual({ counter: channel.state['counter'] });
  }
});

test('hash-tree.ts sums up a directory', async () => {
  const root = join(bench.directory, 'tree');
  mkdirSync(join(root, 'sub'), { recursive: true });
  writeFileSync(join(root, 'b.txt'), 'bb');
  writeFileSync(join(root, 'sub', 'a.txt'), 'aaa');
  const { channel } = bench.process({ module: example('hash-tree.ts'), params: { root } });
  await bench.until('it ended', () => channel.line('exit') !== undefined);
  const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
  const lines = [`${sha('bb')}  b.txt`, `${sha('aaa')}  sub/a.txt`].sort();
  const sum = { files: 2, bytes: 5, unreadable: 0, algorithm: 'sha256', digest: sha(lines.join('\n')) };
  expect(channel.line('result')).toEqual(sum);
  expect(channel.state).toMatchObject({ bytes: 5, progress: { done: 2, total: 2, unit: 'files' } });
});

test('hash-tree.ts stops in the middle of a file', async () => {
  const root = join(bench.directory, 'tree');
  mkdirSync(root);
  writeFileSync(join(root, 'huge'), '');
  truncateSync(join(root, 'huge'), 2 ** 36);
  const { channel } = bench.process({ module: example('hash-tree.ts'), params: { root } });
  await bench.until('it is at work', () => Number(channel.state['bytes']) > 0);
  channel.stop();
  await bench.until('it ended', () => channel.line('exit') !== undefined);
  expect(channel.line('exit')).toEqual({ kind: 'returned' });
  expect(channel.line('result')).toBeNull();
});

test('hash-tree.ts leaves out what it cannot read, but for the directory itself', async () => {
  const root = join(bench.directory, 'tree');
  mkdirSync(root);
  writeFileSync(join(root, 'fine'), '');
  const gone = join(root, 'none');
  const nothing = bench.process({ module: example('hash-tree.ts'), params: { root: gone } });
  await bench.until('it ended', () => nothing.channel.line('exit') !== undefined);
  expect(nothing.channel.line('exit')).toMatchObject({ kind: 'error', message: expect.stringContaining(gone) });

  // Two files that take for ever; while the first is read both go, and what is read ends there.
  const held = ['a', 'b'].map((name) => openSync(join(root, name), 'w'));
  for (const fd of held) ftruncateSync(fd, 2 ** 36);
  const { channel } = bench.process({ module: example('hash-tree.ts'), params: { root } });
  await bench.until('it is at work', () => Number(channel.state['bytes']) > 0);
  for (const name of ['a', 'b']) unlinkSync(join(root, name));
  for (const fd of held) ftruncateSync(fd, 0);
  held.forEach(closeSync);
  await bench.until('it ended', () => channel.line('exit') !== undefined);
  expect(channel.line('result')).toMatchObject({ files: 2, unreadable: 1 });
  expect(channel.state).toMatchObject({ unreadable: 1, progress: { done: 3, total: 3 } });
  expect(channel.text('err')).toMatch(/^left out: ENOENT.*tree/);
});

test.each([
  { command: ['./counter.sh', '0.02'], at: 3 },
  { command: ['python3', '-u', './counter.py', '1000', '0.02'], at: 3 },
])('$command.0 publishes on fd 3 and ends on TERM', async ({ command, at }) => {
  const channel: Channel = bench.channel();
  const { out, err, up, down } = channel.paths;
  const fds = [out, err, up, down].map((path) => openSync(path, constants.O_RDWR));
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    cwd: fileURLToPath(new URL('../../examples/', import.meta.url)),
    stdio: ['ignore', ...fds],
    env: { PATH: process.env['PATH'] ?? '', WORKERD_FD: '3', WORKERD_DOWN_FD: '4' },
  });
  fds.forEach(closeSync);
  let code: number | null = null;
  child.on('exit', (exitCode) => {
    code = exitCode;
  });
  try {
    await bench.until('it counts', () => Number(channel.state['counter']) >= at);
    child.kill('SIGTERM');
    await bench.until('it ended', () => code !== null);
  } finally {
    child.kill('SIGKILL');
  }
  channel.drain();
  expect(code).toBe(0);
  expect(channel.text('out')).toContain(`stopped at ${channel.state['counter']}`);
});
