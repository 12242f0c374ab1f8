/** `workerctl doctor` against faults that are planted: each is found by its name, and nothing is started or changed. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Check, Level } from '../../src/cli/doctor/check.ts';
import { command, shell } from '../fixtures/workers/behaviours.ts';
import { CrashBox } from '../helpers/crash-box.ts';
import { eventually } from '../helpers/eventually.ts';
import { dist, type Sandbox } from '../helpers/sandbox.ts';

const isRoot = process.getuid?.() === 0;
const [libfaketime] = globSync('/usr/lib/*/faketime/libfaketime.so.1');
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const canMount =
  isRoot && spawnSync('sh', ['-c', 'd=$(mktemp -d) && mount -t tmpfs none $d && umount $d; rmdir $d']).status === 0;

interface Found {
  readonly code: number | null;
  readonly checks: readonly Check[];
  readonly ok: boolean;
}

const doctor = async (box: Sandbox, args: readonly string[] = [], env: Record<string, string> = {}): Promise<Found> => {
  const { code, stdout, stderr } = await box.workerctl(['doctor', '--json', ...args], { env });
  expect(stderr).toBe('');
  expect(stdout.split('\n')).toHaveLength(2);
  const { checks, ok } = JSON.parse(stdout) as Omit<Found, 'code'>;
  expect(code).toBe(ok ? 0 : 1);
  for (const { level, advice } of checks) expect(advice === null).toBe(level === 'ok');
  return { code, checks, ok };
};

const at = ({ checks }: Found, level: Level): readonly string[] => [
  ...new Set(checks.filter((check) => check.level === level).map(({ name }) => name)),
];
const words = ({ checks }: Found, name: string): string =>
  checks
    .filter((check) => check.name === name)
    .map(({ message, advice }) => `${message} → ${advice ?? ''}`)
    .join('\n');

test('all is well with a daemon, and without one; nothing is started or left', async () => {
  await using box = new CrashBox();
  const before = await doctor(box);
  expect([at(before, 'fail'), before.code]).toEqual([[], 0]);
  expect(words(before, 'daemon')).toContain('not running');
  expect(existsSync(box.home)).toBe(false);
  await box.startDaemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const names = readdirSync(box.home).sort();
  const up = await doctor(box);
  // A test's home is below /tmp.
  expect([at(up, 'fail'), at(up, 'warn'), up.code]).toEqual([[], ['file-system'], 0]);
  expect(words(up, 'shim')).toMatch(/answers \(pid \d+, version .*, protocol 1\)/);
  expect(readdirSync(box.home).sort()).toEqual(names);
  const { stdout } = await box.workerctl(['doctor'], { env: { COLUMNS: '80' } });
  expect(stdout).toMatch(/^ok {4}daemon {7}answers in \d+ ms \(pid \d+/);
  expect((await box.workerctl(['doctor', '-q'])).stdout).toBe('');
});

describe('who can reach the home', () => {
  test('mode 0777, and a home that nobody can write in', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    chmodSync(box.home, 0o777);
    const open = await doctor(box);
    expect([at(open, 'fail'), words(open, 'home')]).toEqual([
      ['home'],
      expect.stringMatching(/mode 0777 and is open to others → Close it: chmod 700 /),
    ]);
    chmodSync(box.home, 0o500);
    expect(words(await doctor(box), 'home')).toMatch(/0500: its owner cannot write/);
    chmodSync(box.home, 0o700);
    expect((await doctor(box)).ok).toBe(true);
  });

  test.skipIf(!isRoot)('another owner of the home, and of a file in it', async () => {
    await using box = new CrashBox();
    mkdirSync(box.home, { mode: 0o700 });
    chownSync(box.home, 12_345, 12_345);
    const foreign = await doctor(box);
    expect(at(foreign, 'fail')).toEqual(['home']);
    expect(words(foreign, 'home')).toMatch(/belongs to uid 12345, not to you/);
    chownSync(box.home, 0, 0);
    writeFileSync(join(box.home, 'shim.token'), 'x', { mode: 0o600 });
    chownSync(join(box.home, 'shim.token'), 12_345, 12_345);
    expect(words(await doctor(box), 'files')).toMatch(/shim\.token belongs to uid 12345.*chown 0 /);
    chownSync(join(box.home, 'shim.token'), 0, 0);
  });

  test('a directory above that others can write in, and a home that is a link', async () => {
    await using box = new CrashBox();
    const above = join(box.directory, 'above');
    mkdirSync(join(above, 'home'), { recursive: true, mode: 0o700 });
    chmodSync(above, 0o777);
    const open = await doctor(box, ['--home', join(above, 'home')]);
    expect(at(open, 'fail')).toEqual(['parents']);
    expect(words(open, 'parents')).toContain(`chmod go-w ${above}`);
    chmodSync(above, 0o1777);
    expect((await doctor(box, ['--home', join(above, 'home')])).ok).toBe(true);
    symlinkSync(join(above, 'home'), join(box.directory, 'link'));
    expect(words(await doctor(box, ['--home', join(box.directory, 'link')]), 'home')).toContain('symbolic link');
  });

  test('files open to others, under a second name, or that are links', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    const registry = join(box.home, 'registry.db');
    chmodSync(registry, 0o644);
    chmodSync(join(box.home, 'logs'), 0o755);
    expect(words(await doctor(box), 'files')).toMatch(
      /logs has mode 0755[\s\S]*registry\.db has mode 0644.*chmod go-rwx/,
    );
    chmodSync(registry, 0o600);
    chmodSync(join(box.home, 'logs'), 0o700);
    linkSync(registry, join(box.directory, 'other-name'));
    expect(words(await doctor(box), 'files')).toMatch(/registry\.db has another name too \(2 hard links\)/);
    rmSync(join(box.directory, 'other-name'));
    symlinkSync('/etc/passwd', join(box.home, 'planted'));
    expect(words(await doctor(box), 'files')).toMatch(/planted is a symbolic link/);
    rmSync(join(box.home, 'planted'));
    chmodSync(box.socket, 0o666);
    expect(words(await doctor(box), 'socket')).toMatch(/0666: others could run code as you/);
    chmodSync(box.socket, 0o600);
    const client = await box.client();
    await client.call('start', { name: 'w', spec: shell('echo printed; exec sleep 1000') });
    const log = join(box.home, 'logs', 'w', '1.log');
    const [run = ''] = globSync(join(box.home, 'run', 'w.1.*'));
    chmodSync(log, 0o644);
    chmodSync(run, 0o755);
    expect(words(await doctor(box), 'files')).toMatch(
      /w\.1\.\w+ has mode 0755[\s\S]*1\.log has mode 0644.*chmod go-rwx/,
    );
  });

  test.skipIf(!isRoot || !has('setpriv'))('somebody else is told that it is not his', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    chmodSync(box.directory, 0o755);
    const line = ['--reuid=12345', '--regid=12345', '--clear-groups', process.execPath, join(dist, 'workerctl.cjs')];
    const { status, stdout } = spawnSync('setpriv', [...line, 'doctor', '--json', '--home', box.home], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    });
    const found = { code: status, ...(JSON.parse(stdout) as Omit<Found, 'code'>) };
    expect([found.code, at(found, 'fail')]).toEqual([1, expect.arrayContaining(['daemon', 'home'])]);
    expect(words(found, 'daemon')).toContain('you may not use its socket');
  });
});

describe('a daemon that is not well', () => {
  test('killed: a stale socket, workers that go on, and none is started', async () => {
    await using box = new CrashBox();
    const daemon = await box.daemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: command('sleep', '1000') });
    client.close();
    await daemon.kill();
    const found = await doctor(box);
    expect(at(found, 'fail')).toEqual(['daemon', 'socket']);
    expect(words(found, 'daemon')).toMatch(/did not end in good order; its workers go on.*daemon start --detach/);
    expect(words(found, 'socket')).toContain('left from a daemon that is gone');
    expect(box.processes().filter(({ command: line }) => line.includes('workerd.cjs'))).toEqual([]);
  });

  test('stopped by a signal: said at once', async () => {
    await using box = new CrashBox();
    const daemon = await box.daemon();
    daemon.child.kill('SIGSTOP');
    const found = await doctor(box);
    expect([at(found, 'fail'), words(found, 'daemon')]).toEqual([
      ['daemon'],
      expect.stringContaining(`kill -CONT ${daemon.pid}`),
    ]);
    daemon.child.kill('SIGCONT');
    expect((await doctor(box)).ok).toBe(true);
  });

  test('somebody who listens and does not answer is given five seconds', async () => {
    await using box = new CrashBox();
    mkdirSync(box.home, { mode: 0o700 });
    const server = createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => server.listen(box.socket, resolve));
    chmodSync(box.socket, 0o600);
    const found = await doctor(box);
    expect([at(found, 'fail'), words(found, 'daemon')]).toEqual([
      ['daemon'],
      expect.stringContaining('does not answer (no answer in 5 s)'),
    ]);
    await new Promise((resolve) => server.close(resolve));
  });

  test('of another version, or another protocol', async () => {
    await using box = new CrashBox();
    mkdirSync(box.home, { mode: 0o700 });
    let protocol = 1;
    const server = createServer((socket) => {
      socket.setEncoding('utf8').on('data', (text: string) => {
        for (const line of text.split('\n').filter((each) => each !== '')) {
          const { id, method } = JSON.parse(line) as { id: number; method: string };
          const info = { version: '0.0.1', protocol, pid: 1, home: box.home, socket: box.socket };
          const result = method === 'status' ? { workers: [], next: null } : info;
          socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
        }
      });
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(box.socket, resolve));
    chmodSync(box.socket, 0o600);
    expect(words(await doctor(box), 'version')).toMatch(/the daemon is 0\.0\.1.*daemon restart/);
    protocol = 2;
    expect(words(await doctor(box), 'daemon')).toContain('speaks another protocol');
    await new Promise((resolve) => server.close(resolve));
  });

  test('K03: its shim stopped by a signal; status says so as well', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    const shim = box.shimPid;
    process.kill(shim, 'SIGSTOP');
    try {
      const found = await doctor(box);
      expect([at(found, 'fail'), words(found, 'shim')]).toEqual([
        ['shim'],
        expect.stringContaining(`kill -CONT ${shim}`),
      ]);
      const { stderr, code } = await box.workerctl(['status']);
      expect([code, stderr]).toEqual([
        0,
        expect.stringMatching(new RegExp(`shim \\(pid ${shim}\\) is stopped by a signal`)),
      ]);
      expect((await box.workerd(['status'])).stderr).toContain('is stopped by a signal');
    } finally {
      process.kill(shim, 'SIGCONT');
    }
    expect((await doctor(box)).ok).toBe(true);
    expect((await box.workerctl(['status'])).stderr).not.toContain('shim');
  });

  test('without a shim, which a service manager was to start', async () => {
    await using box = new CrashBox().with('--external-shim');
    const daemon = await box.daemon();
    const found = await doctor(box);
    expect(at(found, 'fail')).toEqual(['shim']);
    expect(words(found, 'shim')).toMatch(/there is no shim.*systemctl start workerd-shim/);
    expect(await daemon.kill('SIGTERM')).toBe(0);
    rmSync(join(box.home, 'service'));
  });

  test('beside a shim that does not take its greeting: what helps is said, and helps', async () => {
    await using box = new CrashBox();
    const first = await box.daemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: command('sleep', '1000') });
    const { pid } = await box.status('w');
    client.close();
    const shim = box.shimPid;
    await first.kill();
    rmSync(join(box.home, 'shim.token'));
    await box.daemon();
    const found = await doctor(box);
    expect([at(found, 'fail'), words(found, 'shim')]).toEqual([
      ['shim'],
      expect.stringMatching(
        `the token differs.* → End it, which no worker notices, and another is started: kill -9 ${shim}`,
      ),
    ]);
    process.kill(shim, 'SIGKILL');
    await eventually(async () => (await doctor(box)).ok, { what: 'another shim' });
    expect(await box.status('w')).toMatchObject({ phase: 'running', pid, generation: 1 });
  });

  test.skipIf(!has('prlimit'))('S03: with its descriptors nearly used up', async () => {
    await using box = new CrashBox();
    const pid = await box.startDaemon();
    const opened = readdirSync(`/proc/${pid}/fd`).length;
    execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${opened + 4}:`]);
    const found = await doctor(box);
    expect(words(found, 'descriptors')).toMatch(
      new RegExp(`the daemon \\(pid ${pid}\\) has \\d+ of ${opened + 4} open`),
    );
    execFileSync('prlimit', [`--pid=${pid}`, '--nofile=64:']);
    expect(words(await doctor(box), 'descriptors')).toMatch(/may open 64 files \(hard limit \d+\)/);
    execFileSync('prlimit', [`--pid=${pid}`, '--nofile=1000:']);
    expect((await doctor(box)).ok).toBe(true);
  });
});

describe.skipIf(!canMount)('S01, S02, S11: a disk', () => {
  const mounted = async (work: (box: CrashBox, place: string) => Promise<void>): Promise<void> => {
    await using box = new CrashBox();
    const place = dirname(box.home);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=700', 'none', place]);
    try {
      await work(box, place);
      await box.workerd(['stop']);
    } finally {
      // Whoever still runs in it would keep it.
      execFileSync('umount', ['-l', place]);
    }
  };

  test('that is full: the disk, the registry and the logs are named; all is well once there is room', () =>
    mounted(async (box, place) => {
      await box.startDaemon();
      const client = await box.client();
      await client.call('start', { name: 'w', spec: shell('while :; do echo line; sleep 0.02; done') });
      spawnSync('dd', ['if=/dev/zero', `of=${join(place, 'filler')}`, 'bs=64k']);
      spawnSync('dd', ['if=/dev/zero', `of=${join(place, 'crumbs')}`, 'bs=1']);
      await expect(client.call('start', { name: 'x', spec: command('sleep', '1') })).rejects.toThrow();
      const full = await eventually(async () => {
        const found = await doctor(box);
        return words(found, 'logs') === '' ? null : found;
      });
      expect(at(full, 'fail')).toEqual(['registry', 'logs', 'disk']);
      expect(words(full, 'disk')).toMatch(/no room: /);
      expect(words(full, 'registry')).toMatch(/registry\.db cannot be written \(.*\).* → Make room on its disk/);
      expect(words(full, 'logs')).toMatch(/worker w: cannot write .*w\/1\.log/);
      expect((await box.workerctl(['status'])).stderr).toMatch(
        /registry\.db cannot be written[\s\S]*worker w: cannot write/,
      );
      rmSync(join(place, 'filler'));
      rmSync(join(place, 'crumbs'));
      await eventually(async () => (await doctor(box)).ok, { what: 'all is well again' });
      expect((await box.workerctl(['status'])).stderr).toBe('');
      client.close();
    }));

  test('without inodes', () =>
    mounted(async (box, place) => {
      execFileSync('mount', ['-o', 'remount,nr_inodes=10', place]);
      expect(words(await doctor(box), 'disk')).toMatch(/no inodes: \d of 10 left/);
    }));

  test('that is mounted read-only', () =>
    mounted(async (box, place) => {
      mkdirSync(box.home, { mode: 0o700 });
      execFileSync('mount', ['-o', 'remount,ro', place]);
      const found = await doctor(box);
      expect([at(found, 'fail'), words(found, 'file-system')]).toEqual([
        ['file-system'],
        expect.stringContaining('mounted read-only'),
      ]);
      execFileSync('mount', ['-o', 'remount,rw', place]);
    }));
});

/** One with a file system that can be told to have failed; what unmounts it again. `null`: none can be had here. */
const failingDisk = (place: string): (() => void) | null => {
  if (!canMount || !has('mkfs.ext4')) return null;
  const image = `${place}.image`;
  mkdirSync(place, { recursive: true });
  writeFileSync(image, '');
  truncateSync(image, 16 * 1024 * 1024);
  const ran = (program: string, ...args: string[]) => spawnSync(program, args).status === 0;
  if (!ran('mkfs.ext4', '-q', '-F', image) || !ran('mount', '-o', 'loop,errors=remount-ro', image, place)) return null;
  return () => void execFileSync('umount', ['-l', place]);
};

test('S11: a disk that failed and is read-only since: named, a start is refused in true words, a stop carried out', async ({
  skip,
}) => {
  await using box = new CrashBox('disk/home');
  const place = join(box.directory, 'disk');
  const giveBack = failingDisk(place);
  if (giveBack === null) return skip('no file system can be made and mounted here');
  try {
    await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: command('sleep', '1000') });
    await client.call('start', { name: 'other', spec: command('sleep', '1000') });
    execFileSync('mount', ['-o', 'remount,abort', place]);
    const refused = await client.call('start', { name: 'x', spec: command('true') }).catch(String);
    expect(refused).toMatch(
      /nothing was changed\. (?:See what its disk says|Make .* writable again).*, then try again/,
    );
    expect((await client.call('stop', { name: 'other' })).worker.phase).toBe('stopped');
    const found = await doctor(box);
    expect(at(found, 'fail')).toEqual(expect.arrayContaining(['registry', 'file-system']));
    expect(words(found, 'file-system')).toContain('read-only');
    expect((await box.status('w')).phase).toBe('running');
    client.close();
    expect((await box.workerd(['stop'])).code).toBe(0);
    expect(box.processes()).toEqual([]);
  } finally {
    for (const { pid } of box.processes()) process.kill(pid, 'SIGKILL');
    giveBack();
  }
});

describe('what lies in the home', () => {
  test('D13: a registry that is damaged, and one that was moved aside', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    expect((await box.workerd(['stop'])).code).toBe(0);
    const registry = join(box.home, 'registry.db');
    expect((await doctor(box)).ok).toBe(true);
    truncateSync(registry, 5000);
    expect(words(await doctor(box), 'registry')).toMatch(/is damaged: it is cut short → .*cp -a/);
    writeFileSync(registry, 'no database at all');
    const damaged = await doctor(box);
    expect([at(damaged, 'fail'), words(damaged, 'registry')]).toEqual([
      ['registry'],
      expect.stringContaining('it is empty, or no database'),
    ]);
    await box.startDaemon();
    const aside = await doctor(box);
    expect([at(aside, 'fail'), at(aside, 'warn')]).toEqual([[], ['registry', 'file-system']]);
    expect(words(aside, 'registry')).toMatch(/moved aside: registry\.db\.damaged-/);
  });

  test('nothing: the home was removed under the daemon', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    const [home, away] = [join(box.home, 'registry.db'), join(box.directory, 'away.db')];
    renameSync(home, away);
    const found = await doctor(box);
    expect([at(found, 'fail'), words(found, 'registry')]).toEqual([
      ['registry'],
      expect.stringMatching(/registry\.db is not there any more.* → Put it back where it was/),
    ]);
    expect((await box.workerctl(['status'])).stderr).toContain('registry.db is not there any more');
    renameSync(away, home);
    expect((await doctor(box)).ok).toBe(true);
  });

  test('pipes of a run that nobody has, and a mark of a service that is not there', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: command('sleep', '1000') });
    mkdirSync(join(box.home, 'run', 'ghost.1.00000000'), { mode: 0o700 });
    const found = await doctor(box);
    expect(at(found, 'warn')).toEqual(['stale', 'file-system']);
    expect(words(found, 'stale')).toMatch(/pipes of 1 run that nobody has: ghost\.1\.00000000 → .*rm -r /);
    client.close();
    expect((await box.workerd(['stop'])).code).toBe(0);
    rmSync(join(box.home, 'run', 'ghost.1.00000000'), { recursive: true });
    writeFileSync(join(box.home, 'service'), '', { mode: 0o600 });
    const marked = await doctor(box);
    expect(words(marked, 'stale')).toContain('service says that a service manager runs the daemon');
    rmSync(join(box.home, 'service'));
  });

  test('S12: a socket path that is too long', async () => {
    await using box = new CrashBox();
    const found = await doctor(box, ['--home', join(box.directory, 'x'.repeat(100))]);
    expect([at(found, 'fail'), words(found, 'socket')]).toEqual([['socket'], expect.stringContaining('at most 103')]);
  });
});

describe('what misleads', () => {
  test("npm's other workerd on PATH, another installation, and a program of nobody knows whom", async () => {
    await using box = new CrashBox();
    const plant = (directory: string, program: string, manifest: object | null): string => {
      const place = join(box.directory, directory);
      mkdirSync(place, { recursive: true });
      writeFileSync(join(place, program), '#!/bin/sh\n', { mode: 0o755 });
      if (manifest !== null) writeFileSync(join(place, 'package.json'), JSON.stringify(manifest));
      return place;
    };
    const runtime = plant('runtime', 'workerd', { name: 'workerd', version: '1.2026' });
    const other = plant('other', 'workerctl', { name: 'workerctl', version: '0.0.9' });
    const stranger = plant('stranger', 'workerd', null);
    const path = (...places: readonly string[]) => ({ PATH: [...places, process.env['PATH']].join(':') });
    const first = await doctor(box, [], path(runtime));
    expect([at(first, 'fail'), words(first, 'programs')]).toEqual([
      [],
      expect.stringMatching(/Cloudflare's JavaScript runtime 1\.2026 → Write workerctl daemon …/),
    ]);
    expect(words(await doctor(box, [], path(other)), 'programs')).toMatch(/another installation.*0\.0\.9/);
    expect(words(await doctor(box, [], path(stranger)), 'programs')).toContain('is not of this installation');
  });

  test('variables that lead elsewhere', async () => {
    await using box = new CrashBox();
    const said = async (env: Record<string, string>, args: readonly string[] = []) =>
      words(await doctor(box, args, env), 'environment');
    expect(await said({ WORKERD_SOCKET: '/elsewhere/w.sock' })).toContain('away from the home');
    expect(await said({}, ['--home', join(box.directory, 'other')])).toContain('WORKERD_HOME is');
    expect(await said({ WORKERD_HOME: 'relative' })).toContain('relative path relative');
    expect(await said({ WORKERD_FAILPOINTS: 'store.commit=1*off' })).toContain('fails on purpose');
  });

  test('a socket that belongs to the daemon of another home', async () => {
    await using box = new CrashBox();
    await box.startDaemon();
    const found = await doctor(box, ['--home', join(box.directory, 'other'), '--socket', box.socket]);
    expect(words(found, 'environment')).toContain(`the daemon of ${box.home}`);
  });

  test('S06: a clock that is wrong for the daemon or for us', async ({ skip }) => {
    if (libfaketime === undefined) skip('libfaketime is missing');
    await using box = new CrashBox();
    await box.startDaemon();
    const faked = { LD_PRELOAD: libfaketime ?? '', FAKETIME: '-10y', DONT_FAKE_MONOTONIC: '1' };
    const found = await doctor(box, [], faked);
    expect(at(found, 'fail')).toEqual(['clock']);
    expect(words(found, 'clock')).toMatch(/the kernel has .*[\s\S]*the clock was set back/);
    expect((await doctor(box)).ok).toBe(true);
  });

  test('a unit that is enabled and not running', async () => {
    await using box = new CrashBox();
    const bin = join(box.directory, 'bin');
    mkdirSync(bin);
    mkdirSync(box.home, { mode: 0o700 });
    writeFileSync(join(box.home, 'service'), '', { mode: 0o600 });
    const unit = (id: string, active: string) =>
      `Id=${id}\\nLoadState=loaded\\nActiveState=${active}\\nUnitFileState=enabled\\n`;
    const said = `${unit('workerd-shim.service', 'active')}\\n${unit('workerd.service', 'failed')}`;
    writeFileSync(join(bin, 'systemctl'), `#!/bin/sh\nprintf '${said}'\n`, { mode: 0o755 });
    const found = await doctor(box, [], { PATH: `${bin}:${process.env['PATH']}` });
    expect(at(found, 'fail')).toEqual(['daemon', 'service']);
    expect(words(found, 'service')).toMatch(/workerd\.service is enabled and not running \(failed\) → .*systemctl/);
    renameSync(join(bin, 'systemctl'), join(bin, 'none'));
    writeFileSync(join(bin, 'systemctl'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    expect(words(await doctor(box, [], { PATH: `${bin}:${process.env['PATH']}` }), 'service')).toBe('');
    rmSync(join(box.home, 'service'));
  });
});
