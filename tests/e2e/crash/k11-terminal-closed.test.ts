/** K11: started from a terminal that is closed then, as when a connection breaks off: daemon, shim and workers live on. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../../helpers/eventually.ts';
import { dist, root, Sandbox } from '../../helpers/sandbox.ts';
import { hasPython } from '../../helpers/terminal.ts';

const onTerminal = join(root, 'tests', 'helpers', 'on-a-terminal.py');

const fieldsOf = (pid: number): readonly string[] => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
};

const kinds = ['workerctl start', 'workerd start --detach'] as const;
test.skipIf(!hasPython).each(kinds)('K11 (skipped where python3 is missing): %s', async (how) => {
  await using box = new Sandbox();
  const program = (name: string) => `${process.execPath} ${join(dist, `${name}.cjs`)}`;
  const start = `${program('workerctl')} start -n w -- sh -c 'while :; do echo tick; sleep 0.05; done'`;
  const first = how === 'workerctl start' ? start : `${program('workerd')} start --detach && ${start}`;
  // A login shell on a terminal of its own, which then waits for what is typed.
  const terminal = spawn('python3', [onTerminal, '/bin/sh', '-c', `${first}; echo all-done; cat`], {
    cwd: box.directory,
    env: box.env(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  await eventually(() => shown.includes('all-done'), { what: 'it is started', withinMs: 20_000 });
  const before = await box.status('w');
  const own = () =>
    box
      .processes()
      .filter(
        ({ command }) =>
          /workerd\.cjs start|shim\.cjs --home|echo tick/.test(command) &&
          !command.includes(onTerminal) &&
          !command.includes('echo all-done'),
      );
  const pids = own().map(({ pid }) => pid);
  expect(pids).toHaveLength(3);
  // None of them has it as its controlling terminal, or is of its session.
  for (const pid of pids) expect(fieldsOf(pid)[4], String(pid)).toBe('0');
  // It is closed: SIGHUP to all of its session, EIO to whoever still has it open.
  const ended = new Promise((resolve) => terminal.once('exit', resolve));
  terminal.kill('SIGKILL');
  await ended;
  await eventually(() => !box.processes().some(({ command }) => command.includes('echo all-done')), {
    what: 'its shell is gone',
  });
  const log = () => readFileSync(join(box.home, 'logs', 'w', '1.log'), 'utf8').length;
  const length = log();
  await eventually(() => log() > length + 20, { what: 'its output is logged on' });
  expect(await box.status('w')).toMatchObject({ phase: 'running', pid: before.pid, generation: 1 });
  expect(own().map(({ pid }) => pid)).toEqual(pids);
});
