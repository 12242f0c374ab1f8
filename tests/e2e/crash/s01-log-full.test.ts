/**
 * S01, S11: the logs of one worker are on a full disk of 2 MB, or on one that becomes read-only. The worker goes on, its
 * bytes are dropped, counted and marked, and logging resumes. Needs root to mount.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { Sandbox } from '../../helpers/sandbox.ts';

const run = (...argv: [string, ...string[]]): boolean => spawnSync(argv[0], argv.slice(1)).status === 0;
const mount = (at: string): boolean => run('mount', '-t', 'tmpfs', '-o', 'size=2m,mode=700', 'tmpfs', at);

const canMount = (() => {
  if (process.getuid?.() !== 0) return false;
  const at = mkdtempSync(join(tmpdir(), 'wd-mount-'));
  const done = mount(at);
  if (done) run('umount', at);
  rmSync(at, { recursive: true });
  return done;
})();

/** Numbered lines without end, each second one of them long, after whatever is sent. */
const writer = shell(
  'pad=$(head -c 2000 /dev/zero | tr "\\0" x); n=0; while :; do n=$((n + 1)); echo "line $n $pad"; [ $((n % 50)) = 0 ] && sleep 0.02; done',
);

test.runIf(canMount)(
  'S01: a full disk costs bytes, which every reader is told of; then it goes on',
  async () => {
    await using box = new Sandbox();
    const daemon = await box.startDaemon();
    const disk = join(box.home, 'logs', 'w');
    mkdirSync(disk, { mode: 0o700 });
    expect(mount(disk)).toBe(true);
    try {
      const client = await box.client();
      await client.call('start', { name: 'w', spec: { ...writer, log: { maxBytes: 1024 ** 3, files: 2 } } });
      await client.call('start', { name: 'other', spec: shell('while :; do echo fine; sleep 0.05; done') });
      const { pid } = await box.status('w');
      const troubled = () => box.workerctl(['status']).then(({ stderr }) => /logs?.*w/.test(stderr) && stderr);
      expect(await eventually(troubled, { withinMs: 20_000 })).toMatch(/no space left|ENOSPC/);
      expect((await client.call('logs', { name: 'other', tail: 1 })).entries[0]?.line).toBe('fine');
      const following = box.spawn('workerctl', ['logs', '-f', '-n', '1', 'w']);
      await eventually(() => following.stdout() !== '');
      expect(run('mount', '-o', 'remount,size=200m', disk)).toBe(true);
      await eventually(() => /missing here/.test(following.stderr()), { withinMs: 25_000 });
      await eventually(() => following.stdout().length > 100_000, { withinMs: 25_000 });
      await client.call('stop', { name: 'w' });
      following.child.kill('SIGINT');
      const { stdout, stderr } = await box.workerctl(['logs', 'w', '-n', 'all']);
      // What is there is whole, but for the lines that were cut by a gap; what is not is said, in place of it and no line.
      const numbers = [...stdout.matchAll(/^line (\d+) x{2000}$/gm)].map(([, number]) => Number(number));
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      expect(numbers[0]).toBe(1);
      const lost = [...stderr.matchAll(/^workerctl: w: (\d+) bytes of run 1 are missing here: its log could not/gm)];
      const bytes = lost.reduce((sum, [, count]) => sum + Number(count), 0);
      const last = numbers.at(-1) ?? 0;
      const written = Array.from({ length: last }, (_, index) => `line ${index + 1} `.length + 2001);
      expect(stdout.replace(/\n/g, '').length + bytes).toBeGreaterThan(
        written.reduce((a, b) => a + b, 0) - last - 5000,
      );
      expect(lost.length).toBeGreaterThan(0);
      expect((await box.status('w')).exit).toEqual({ kind: 'signal', signal: 'SIGTERM' });
      expect(pid).not.toBeNull();
      expect((await client.call('daemon.info', {})).pid).toBe(daemon);
    } finally {
      await box.workerctl(['stop', '--all', '--force']);
      await eventually(() => run('umount', disk));
    }
  },
  90_000,
);

test.runIf(canMount)(
  'S11: on a read-only disk a worker runs all the same, and is logged once it can be',
  async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const disk = join(box.home, 'logs', 'w');
    mkdirSync(disk, { mode: 0o700 });
    expect(mount(disk)).toBe(true);
    try {
      expect(run('mount', '-o', 'remount,ro', disk)).toBe(true);
      const client = await box.client();
      const log = { maxBytes: 40_000, files: 3 };
      await client.call('start', { name: 'w', spec: { ...shell('while :; do echo some line; done'), log } });
      const troubled = () => box.workerctl(['status']).then(({ stderr }) => /logs.w/.test(stderr) && stderr);
      expect(await eventually(troubled, { withinMs: 20_000 })).toMatch(/read-only file system|EROFS/);
      expect(await box.status('w')).toMatchObject({ phase: 'running', generation: 1 });
      expect(await client.call('logs', { name: 'w' })).toMatchObject({ entries: [] });
      expect(run('mount', '-o', 'remount,rw', disk)).toBe(true);
      await eventually(async () => (await client.call('logs', { name: 'w' })).entries.length === 100, {
        withinMs: 25_000,
        what: 'the log goes on within 5 s (asserted: 25)',
      });
      await eventually(() => box.workerctl(['status']).then(({ stderr }) => stderr === ''), { withinMs: 20_000 });
      await client.call('stop', { name: 'w' });
      const { stdout } = await box.workerctl(['logs', 'w', '-n', '50']);
      expect(stdout.match(/^some line$/gm)?.length).toBeGreaterThan(40);
    } finally {
      await box.workerctl(['stop', '--all', '--force']);
      await eventually(() => run('umount', disk));
    }
  },
  90_000,
);
