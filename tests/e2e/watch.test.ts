/** `workerctl watch`: pushed changes as lines and as JSON, its end, and a real terminal. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { WorkerEvent } from '../../src/shared/client.ts';
import { eventually } from '../helpers/eventually.ts';
import { dist, root, Sandbox } from '../helpers/sandbox.ts';

const counter = join(root, 'examples', 'counter.ts');
const events = (text: string): readonly WorkerEvent[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as WorkerEvent);

test('--json: the snapshot first, then each change once and in order; ends with 0 when the worker has', async () => {
  await using box = new Sandbox();
  await box.workerctl(['start', '--thread', '-p', 'stepMs=20', counter]);
  const watching = box.spawn('workerctl', ['watch', '--json', 'counter']);
  await eventually(() => events(watching.stdout()).filter(({ type }) => type === 'state').length > 5);
  await box.workerctl(['stop', 'counter']);
  const { code, stdout } = await watching.finished;
  expect(code).toBe(0);
  const seen = events(stdout);
  expect(seen[0]).toMatchObject({ type: 'snapshot', name: 'counter', worker: { phase: 'running' } });
  const revisions = seen.flatMap((event) => (event.type === 'state' ? [event.stateRevision] : []));
  expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
  const phases = seen.flatMap((event) => (event.type === 'phase' ? [event.worker.phase] : []));
  expect(phases).toEqual(['stopping', 'stopped']);
});

test('a line per change where it is no terminal; of workers that are not alive it prints the snapshot and ends', async () => {
  await using box = new Sandbox();
  await box.workerctl(['run', '-n', 'w', '--', 'false']);
  const { code, stdout } = await box.workerctl(['watch', 'w']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\S+Z {2}w {2}failed .*exit code 1.*\n$/);
});

const tmux = spawnSync('tmux', ['-V']).status === 0;
test.skipIf(!tmux)('on a terminal it redraws in place, and leaves it as it was (needs tmux)', async () => {
  await using box = new Sandbox();
  await box.workerctl(['start', '--thread', '-p', 'stepMs=50', counter]);
  const server = `wd-${process.pid}`;
  const call = (...args: readonly string[]) => execFileSync('tmux', ['-L', server, ...args], { encoding: 'utf8' });
  const screen = () => call('capture-pane', '-p', '-t', 's');
  const env = { ...box.env(), PS1: '$ ', TERM: 'xterm-256color' };
  const shell = ['new-session', '-d', '-s', 's', '-x', '100', '-y', '12', 'sh'];
  execFileSync('tmux', ['-L', server, '-f', '/dev/null', ...shell], { env });
  try {
    await eventually(() => screen().trim() !== '', { what: 'a prompt' });
    call('send-keys', '-t', 's', `${process.execPath} ${join(dist, 'workerctl.cjs')} watch`, 'Enter');
    const shown = () => Number(/counter=(\d+)/.exec(screen())?.[1] ?? 0);
    const first = await eventually(shown);
    await eventually(() => shown() > first + 3, { what: 'the counter is redrawn' });
    expect(screen().match(/counter=/g)).toHaveLength(1);
    expect(screen()).toMatch(/^NAME +PHASE +STATE/m);
    call('send-keys', '-t', 's', 'C-c');
    call('send-keys', '-t', 's', 'echo "left $?"', 'Enter');
    await eventually(() => screen().includes('left 130'));
    expect(call('display-message', '-p', '-t', 's', '#{cursor_flag} #{alternate_on}').trim()).toBe('1 0');
  } finally {
    call('kill-server');
  }
});
