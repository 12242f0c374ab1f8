/** One daemon, one shim, one run: racing first commands, stale and vanished sockets, places that are refused. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { rounds } from '../helpers/rounds.ts';
import { dist, Sandbox } from '../helpers/sandbox.ts';

const daemonsOf = (box: Sandbox) => box.processes().filter(({ command }) => /workerd\.cjs start/.test(command));
const shimsOf = (box: Sandbox) => box.processes().filter(({ command }) => /shim\.cjs --home/.test(command));
const sleepersOf = (box: Sandbox) => box.processes().filter(({ command }) => command === 'sleep 1000');
const start = (box: Sandbox, ...flags: string[]) =>
  box.workerctl(['start', ...flags, '-n', 'w', '--', 'sleep', '1000']);

describe('R01: the first commands race', () => {
  const all50 = Array.from({ length: rounds(3, 50) }, (_, index) => index + 1);
  it.each(
    all50,
  )('20 at once with no daemon leave one daemon, one shim, one run, and 20 exit codes 0 (round %i)', async () => {
    await using box = new Sandbox();
    const began = performance.now();
    const all = await Promise.all(Array.from({ length: 20 }, () => start(box)));
    const tookMs = Math.round(performance.now() - began);
    console.log(`20 first commands within ${tookMs} ms`);
    expect(tookMs).toBeLessThan(5 * 3000);
    expect(all.map(({ code, stderr }) => (code === 0 ? 0 : stderr))).toEqual(all.map(() => 0));
    expect(all.map(({ stdout }) => stdout.trim())).toEqual(all.map(() => 'w'));
    // Those who raced and lost are on their way out.
    await eventually(() => daemonsOf(box).length === 1, { what: 'one daemon' });
    expect(shimsOf(box)).toHaveLength(1);
    expect(sleepersOf(box)).toHaveLength(1);
    expect(await box.status('w')).toMatchObject({ phase: 'running', generation: 1 });
    expect(all.filter(({ stderr }) => /started the daemon/.test(stderr)).length).toBeLessThanOrEqual(1);
  }, 120_000);

  it('two workerd start --detach at once: both 0, one daemon, the same pid', async () => {
    await using box = new Sandbox();
    const both = await Promise.all([1, 2].map(() => box.workerd(['start', '--detach', '--json'])));
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    const said = both.map(({ stdout }) => JSON.parse(stdout) as { pid: number; outcome: string });
    expect(said[0]?.pid).toBe(said[1]?.pid);
    expect(said.map(({ outcome }) => outcome)).toContain('started');
    await eventually(() => daemonsOf(box).length === 1, { what: 'one daemon' });
  });
});

describe('a second one', () => {
  it('in the foreground: exit 1, in words; the first is unhurt', async () => {
    await using box = new Sandbox();
    const pid = await box.startDaemon();
    const { code, stderr } = await box.workerd(['start']);
    expect([code, stderr]).toEqual([1, `workerd: already running (pid ${pid}). See: workerd status\n`]);
    const inJson = await box.workerd(['start', '--json']);
    expect([inJson.code, JSON.parse(inJson.stdout)]).toEqual([1, { pid, outcome: 'already-running' }]);
    const client = await box.client();
    expect(await client.call('daemon.info', {})).toMatchObject({ pid });
  });

  it('where the first one listens elsewhere: said, and not "start it" to who starts it', async () => {
    await using box = new Sandbox();
    const socket = join(box.directory, 'elsewhere.sock');
    await box.workerd(['start', '--detach', '--socket', socket]);
    const { code, stderr } = await box.workerd(['start', '--detach']);
    expect([code, stderr]).toEqual([125, expect.stringContaining('a daemon holds')]);
    expect(stderr).toMatch(/was given another --socket, or is stuck\. See: workerctl doctor/);
    expect((await box.workerd(['stop', '--socket', socket])).code).toBe(0);
  });

  it('with --detach: exit 0, "already running (pid N)"', async () => {
    await using box = new Sandbox();
    const pid = await box.startDaemon();
    const { code, stdout } = await box.workerd(['start', '--detach']);
    expect([code, stdout.trim()]).toEqual([0, `already running (pid ${pid})`]);
  });
});

/** Of one that nobody's shell defined. */
const openFilesOfAWorker = async (box: Sandbox): Promise<string> => {
  const client = await box.client();
  await client.call('start', { name: 'w', spec: { kind: 'command', command: ['sh', '-c', 'ulimit -n'] } });
  await client.call('wait', { name: 'w', for: 'exit' });
  return (await box.workerctl(['logs', 'w'])).stdout;
};

describe('what workerd is told', () => {
  it('start --detach hands its flags on, and a replaced daemon keeps them', async () => {
    await using box = new Sandbox();
    await box.workerd(['start', '--detach', '--open-files', '345', '--log-level', 'debug']);
    expect(await openFilesOfAWorker(box)).toBe('345\n');
    expect(box.said()).toContain('"level":"debug"');
    expect((await box.workerd(['restart'])).stdout).toMatch(/^restarted \(pid \d+\)\n$/);
    expect(await openFilesOfAWorker(box)).toBe('345\n');
  });

  it('start --detach --external-shim brings no shim along', async () => {
    await using box = new Sandbox();
    expect((await box.workerd(['start', '--detach', '--external-shim'])).code).toBe(0);
    expect(shimsOf(box)).toEqual([]);
  });

  it.each([
    [['start', '--detach', '--log-level', 'loud'], 'one of debug, info, warn, error is wanted'],
    [['start', '--detach', '--open-files', 'many'], 'a whole number is wanted'],
    [['start', '--detach', '--open-files', '0'], 'with none a worker cannot even be loaded'],
    [['status', '--color', 'loud'], 'Allowed choices are auto, always, never'],
    [['status', 'x'], "too many arguments for 'status'. Expected 0 arguments but got 1: x"],
  ])('%j: exit 2, in words', async (args, words) => {
    await using box = new Sandbox();
    const { code, stderr } = await box.workerd(args);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^workerd: .*[^.]\. See: workerd --help\n$/)]);
    expect(stderr).toContain(`${words}. See`);
    expect(daemonsOf(box)).toEqual([]);
  });

  it('a log level of the environment that is none is said, and starts it all the same', async () => {
    await using box = new Sandbox();
    expect((await box.workerd(['start', '--detach'], { env: { WORKERD_LOG: 'loud' } })).code).toBe(0);
    expect(box.said()).toContain('no such log level: info is used');
  });

  it('as workerctl daemon it is told the same, and nothing of what only workerctl knows', async () => {
    await using box = new Sandbox();
    expect((await box.workerctl(['daemon', 'start', '--detach', '--open-files', '345'])).code).toBe(0);
    const { code, stdout } = await box.workerctl(['--no-autostart', '--json', 'daemon', 'status']);
    expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ running: true, home: box.home })]);
    expect(await openFilesOfAWorker(box)).toBe('345\n');
  });

  it('restart where there is none starts one, and says so', async () => {
    await using box = new Sandbox();
    const { code, stdout } = await box.workerd(['restart']);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^started \(pid \d+\)\n$/)]);
  });
});

describe('the socket', () => {
  it('stale, after kill -9 of the daemon: any verb starts it again, and the worker is the same process (D01)', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    await start(box);
    const { pid } = await box.status('w');
    for (const verb of [
      ['status', 'w'],
      ['logs', 'w'],
      ['history', 'w'],
    ]) {
      for (const daemon of daemonsOf(box)) process.kill(daemon.pid, 'SIGKILL');
      await eventually(() => daemonsOf(box).length === 0);
      expect(existsSync(box.socket)).toBe(true);
      const { code, stderr } = await box.workerctl(verb);
      const started = stderr.split('\n').filter((line) => /started the daemon/.test(line));
      expect([code, started.length], `${verb.join(' ')}: ${stderr}`).toEqual([0, 1]);
      expect(await box.status('w')).toMatchObject({ phase: 'running', pid, generation: 1, restarts: 0 });
    }
    expect(shimsOf(box)).toHaveLength(1);
  });

  it('stale, with --no-autostart: 125 and the reason "no socket"', async () => {
    await using box = new Sandbox();
    const daemon = await box.startDaemon();
    process.kill(daemon, 'SIGKILL');
    await eventually(() => daemonsOf(box).length === 0);
    const { code, stdout } = await box.workerctl(['status', '--no-autostart', '--json']);
    expect(code).toBe(125);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'daemon.unreachable', data: { reason: 'no socket' } } });
    // So that there is somebody to end the shim.
    await box.startDaemon();
  });

  it('D12: vanished under a living daemon, it is put back within 2 s (asserted: 10), mode 0600; no second daemon', async () => {
    await using box = new Sandbox();
    const pid = await box.startDaemon();
    for (let round = 0; round < 3; round += 1) {
      rmSync(box.socket);
      await eventually(() => lstatSync(box.socket).isSocket(), { what: 'the socket is back' });
      const client = await box.client();
      expect(await client.call('daemon.info', {})).toMatchObject({ pid });
      expect(lstatSync(box.socket).mode & 0o777).toBe(0o600);
    }
    rmSync(box.socket);
    expect((await box.workerd(['start'])).code).toBe(1);
    await eventually(() => lstatSync(box.socket).isSocket());
  });

  it('S12: a path over 103 bytes is refused in words, and nothing listens elsewhere', async () => {
    await using box = new Sandbox();
    const home = join(box.directory, 'x'.repeat(100));
    for (const args of [['start'], ['start', '--detach']]) {
      const { code, stderr } = await box.workerd([...args, '--home', home]);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/socket path .* too long: \d+ bytes, at most 103/);
    }
    expect(readdirSync(box.directory).filter((name) => name.startsWith('x'))).toEqual([]);
  });

  it('directories are 0700, files 0600, whatever the umask (A01)', async () => {
    await using box = new Sandbox();
    const before = process.umask(0);
    try {
      await box.startDaemon();
      await start(box);
    } finally {
      process.umask(before);
    }
    const wide = readdirSync(box.home, { recursive: true, encoding: 'utf8' })
      .map((name) => join(box.home, name))
      .filter((path) => (lstatSync(path).mode & 0o077) !== 0);
    expect(wide).toEqual([]);
    expect(lstatSync(box.home).mode & 0o777).toBe(0o700);
    const sockets = ['workerd.sock', 'shim.sock'].map((name) => lstatSync(join(box.home, name)).mode & 0o777);
    expect(sockets).toEqual([0o600, 0o600]);
  });
});

it('closes a home that is ours and empty, as `mkdir` makes it; one in which something lies is refused', async () => {
  await using box = new Sandbox();
  const logs = join(box.home, 'logs');
  mkdirSync(box.home);
  chmodSync(box.home, 0o755);
  const doctor = await box.workerctl(['doctor']);
  expect(doctor.stdout).toMatch(/^ok +home +.* is empty; the first start closes it to others/m);
  await box.startDaemon();
  expect(lstatSync(box.home).mode & 0o777).toBe(0o700);
  // And so what is in it, where that is empty.
  expect((await box.workerd(['stop'])).code).toBe(0);
  chmodSync(logs, 0o755);
  await box.startDaemon();
  expect(lstatSync(logs).mode & 0o777).toBe(0o700);

  const used = join(box.directory, 'used');
  mkdirSync(join(used, 'something'), { recursive: true });
  chmodSync(used, 0o755);
  const { code, stderr } = await box.workerd(['start', '--home', used]);
  expect([code, stderr]).toEqual([77, expect.stringContaining(`chmod 700 ${used}`)]);
  expect([lstatSync(used).mode & 0o777, readdirSync(used)]).toEqual([0o755, ['something']]);
});

describe('A03: a home that is not ours alone is refused, named and left as it is', () => {
  const refused = async (box: Sandbox, home: string) => {
    const before = lstatSync(home);
    const { code, stderr } = await box.workerd(['start', '--home', home]);
    expect([code, stderr]).toEqual([77, expect.stringContaining(home)]);
    const after = lstatSync(home);
    expect([after.mode, after.uid]).toEqual([before.mode, before.uid]);
    if (after.isDirectory()) expect(readdirSync(home)).toEqual([]);
  };

  it('mode 0777', async () => {
    await using box = new Sandbox();
    const home = join(box.directory, 'open');
    mkdirSync(home);
    chmodSync(home, 0o777);
    await refused(box, home);
  });

  it('a symbolic link', async () => {
    await using box = new Sandbox();
    mkdirSync(join(box.directory, 'real'), { mode: 0o700 });
    symlinkSync(join(box.directory, 'real'), join(box.directory, 'link'));
    await refused(box, join(box.directory, 'link'));
    expect(readdirSync(join(box.directory, 'real'))).toEqual([]);
  });

  it('inside a directory that others can write', async () => {
    await using box = new Sandbox();
    const open = join(box.directory, 'open');
    mkdirSync(join(open, 'home'), { recursive: true, mode: 0o700 });
    chmodSync(open, 0o777);
    const { code, stderr } = await box.workerd(['start', '--home', join(open, 'home')]);
    expect([code, stderr]).toEqual([77, expect.stringContaining(open)]);
  });

  it.skipIf(process.getuid?.() !== 0)('another’s (only root can make one to try)', async () => {
    await using box = new Sandbox();
    const home = join(box.directory, 'foreign');
    mkdirSync(home, { mode: 0o700 });
    chownSync(home, 65_534, 65_534);
    await refused(box, home);
  });
});

describe('a life of the daemon', () => {
  it('auto-start holds none of the caller’s descriptors: $(…) returns, an inherited fd 251 is nobody’s', async () => {
    await using box = new Sandbox();
    const secret = join(box.directory, 'secret');
    const cli = `'${process.execPath}' '${join(dist, 'workerctl.cjs')}'`;
    const script = `exec 251>'${secret}'; out=$(${cli} start -n w -- sleep 1000 2>&1); echo "said: $out"`;
    const { status, stdout } = spawnSync('bash', ['-c', script], { env: box.env(), encoding: 'utf8', timeout: 20_000 });
    expect([status, stdout]).toEqual([0, expect.stringContaining('w')]);
    const all = [...daemonsOf(box), ...shimsOf(box), ...sleepersOf(box)];
    expect(all).toHaveLength(3);
    for (const { pid, command } of all) {
      const open = readdirSync(`/proc/${pid}/fd`).map((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
          return '';
        }
      });
      expect(open.length).toBeGreaterThan(2);
      expect(open, command).not.toContain(secret);
      expect(existsSync(`/proc/${pid}/fd/251`), command).toBe(false);
    }
  });

  it('D08: signals with no meaning leave daemon and shim alive, the worker untouched, no port open', async () => {
    await using box = new Sandbox();
    const pid = await box.startDaemon();
    await start(box);
    const before = await box.status('w');
    const shim = shimsOf(box)[0]?.pid ?? 0;
    const life = async () => {
      const client = await box.client();
      return (await client.call('daemon.info', {})).startedAt;
    };
    const firstLife = await life();
    for (const signal of [
      'SIGUSR1',
      'SIGUSR2',
      'SIGPIPE',
      'SIGALRM',
      'SIGWINCH',
      'SIGTSTP',
      'SIGCONT',
      'SIGHUP',
    ] as const) {
      process.kill(shim, signal);
      process.kill(pid, signal);
      // HUP replaces the daemon by itself: the pid stays, and it answers again, in its next life.
      if (signal === 'SIGHUP') await eventually(async () => (await life()) !== firstLife, { what: 'the next life' });
      await eventually(async () => (await box.status('w')).pid === before.pid, { what: `an answer after ${signal}` });
      expect(daemonsOf(box).map((daemon) => daemon.pid)).toEqual([pid]);
      expect(shimsOf(box).map((each) => each.pid)).toEqual([shim]);
    }
    const inodes = [pid, shim].flatMap((each) =>
      readdirSync(`/proc/${each}/fd`).map((fd) => {
        try {
          return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${each}/fd/${fd}`))?.[1] ?? '';
        } catch {
          return '';
        }
      }),
    );
    const tcp = spawnSync('cat', ['/proc/net/tcp', '/proc/net/tcp6'], { encoding: 'utf8' }).stdout;
    const listening = tcp.split('\n').filter((line) => line.trim().split(/\s+/)[3] === '0A');
    expect(listening.filter((line) => inodes.includes(line.trim().split(/\s+/)[9] ?? '-'))).toEqual([]);
    expect(await box.status('w')).toMatchObject({ pid: before.pid, startedAt: before.startedAt, restarts: 0 });
  });

  it('D05: workerd restart, and stop --keep-workers with any verb after it, keep the worker', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    await start(box);
    // Neither is a cold start: what was stopped stays so.
    await box.workerctl(['start', '-n', 'enabled', '--enable', '--', 'true']);
    await box.workerctl(['stop', 'enabled']);
    const { pid, startedAt } = await box.status('w');
    expect((await box.workerd(['restart'])).code).toBe(0);
    expect(await box.status('w')).toMatchObject({ phase: 'running', pid, startedAt, generation: 1 });
    expect((await box.workerd(['stop', '--keep-workers'])).code).toBe(0);
    await eventually(() => daemonsOf(box).length === 0);
    expect(sleepersOf(box).map((each) => each.pid)).toEqual([pid]);
    const again = await start(box);
    expect(again.code).toBe(0);
    expect(await box.status('w')).toMatchObject({ phase: 'running', pid, startedAt, generation: 1 });
    expect(await box.status('enabled')).toMatchObject({ enabled: true, generation: 1 });
  });

  it('D02: workers that leave with codes while the daemon is dead are recorded exactly afterwards', async () => {
    await using box = new Sandbox();
    const daemon = await box.startDaemon();
    const codes = [0, 1, 7, 42, 254, 255];
    const go = join(box.directory, 'go');
    const script = (code: number) => `while [ ! -e '${go}' ]; do sleep 0.02; done; exit ${code}`;
    for (const code of codes) {
      const { code: done, stderr } = await box.workerctl(['start', '-n', `w${code}`, '--', 'sh', '-c', script(code)]);
      expect([done, stderr]).toEqual([0, expect.any(String)]);
    }
    process.kill(daemon, 'SIGKILL');
    await eventually(() => daemonsOf(box).length === 0);
    mkdirSync(go);
    const left = Date.now();
    await eventually(() => !box.processes().some(({ command }) => command.startsWith('sh -c while')));
    const gone = Date.now();
    await box.startDaemon();
    for (const code of codes) {
      const view = await eventually(async () => {
        const seen = await box.status(`w${code}`);
        return seen.endedAt === null ? null : seen;
      });
      expect(view).toMatchObject({ phase: code === 0 ? 'exited' : 'failed', exit: { kind: 'code', code } });
      expect(Date.parse(view.endedAt ?? '')).toBeGreaterThanOrEqual(left - 1000);
      expect(Date.parse(view.endedAt ?? '')).toBeLessThanOrEqual(gone + 1000);
    }
  });
});
