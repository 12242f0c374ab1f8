/** `workerctl run`: its output byte for byte, its exit code, Ctrl-C once and twice, joining. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { dist, Sandbox } from '../helpers/sandbox.ts';

const sha = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');

test('passes both streams on byte for byte, and the exit code', async () => {
  await using box = new Sandbox();
  const script = 'for i in $(seq 2000); do echo "out $i"; echo "err $i" >&2; done; printf unfinished; exit 3';
  const { code, stdout, stderr } = await box.workerctl(['run', '-n', 'r', '--', 'sh', '-c', script]);
  expect(code).toBe(3);
  const lines = (word: string) => Array.from({ length: 2000 }, (_, index) => `${word} ${index + 1}\n`).join('');
  expect(sha(stdout)).toBe(sha(`${lines('out')}unfinished`));
  expect(sha(stderr.replace(/^workerctl: started the daemon .*\n/, ''))).toBe(sha(lines('err')));
});

test('Ctrl-C stops the worker, shows the rest, and ends with 130', async () => {
  await using box = new Sandbox();
  const script = 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done';
  const running = box.spawn('workerctl', ['run', '-n', 'r', '--', 'sh', '-c', script]);
  await eventually(() => running.stdout().includes('up\n'));
  running.child.kill('SIGINT');
  const { code, stdout } = await running.finished;
  expect({ code, stdout }).toEqual({ code: 130, stdout: 'up\nbye\n' });
  expect(await box.status('r')).toMatchObject({ phase: 'stopped', exit: { kind: 'code', code: 0 } });
});

test('a second Ctrl-C kills', async () => {
  await using box = new Sandbox();
  const script = 'trap "echo no" TERM; echo up; while :; do sleep 0.05; done';
  const running = box.spawn('workerctl', ['run', '-n', 'r', '--grace', '60s', '--', 'sh', '-c', script]);
  await eventually(() => running.stdout().includes('up\n'));
  running.child.kill('SIGINT');
  await eventually(() => running.stdout().includes('no\n'));
  running.child.kill('SIGINT');
  expect((await running.finished).code).toBe(130);
  expect(await box.status('r')).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGKILL' } });
});

test('SIGTERM stops it as Ctrl-C does, and ends with 143', async () => {
  await using box = new Sandbox();
  const script = 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done';
  const running = box.spawn('workerctl', ['run', '--rm', '-n', 'r', '--', 'sh', '-c', script]);
  await eventually(() => running.stdout().includes('up\n'));
  running.child.kill('SIGTERM');
  const { code, stdout } = await running.finished;
  expect({ code, stdout }).toEqual({ code: 143, stdout: 'up\nbye\n' });
  expect((await box.workerctl(['status', 'r'])).code).toBe(4);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s is heard while nobody reads the output: the worker is stopped, and nobody waited for', async (signal, code) => {
  await using box = new Sandbox();
  await box.startDaemon();
  const command = `${process.execPath} ${join(dist, 'workerctl.cjs')} run --rm -n r -- yes`;
  // The reader holds the pipe and reads nothing: run stands in the middle of a write.
  const shell = spawn('bash', ['-c', `(${command}; echo $? >code) | { echo $BASHPID >reader; exec sleep 1000; }`], {
    cwd: box.directory,
    env: box.env(),
  });
  const written = (file: string) => readFileSync(join(box.directory, file), 'utf8').trim();
  await eventually(async () => (await box.status('r')).phase === 'running' && written('reader') !== '');
  const pid = await eventually(
    () => box.processes().find((each) => /^\S*node \S+ run --rm -n r /.test(each.command))?.pid,
  );
  process.kill(pid, signal);
  await eventually(() => written('code') !== '', { what: 'it has ended', withinMs: 20_000 });
  expect(written('code')).toBe(String(code));
  expect((await box.workerctl(['status', 'r'])).code).toBe(4);
  process.kill(Number(written('reader')), 'SIGKILL');
  await new Promise((resolve) => shell.once('close', resolve));
});

test('output that cannot be written is said at once, the worker goes on, and is forgotten at its end', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  const script = '"$0" "$1" run --rm --stdin -n r -- sh -c "echo one; read go; exit 3" >/dev/full';
  const child = spawn('bash', ['-c', script, process.execPath, join(dist, 'workerctl.cjs')], {
    env: box.env(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString();
  });
  await eventually(() => said.endsWith('\n'));
  expect(said).toMatch(/^workerctl: cannot pass on what r writes: ENOSPC: .*\. It goes on, .*: workerctl logs r\n$/);
  expect((await box.status('r')).phase).toBe('running');
  await client.call('send', { name: 'r', text: 'go' });
  await eventually(() => child.exitCode !== null);
  expect(child.exitCode).toBe(125);
  expect((await box.workerctl(['status', 'r'])).code).toBe(4);
});

test('--rm forgets it at the end', async () => {
  await using box = new Sandbox();
  expect((await box.workerctl(['run', '--rm', '-n', 'r', '--', 'true'])).code).toBe(0);
  expect((await box.workerctl(['status', 'r'])).code).toBe(4);
});

test('--rm by several at once, and by one whom another forestalls: each ends as the worker did', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const go = join(box.directory, 'go');
  const script = `while ! [ -e ${go} ]; do echo tick; sleep 0.05; done; exit 5`;
  const running = [1, 2, 3].map(() => box.spawn('workerctl', ['run', '--rm', '-n', 'r', '--', 'sh', '-c', script]));
  await eventually(() => running.every(({ stdout }) => stdout().includes('tick')));
  writeFileSync(go, '');
  const ended = await Promise.all(running.map(({ finished }) => finished));
  for (const { code, stderr } of ended) expect({ code, stderr }).toEqual({ code: 5, stderr: '' });

  const alone = box.spawn('workerctl', ['run', '--rm', '-n', 'r', '--', 'sh', '-c', 'echo up; exec sleep 1000']);
  await eventually(() => alone.stdout().includes('up\n'));
  expect((await box.workerctl(['rm', '--force', 'r'])).code).toBe(0);
  expect(await alone.finished).toMatchObject({ code: 143, stderr: '' });
});

test('of an alive equal worker it joins it from now on, and ends as it ends', async () => {
  await using box = new Sandbox();
  const go = join(box.directory, 'go');
  const script = `echo before; while ! [ -e ${go} ]; do sleep 0.02; echo tick; done; exit 5`;
  const command = ['--', 'sh', '-c', script];
  await box.workerctl(['start', ...command]);
  await eventually(() => readFileSync(join(box.home, 'logs', 'sh', '1.log'), 'utf8').includes('tick'));
  const running = box.spawn('workerctl', ['run', ...command]);
  const named = box.spawn('workerctl', ['run', '-n', 'sh', ...command]);
  await eventually(() => [running, named].every((each) => each.stdout().includes('tick')));
  writeFileSync(go, '');
  const { code, stdout, stderr } = await running.finished;
  expect(code).toBe(5);
  expect(stdout).not.toContain('before');
  // It was not named, so it is said; who names one knows.
  expect(stderr).toMatch(/^workerctl: sh is already running \(pid \d+\); joined, from now on\n$/);
  expect(await named.finished).toMatchObject({ code: 5, stderr: '' });
});

test('ends quietly when its reader goes away', async () => {
  await using box = new Sandbox();
  const running = box.spawn('workerctl', ['run', '-n', 'r', '--', 'sh', '-c', 'yes | head -n 200000; exit 0']);
  await eventually(() => running.stdout().length > 0);
  running.child.stdout?.destroy();
  const { stderr } = await running.finished;
  expect(stderr).not.toMatch(/at .*:\d+:\d+/);
  await eventually(async () => !['running', 'starting'].includes((await box.status('r')).phase));
});
