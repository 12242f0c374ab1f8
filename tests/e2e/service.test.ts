/**
 * workerd as a service: the unit files, what the daemon tells the service manager and when, and the two units' lives
 * apart from each other. The service manager is played by a script with a datagram socket (helpers/service-manager.py).
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { type Running, root, Sandbox } from '../helpers/sandbox.ts';

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const missing = ['systemd-notify', 'systemd-analyze', 'python3'].filter((program) => !has(program));
if (missing.length > 0) console.warn(`tests of the service are skipped where they need ${missing.join(' and ')}`);
const canNotify = has('systemd-notify') && has('python3');

const unitText = (where: 'user' | 'system', unit: string): string =>
  readFileSync(join(root, 'systemd', where, unit), 'utf8');
const setting = (text: string, key: string): string | undefined => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];
/** The words behind `/usr/bin/env workerd`: what is tested is what the units say. */
const commandOf = (where: 'user' | 'system', unit: string): readonly string[] => {
  const [env, program, ...args] = (setting(unitText(where, unit), 'ExecStart') ?? '').split(' ');
  expect([env, program]).toEqual(['/usr/bin/env', 'workerd']);
  return args;
};
const daemonArgs = commandOf('user', 'workerd.service');
const shimArgs = commandOf('user', 'workerd-shim.service');

interface Told {
  readonly fields: Readonly<Record<string, string>>;
  /** The daemon's socket answered a request at the moment the message came. */
  readonly answers: boolean;
}

/** The played service manager, and all that it was told so far. */
class ServiceManager implements Disposable {
  readonly path: string;
  readonly told: Told[] = [];
  /** How often the daemon's socket did not answer before it first did. */
  refusals: number | null = null;
  readonly #child: ChildProcess;
  readonly #bound: Promise<void>;

  constructor(box: Sandbox) {
    this.path = join(box.directory, 'notify');
    const script = join(root, 'tests', 'helpers', 'service-manager.py');
    const child = spawn('python3', [script, this.path, box.socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    this.#bound = new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`service-manager.py ended with ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        const event = JSON.parse(line) as { event: string; refusals: number } & Told;
        if (event.event === 'bound') resolve();
        if (event.event === 'answers') this.refusals = event.refusals;
        if (event.event === 'told') this.told.push(event);
      });
    });
  }

  get env(): Record<string, string> {
    return { NOTIFY_SOCKET: this.path };
  }
  get status(): string | undefined {
    return this.told.findLast(({ fields }) => fields['STATUS'] !== undefined)?.fields['STATUS'];
  }
  having(field: string): readonly Told[] {
    return this.told.filter(({ fields }) => fields[field] !== undefined);
  }
  bound(): Promise<void> {
    return this.#bound;
  }
  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** The two units of one home, started and ended apart; at the end first the daemon, then the shim, as at a shutdown. */
class Units implements AsyncDisposable {
  readonly #box: Sandbox;
  readonly #started: Running[] = [];

  constructor(box: Sandbox) {
    this.#box = box;
  }

  shim(): Running {
    const shim = this.#box.spawn('workerd', shimArgs);
    this.#started.unshift(shim);
    return shim;
  }

  /** The daemon, once it serves. */
  async daemon(env: Record<string, string> = {}): Promise<Running> {
    const daemon = this.#box.spawn('workerd', daemonArgs, { env });
    this.#started.push(daemon);
    await eventually(() => daemon.stderr().includes('"msg":"ready"'), { what: 'the daemon serves', withinMs: 20_000 });
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const unit of this.#started.toReversed()) await end(unit);
  }
}

const end = async (unit: Running): Promise<void> => {
  unit.child.kill('SIGTERM');
  const { code, stderr } = await unit.finished;
  expect(code, stderr).toBe(0);
};

const untilStatus = (manager: ServiceManager, text: string) =>
  eventually(
    () => {
      expect(manager.status).toBe(text);
      return true;
    },
    { what: `STATUS=${text}` },
  );

describe('the unit files', () => {
  test.skipIf(!has('systemd-analyze')).each(['user', 'system'] as const)(
    'systemd-analyze has nothing to say about those of the %s',
    (where) => {
      const home = new Sandbox().directory;
      const env = { PATH: process.env['PATH'], HOME: home, XDG_RUNTIME_DIR: home };
      const verify = (...units: string[]) =>
        spawnSync('systemd-analyze', [`--${where}`, 'verify', '--man=no', ...units], { env, encoding: 'utf8' });
      const units = ['workerd.service', 'workerd-shim.service'].map((unit) => join(root, 'systemd', where, unit));
      const { status, stdout, stderr } = verify(...units);
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });

      // It would have said something.
      const other = join(home, 'units');
      mkdirSync(other);
      copyFileSync(join(root, 'systemd', where, 'workerd-shim.service'), join(other, 'workerd-shim.service'));
      const wrong = unitText(where, 'workerd.service').replace('OOMPolicy=', 'OomPolicy=');
      writeFileSync(join(other, 'workerd.service'), wrong);
      expect(verify(join(other, 'workerd.service')).stderr).toContain('OomPolicy');
    },
  );

  test.each(['user', 'system'] as const)('%s: a restart of the daemon is none of the shim', (where) => {
    const daemon = unitText(where, 'workerd.service');
    const shim = unitText(where, 'workerd-shim.service');
    expect(setting(daemon, 'Type')).toBe('notify');
    expect(setting(daemon, 'NotifyAccess')).toBe('all');
    expect(setting(daemon, 'Wants')).toBe('workerd-shim.service');
    expect(setting(daemon, 'After')).toBe('workerd-shim.service');
    for (const text of [daemon, shim]) {
      // Either would end one unit with the other.
      expect(text).not.toMatch(/^(?:Requires|BindsTo|PartOf|Upholds)=/m);
      expect(setting(text, 'Restart')).toMatch(/^(?:always|on-failure)$/);
    }
    expect(commandOf(where, 'workerd.service')).toEqual(['start', '--external-shim', '--open-files', '1024']);
    expect(commandOf(where, 'workerd-shim.service')).toEqual(['shim']);
  });

  test.each(['user', 'system'] as const)('%s: what ends one worker, or the shim, ends no other worker', (where) => {
    const shim = unitText(where, 'workerd-shim.service');
    // systemd would signal every worker itself (control-group), or kill them when the shim dies (mixed).
    expect(setting(shim, 'KillMode')).toBe('process');
    // By default it stops a unit of which the kernel killed one process for its memory.
    expect(setting(shim, 'OOMPolicy')).toBe('continue');
    // Workers would inherit it.
    expect(setting(shim, 'OOMScoreAdjust')).toBeUndefined();
  });

  test('system: state and socket are in directories of root alone, which outlive a restart of either unit', () => {
    for (const unit of ['workerd.service', 'workerd-shim.service']) {
      const text = unitText('system', unit);
      expect(setting(text, 'StateDirectory')).toBe('workerd');
      expect(setting(text, 'StateDirectoryMode')).toBe('0700');
      expect(setting(text, 'RuntimeDirectory')).toBe('workerd');
      expect(setting(text, 'RuntimeDirectoryMode')).toBe('0700');
      expect(setting(text, 'RuntimeDirectoryPreserve')).toBe('yes');
    }
  });
});

describe.skipIf(!canNotify)('what the service manager is told', () => {
  test('the played service manager finds out who says READY before the socket answers', async () => {
    await using box = new Sandbox();
    using manager = new ServiceManager(box);
    await manager.bound();
    execFileSync('systemd-notify', ['--ready', '--status=too early'], { env: { ...process.env, ...manager.env } });
    const [early] = await eventually(() => manager.having('READY').length > 0 && manager.having('READY'));
    expect(early).toMatchObject({ fields: { READY: '1', STATUS: 'too early' }, answers: false });
    expect(manager.refusals).toBeNull();
  });

  test('READY once the socket answers, STATUS as workers come and go, STOPPING at SIGTERM', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    using manager = new ServiceManager(box);
    await manager.bound();
    // Without a shim it takes its time before it serves: a READY on the way would come to nobody who answers.
    const daemon = await units.daemon(manager.env);
    const [ready] = await eventually(() => manager.having('READY').length > 0 && manager.having('READY'));
    expect(ready).toMatchObject({ fields: { READY: '1', STATUS: '0 workers running' }, answers: true });
    await eventually(() => (manager.refusals ?? 0) > 0, { what: 'the socket was looked at before it answered' });
    expect(manager.told[0]).toBe(ready);

    units.shim();
    await box.workerctl(['start', '-n', 'one', '--', 'sleep', '1000']);
    await untilStatus(manager, '1 worker running');
    await box.workerctl(['start', '-n', 'two', '--', 'sleep', '1000']);
    await untilStatus(manager, '2 workers running');
    await box.workerctl(['stop', 'one', 'two']);
    await untilStatus(manager, '0 workers running');

    expect(manager.having('STOPPING')).toEqual([]);
    await end(daemon);
    await eventually(() => manager.having('STOPPING').length === 1, { what: 'STOPPING=1' });
    expect(manager.having('READY')).toHaveLength(1);
  });

  test('the last STATUS is the true one, also where workers come and go faster than it can be told', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    using manager = new ServiceManager(box);
    await manager.bound();
    const real = execFileSync('sh', ['-c', 'command -v systemd-notify'], { encoding: 'utf8' }).trim();
    const slow = join(box.directory, 'systemd-notify');
    writeFileSync(slow, `#!/bin/sh\nsleep 0.2\nexec ${real} "$@"\n`, { mode: 0o755 });
    units.shim();
    await units.daemon({ ...manager.env, PATH: `${box.directory}:${process.env['PATH']}` });
    const client = await box.client();
    const names = Array.from({ length: 8 }, (_, index) => `worker-${index}`);
    const spec = { kind: 'command' as const, command: ['sleep', '1000'] };
    for (const name of names) await client.call('start', { name, spec });
    await untilStatus(manager, '8 workers running');
    for (const name of names) await client.call('stop', { name });
    await untilStatus(manager, '0 workers running');
  });

  test('STOPPING is told though whoever told a status has not ended yet', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    using manager = new ServiceManager(box);
    await manager.bound();
    const real = execFileSync('sh', ['-c', 'command -v systemd-notify'], { encoding: 'utf8' }).trim();
    writeFileSync(join(box.directory, 'systemd-notify'), `#!/bin/sh\n${real} "$@"\nsleep 2\n`, { mode: 0o755 });
    units.shim();
    const daemon = await units.daemon({ ...manager.env, PATH: `${box.directory}:${process.env['PATH']}` });
    await untilStatus(manager, '0 workers running');
    await end(daemon);
    await eventually(() => manager.having('STOPPING').length === 1, { what: 'STOPPING=1' });
  });

  // STOPPING=1 would make systemd wait for the end of a process that stays, and kill it when it has waited enough.
  test.each([
    'SIGHUP',
    'workerd restart',
  ])('%s: the same process begins anew, READY again, no STOPPING', async (how) => {
    await using box = new Sandbox();
    await using units = new Units(box);
    using manager = new ServiceManager(box);
    await manager.bound();
    units.shim();
    const daemon = await units.daemon(manager.env);
    await box.workerctl(['start', '-n', 'one', '--', 'sleep', '1000']);
    const before = await box.status('one');
    await untilStatus(manager, '1 worker running');
    expect(manager.having('READY')).toHaveLength(1);
    if (how === 'SIGHUP') daemon.child.kill('SIGHUP');
    else expect(await box.workerd(['restart'])).toMatchObject({ code: 0 });
    await eventually(() => manager.having('READY').length === 2, { what: 'READY=1 of the new life' });
    expect(manager.having('READY')[1]).toMatchObject({ answers: true, fields: { STATUS: '1 worker running' } });
    expect(manager.having('STOPPING')).toEqual([]);
    const { pid } = JSON.parse((await box.workerd(['status', '--json'])).stdout) as { pid: number };
    expect(pid).toBe(daemon.child.pid);
    expect(await box.status('one')).toMatchObject({ pid: before.pid, generation: before.generation });
    await box.workerctl(['stop', 'one']);
  });

  test('without systemd-notify the daemon serves all the same, and says once in its log what is missing', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    using manager = new ServiceManager(box);
    await manager.bound();
    const daemon = await units.daemon({ ...manager.env, PATH: '/nonexistent' });
    await eventually(() => daemon.stderr().includes('systemd-notify did not run'));
    expect((await box.workerd(['status'])).code).toBe(0);
  });
});

describe('two units', () => {
  test('the daemon ends alone, the next one finds the same processes, and the shim ends them in good order', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    const shim = units.shim();
    const first = await units.daemon();
    const bye = 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done';
    const counter = [join(root, 'examples', 'counter.ts'), '-p', 'stepMs=50'];
    for (const args of [
      ['-n', 'shell', '--', 'sh', '-c', bye],
      ['-n', 'process', '--process', ...counter],
      ['-n', 'thread', '--thread', ...counter],
    ]) {
      expect(await box.workerctl(['start', ...args])).toMatchObject({ code: 0, stderr: '' });
    }
    const names = ['shell', 'process', 'thread'];
    const look = () => Promise.all(names.map((name) => box.status(name)));
    const identity = async () => (await look()).map(({ pid, generation, phase }) => ({ pid, generation, phase }));
    const before = await identity();
    expect(before.map(({ phase }) => phase)).toEqual(['running', 'running', 'running']);

    await end(first);
    for (const { pid } of before) expect(process.kill(Number(pid), 0)).toBe(true);

    await units.daemon();
    expect(await identity()).toEqual(before);

    await end(shim);
    const ended = await eventually(
      async () => {
        const workers = await look();
        return workers.every(({ exit }) => exit !== null) && workers;
      },
      { what: 'the daemon hears how they ended' },
    );
    expect(ended.map(({ exit }) => exit)).toEqual([
      { kind: 'code', code: 0 },
      { kind: 'returned' },
      { kind: 'returned' },
    ]);
    expect((await box.workerctl(['logs', 'shell'])).stdout).toMatch(/^up\n.*bye\n$/s);
    for (const { pid } of before) expect(() => process.kill(Number(pid), 0)).toThrow(/ESRCH/);
  });

  test('a worker of nobody’s shell gets the open-files limit of the unit, not the one that Node raised for itself', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    units.shim();
    await units.daemon();
    const client = await box.client();
    await client.call('start', { name: 'limit', spec: { kind: 'command', command: ['sh', '-c', 'ulimit -Sn'] } });
    await client.call('wait', { name: 'limit', for: 'exit' });
    expect((await box.workerctl(['logs', 'limit'])).stdout).toBe('1024\n');
  });

  test('while the service is down a verb waits for it and starts no daemon of its own', async () => {
    await using box = new Sandbox();
    await using units = new Units(box);
    units.shim();
    await end(await units.daemon());
    const start = box.spawn('workerctl', ['start', '-n', 'late', '--', 'sleep', '1000']);
    const daemon = await units.daemon();
    expect(await start.finished).toMatchObject({ code: 0, stdout: 'late\n', stderr: '' });
    const { pid } = JSON.parse((await box.workerd(['status', '--json'])).stdout) as { pid: number };
    expect(pid).toBe(daemon.child.pid);
    await box.workerctl(['stop', 'late']);
  });
});
