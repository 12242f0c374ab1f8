/** `workerctl logs`: from the end, by stream, by run, raw, followed over restarts, rotated. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const speak = (script: string) => ['--', 'sh', '-c', script];
const numbers = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\n`).join('');

test('raw are the bytes as they were written', async () => {
  await using box = new Sandbox();
  await box.workerctl(['run', '-n', 'w', ...speak('printf "a\\r\\033[2Jb\\nend"')]);
  expect((await box.workerctl(['logs', 'w', '--raw'])).stdout).toBe('a\r\x1b[2Jb\nend');
  expect((await box.workerctl(['logs', 'w'])).stdout).not.toContain('\x1b[2J');
});

test('the last 100 lines by default, all with -n all, none with -n 0', async () => {
  await using box = new Sandbox();
  await box.workerctl(['run', '-n', 'w', ...speak('seq 250; echo oops >&2')]);
  expect((await box.workerctl(['logs', 'w', '--stdout'])).stdout).toBe(numbers(151, 250));
  expect((await box.workerctl(['logs', 'w', '--stdout', '-n', 'all'])).stdout).toBe(numbers(1, 250));
  expect((await box.workerctl(['logs', 'w', '--stderr'])).stdout).toBe('oops\n');
  expect((await box.workerctl(['logs', 'w', '-n', '0'])).stdout).toBe('');
});

test('--run names an earlier one; without it the newest', async () => {
  await using box = new Sandbox();
  await box.workerctl(['run', '-n', 'w', ...speak('echo "$WORKERD_GENERATION"')]);
  await box.workerctl(['restart', 'w']);
  await box.workerctl(['wait', 'w']);
  expect((await box.workerctl(['logs', 'w'])).stdout).toBe('2\n');
  expect((await box.workerctl(['logs', 'w', '--run', '1'])).stdout).toBe('1\n');
});

test('-f goes on with the next run of the name, and Ctrl-C ends it with 130', async () => {
  await using box = new Sandbox();
  await box.workerctl(['start', '-n', 'w', ...speak('echo "run $WORKERD_GENERATION"; exec sleep 1000')]);
  const following = box.spawn('workerctl', ['logs', '-f', 'w']);
  await eventually(() => following.stdout().includes('run 1\n'));
  await box.workerctl(['restart', 'w']);
  await eventually(() => following.stdout().includes('run 2\n'));
  following.child.kill('SIGINT');
  expect((await following.finished).code).toBe(130);
  expect(await box.status('w')).toMatchObject({ phase: 'running', generation: 2 });
});

test('rotation keeps no more than it may, and what it keeps is read as one', async () => {
  await using box = new Sandbox();
  const flags = ['--log-size', '8KiB', '--log-files', '3'];
  await box.workerctl(['run', '-n', 'w', ...flags, ...speak('seq 20000')]);
  const names = readdirSync(join(box.home, 'logs', 'w')).filter((name) => name.endsWith('.log'));
  expect(names).toHaveLength(3);
  const { stdout } = await box.workerctl(['logs', 'w', '-n', '1000']);
  expect(stdout).toBe(numbers(19_001, 20_000));
});
