/**
 * S01 and S02 on a disk that is really full: a tmpfs of 4 MB that a file takes up to its last byte. Needs root to mount.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { command, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { Sandbox } from '../../helpers/sandbox.ts';

const mount = (at: string, more = ''): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', `size=4m,mode=700${more}`, 'tmpfs', at]).status === 0;
const unmount = (at: string) => spawnSync('umount', [at]);

const canMount = (() => {
  if (process.getuid?.() !== 0) return false;
  const at = '/tmp/wd-mount-try';
  mkdirSync(at, { recursive: true });
  const done = mount(at);
  if (done) unmount(at);
  rmSync(at, { recursive: true, force: true });
  return done;
})();

const refusals = 40;

/** To the last byte. */
const fill = (path: string): void => {
  const descriptor = openSync(path, 'w');
  try {
    for (const size of [65_536, 4096, 1]) {
      const piece = Buffer.alloc(size);
      try {
        while (writeSync(descriptor, piece) === size);
      } catch {
        // No more of this size.
      }
    }
  } finally {
    closeSync(descriptor);
  }
};

test.skipIf(!canMount)(
  'S01, S02: full to the last byte: starts refused by name, all else goes on, and logs again after',
  async () => {
    await using box = new Sandbox('disk/home');
    const disk = join(box.directory, 'disk');
    mkdirSync(disk);
    expect(mount(disk)).toBe(true);
    try {
      const daemon = await box.startDaemon();
      const client = await box.client();
      await client.call('start', {
        name: 'w',
        spec: shell('n=0; while :; do n=$((n + 1)); echo $n; sleep 0.02; done'),
      });
      await client.call('start', { name: 'other', spec: command('sleep', '1000') });
      const before = (await client.call('status', {})).workers;
      fill(join(disk, 'fill'));
      // So often that there is no room for the daemon's own log, too.
      for (let n = 0; n < refusals; n += 1) {
        const refused = client.call('start', { name: `new${n}`, spec: command('true') });
        await expect(refused).rejects.toThrow(/registry.*full.*Make room/);
      }
      expect((await client.call('daemon.info', {})).pid).toBe(daemon);
      const after = (await client.call('status', {})).workers;
      expect(after.map(({ name, pid, phase }) => [name, pid, phase])).toEqual(
        before.map(({ name, pid, phase }) => [name, pid, phase]),
      );
      expect((await client.call('stop', { name: 'other' })).worker.phase).toBe('stopped');
      const log = join(box.home, 'logs', 'w', '1.log');
      const last = () => Number(readFileSync(log, 'latin1').trimEnd().split('\n').at(-1));
      const full = last();
      rmSync(join(disk, 'fill'));
      await eventually(() => last() > full + 10, {
        withinMs: 25_000,
        what: 'the log goes on within 5 s (asserted: 25)',
      });
      const started = () => client.call('start', { name: 'new', spec: command('sleep', '1000') });
      await eventually(() => started().then(({ outcome }) => outcome === 'started'), { withinMs: 25_000 });
      const db = new DatabaseSync(join(box.home, 'registry.db'), { readOnly: true });
      expect(db.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
      db.close();
      expect(await box.status('w')).toMatchObject({ pid: before.find(({ name }) => name === 'w')?.pid });
      expect(readFileSync(join(box.home, 'workerd.log'), 'utf8')).toMatch(/lines of this log could not be written/);
      // And the same to the end: in good order without room for a word.
      fill(join(disk, 'fill'));
      const { code, stderr } = await box.workerd(['stop']);
      expect([code, stderr]).toEqual([0, '']);
      expect(box.processes()).toEqual([]);
    } finally {
      for (const { pid } of box.processes()) process.kill(pid, 'SIGKILL');
      await eventually(() => unmount(disk).status === 0);
    }
  },
);

/** As long as there is a name to be had. */
const takeInodes = (directory: string): void => {
  mkdirSync(directory);
  try {
    for (let n = 0; ; n += 1) closeSync(openSync(join(directory, String(n)), 'w'));
  } catch {
    // None is left.
  }
};

test.skipIf(!canMount).each([
  ['full to the last byte', (path: string) => fill(path)],
  ['without an inode', takeInodes],
])(
  'K01: the shim is killed on a disk that is %s: another reads on, stops work, and starts again after',
  async (_, take) => {
    await using box = new CrashBox('disk/home');
    const disk = join(box.directory, 'disk');
    mkdirSync(disk);
    expect(mount(disk, ',nr_inodes=600')).toBe(true);
    try {
      await box.startDaemon();
      const client = await box.client();
      const prints = shell('n=0; while :; do n=$((n + 1)); echo $n; sleep 0.02; done');
      await client.call('start', { name: 'w', spec: prints });
      await client.call('start', { name: 'other', spec: command('sleep', '1000') });
      const { pid } = await box.status('w');
      const taken = join(disk, 'taken');
      take(taken);
      const shim = box.shimPid;
      process.kill(shim, 'SIGKILL');
      const answers = async () => {
        const { shim: now, problems } = await client.call('daemon.info', {});
        return now != null && now.pid !== shim && !problems?.some(({ kind }) => kind === 'shim-gone');
      };
      await eventually(answers, { what: 'the daemon has another shim', withinMs: 20_000 });
      expect((await client.call('stop', { name: 'other' })).worker).toMatchObject({
        phase: 'stopped',
        exit: { kind: 'lost' },
      });
      rmSync(taken, { recursive: true });
      const log = join(box.home, 'logs', 'w', '1.log');
      const last = () => Number(readFileSync(log, 'latin1').trimEnd().split('\n').at(-1));
      const before = last();
      await eventually(() => last() > before + 10, { withinMs: 25_000, what: 'its output is read on' });
      const started = () => client.call('start', { name: 'other' });
      await eventually(() => started().then(({ worker }) => worker.phase === 'running'), { withinMs: 25_000 });
      expect(await box.status('w')).toMatchObject({ phase: 'running', pid, generation: 1 });
      client.close();
      expect((await box.workerd(['stop'])).code).toBe(0);
    } finally {
      for (const { pid } of box.processes()) process.kill(pid, 'SIGKILL');
      await eventually(() => unmount(disk).status === 0);
    }
  },
);
