/**
 * What daemon and shim have of whoever started them, and what their own logs say of workers: none of the variables that
 * change programs, no directory, and no argument of anybody.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { deaf, shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';

const evil = {
  NODE_OPTIONS: '--no-deprecation',
  NODE_PATH: '/no/such/modules',
  NODE_REPL_HISTORY: '/no/such/history',
  LD_LIBRARY_PATH: '/no/such/libraries',
  DYLD_LIBRARY_PATH: '/no/such/libraries',
  NOTIFY_SOCKET: '',
  LISTEN_FDS: '0',
};

/** Not the shells that start them, which carry the same words on their command lines for a moment. */
const own = (box: Sandbox) =>
  box.processes().filter(({ command }) => /^\S*node .*(?:workerd\.cjs start|shim\.cjs)/.test(command));

test('daemon and shim run without NODE_*, LD_*, DYLD_* and LISTEN_*, in /; also the shim that follows', async () => {
  await using box = new Sandbox();
  expect((await box.workerctl(['start', '-n', 'w', '--', 'sleep', '1000'], { env: evil })).code).toBe(0);
  const look = async () => {
    // One of them may just be forking.
    const found = await eventually(() => own(box).length === 2 && own(box), { what: 'daemon and shim' });
    for (const { pid, command } of found) {
      const names = readFileSync(`/proc/${pid}/environ`, 'latin1')
        .split('\0')
        .map((each) => each.split('=')[0]);
      expect(
        names.filter((name) => name !== undefined && name in evil),
        command,
      ).toEqual([]);
      expect(readlinkSync(`/proc/${pid}/cwd`), command).toBe('/');
    }
  };
  await look();
  const shim = () => own(box).find(({ command }) => command.includes('shim.cjs'))?.pid;
  const first = shim() ?? 0;
  process.kill(first, 'SIGKILL');
  await eventually(() => ![undefined, first].includes(shim()), { what: 'another shim' });
  await look();
});

test.each<['workerd.cjs' | 'workerctl.cjs', readonly string[]]>([
  ['workerd.cjs', ['start']],
  ['workerctl.cjs', ['daemon', 'start']],
])('nor with them in the foreground, and it has the limit of open files of its starter for workers: %s', async (program, args) => {
  await using box = new Sandbox();
  const argv = ['-c', 'ulimit -S -n 333; exec "$@"', 'sh', join(dist, program), ...args];
  const path = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  const daemon = spawn('sh', argv, { env: box.env({ ...evil, PATH: path, LISTEN_FDS: '' }), stdio: 'ignore' });
  await using client = await eventually(() => box.client());
  for (const { pid, command } of own(box)) {
    if (command.includes('workerctl')) continue;
    const environ = readFileSync(`/proc/${pid}/environ`, 'latin1');
    expect(environ, command).not.toMatch(/NODE_OPTIONS|NODE_PATH|LD_LIBRARY_PATH/);
  }
  await client.call('start', { name: 'w', spec: shell('ulimit -S -n') });
  await client.call('wait', { name: 'w', for: 'exit' });
  expect((await client.call('logs', { name: 'w' })).entries.map(({ line }) => line)).toEqual(['333']);
  const ended = once(daemon, 'exit');
  expect((await box.workerd(['stop'])).code).toBe(0);
  expect(await ended).toEqual([0, null]);
});

test('a worker has what its caller has, also what a shell, which the program is at first, takes for no variable', async () => {
  await using box = new Sandbox();
  const strange = {
    'spring.profiles.active': 'one two=three',
    'BASH_FUNC_greet%%': "() {  echo 'hello\n there'\n}",
    '1st': 'é',
    'with-dash': '',
    names: 'of ours',
    PWD_: '/',
  };
  const path = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  const own = (env: object) => Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('WORKERD_')));
  for (const caller of [{ PWD: box.directory }, {}, strange, { ...strange, PWD: box.directory }]) {
    const { PWD: _, ...surroundings } = box.env({ PATH: path });
    const env = { ...surroundings, ...caller };
    const { status, stdout } = spawnSync(join(dist, 'workerctl.cjs'), ['run', '--rm', '--', 'env', '-0'], {
      env,
      cwd: box.directory,
      encoding: 'utf8',
      timeout: 60_000,
    });
    expect(status).toBe(0);
    const entries = stdout.split('\0').filter((entry) => entry !== '');
    const pairs = entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]);
    expect(own(Object.fromEntries(pairs) as object)).toEqual(own(env));
    expect(entries.filter((entry) => /UNSHELLED|OPEN_FILES/.test(entry))).toEqual([]);
  }
});

test('arguments of workers are in no log of daemon or shim, whatever becomes of them', async () => {
  await using box = new Sandbox();
  const canary = 'ARGUMENT-CANARY-1234';
  await box.startDaemon();
  const client = await box.client();
  const start = (name: string, spec: object) => client.call('start', { name, spec: spec as never });
  const kept = { restart: { policy: 'on-failure' } };
  await start('fails', { ...shell('exit 3', canary), restart: { policy: 'always' } });
  await expect(start('missing', { kind: 'command', command: ['/nowhere', canary] })).rejects.toThrow('/nowhere');
  await expect(start('bad', { kind: 'command', command: ['true', `${canary}\0`] })).rejects.toThrow('command');
  await start('left', { ...shell(`setsid sh -c 'sleep 1000' ${canary} & exit 0`, canary), ...kept });
  await start('lives', { ...shell('while :; do sleep 0.1; done', canary), ...kept });
  await start('deaf', { ...deaf, command: [...(deaf as { command: string[] }).command, canary], graceMs: 100 });
  for (const { pid, command } of own(box)) if (command.includes('shim.cjs')) process.kill(pid, 'SIGKILL');
  await eventually(async () => (await client.call('daemon.info', {})).problems?.length === 0, { what: 'another shim' });
  await client.call('stop', { name: 'deaf' });
  for (const { pid } of own(box)) process.kill(pid, 'SIGKILL');
  expect((await box.workerctl(['status'])).code).toBe(0);
  expect((await box.workerd(['stop'])).code).toBe(0);
  for (const log of ['workerd.log', 'shim.log']) {
    const text = readFileSync(join(box.home, log), 'latin1');
    expect(text, log).not.toContain(canary);
  }
  expect(box.said()).toContain('"name":"lives"');
});
