/**
 * S13: a uid without a passwd entry, HOME unset, missing, or not to be written: what the documentation says, or a
 * refusal that names the place and the next step.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { canRunOurs, otherUid, runAsOther } from '../../helpers/other-user.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';

const cli = join(dist, 'workerctl.cjs');

describe.skipIf(!canRunOurs)('S13: a uid that has no account', () => {
  const ask = (env: Readonly<Record<string, string>>, ...args: string[]) => {
    const assignments = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    // As the first line of the program has it: without the dashes Node takes `--env-file` for its own.
    return runAsOther(['env', ...assignments, process.execPath, '--', cli, ...args]);
  };

  test('no HOME at all: refused, with a way out', () => {
    for (const env of [{}, { HOME: '' }]) {
      const { status, stderr } = ask(env, 'start', '-n', 'w', '--', 'true');
      expect([status, stderr]).toEqual([2, expect.stringMatching(/no home directory.*--home or WORKERD_HOME/)]);
    }
  });

  test.each(['/nonexistent', '/proc'])('a HOME that cannot be made, %s: refused by name, exit code 77', (home) => {
    const { status, stderr } = ask({ HOME: home }, 'start', '-n', 'w', '--', 'true');
    expect([status, stderr]).toEqual([77, expect.stringMatching(/cannot make \/\S+: .*--home/)]);
  });

  test('what it may not do is exit code 77: to run as another, to read a file of environment', async () => {
    await using box = new Sandbox();
    chmodSync(box.directory, 0o711);
    const closed = join(box.directory, 'closed.env');
    writeFileSync(closed, 'KEY=value\n', { mode: 0o600 });
    const home = join(box.directory, 'other');
    mkdirSync(home, { mode: 0o700 });
    chownSync(home, otherUid, otherUid);
    const env = { WORKERD_HOME: home };
    try {
      const asRoot = ask(env, 'start', '-n', 'w', '--user', 'root', '--', 'true');
      expect([asRoot.status, asRoot.stderr]).toEqual([77, expect.stringContaining('only the daemon of root')]);
      const unread = ask(env, 'start', '-n', 'w', '--env-file', closed, '--', 'true');
      expect([unread.status, unread.stderr]).toEqual([77, expect.stringContaining(`cannot read ${closed}`)]);
      expect(ask(env, 'status', 'w').status).toBe(4);
      // But of the socket it is 125.
      const unbound = ask(env, 'start', '--home', `${home}/other`, '--socket', '/usr/workerd.sock', '--', 'true');
      expect([unbound.status, unbound.stderr]).toEqual([
        125,
        expect.stringContaining('cannot make the socket /usr/workerd.sock: permission denied (EACCES). Choose another'),
      ]);
    } finally {
      expect(ask(env, 'daemon', 'stop').status).toBe(0);
    }
  });

  test('with HOME or WORKERD_HOME it works, and the worker is that uid', async () => {
    await using box = new Sandbox();
    chmodSync(box.directory, 0o711);
    for (const variable of ['HOME', 'WORKERD_HOME', 'XDG_STATE_HOME']) {
      const home = join(box.directory, variable);
      mkdirSync(home, { mode: 0o700 });
      chownSync(home, otherUid, otherUid);
      const env = { [variable]: home };
      try {
        expect(ask(env, 'run', '-n', 'w', '--', 'id', '-u')).toMatchObject({ status: 0, stdout: `${otherUid}\n` });
        const place = { HOME: '.local/state/workerd', WORKERD_HOME: '.', XDG_STATE_HOME: 'workerd' }[variable] ?? '';
        expect(existsSync(join(home, place, 'registry.db'))).toBe(true);
        const { stdout } = ask(env, 'rpc', 'status');
        expect(JSON.parse(stdout)).toMatchObject({ workers: [{ name: 'w', phase: 'exited' }] });
      } finally {
        expect(ask(env, 'daemon', 'stop').status).toBe(0);
      }
    }
  });
});

test('S13: XDG_STATE_HOME that is relative is no place: the default below HOME is taken', async () => {
  await using box = new Sandbox();
  const home = join(box.directory, 'user');
  mkdirSync(home, { mode: 0o700 });
  const env = { HOME: home, XDG_STATE_HOME: 'relative', WORKERD_HOME: '' };
  const { stderr } = await box.workerctl(['status', '--no-autostart'], { env });
  const expected =
    process.getuid?.() === 0 ? '/run/workerd/workerd.sock' : join(home, '.local/state/workerd/workerd.sock');
  expect(stderr).toContain(expected);
});
