/**
 * A09: a daemon of root runs a worker as another user: with that uid, that gid and that user's groups, no others, and
 * no privilege; it can open /dev/stdout. What it is refused, it is refused by name, and nothing runs as root instead.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

/** Somebody who can be had everywhere, and one who has groups besides his own. */
const users = (): readonly string[] => {
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':')[0] ?? '');
  const groups = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .map((line) => line.split(':')[3]?.split(',') ?? []);
  const member = accounts.find(
    (name) => name !== '' && name !== 'root' && groups.some((names) => names.includes(name)),
  );
  return ['nobody', ...(member === undefined ? [] : [member])];
};

const canChange = process.getuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0;

const ids = (user: string) =>
  ['-u', '-g', '-G'].map((flag) => spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout.trim());

test.skipIf(!canChange).each(users())('A09: as %s', async (user) => {
  await using box = new CrashBox();
  chmodSync(box.directory, 0o711);
  await box.daemon();
  const client = await box.client();
  const script = [
    'echo opened > /dev/stdout',
    'echo opened > /dev/stderr',
    'echo "{\\"state\\":{\\"up\\":true}}" >&3',
    'id -u; id -g; id -G',
    'grep -E "^(Uid|Gid|CapEff|CapPrm):" /proc/self/status',
    'echo "$USER $LOGNAME $HOME"',
    'cat "$WORKERD_HOME/registry.db" 2>&1 | head -c 100; exec sleep 1000',
  ].join('\n');
  await client.call('start', { name: 'w', spec: { ...shell(script), user, env: {} } });
  const lines = await eventually(async () => {
    const { entries } = await client.call('logs', { name: 'w', streams: ['stdout'] });
    const all = entries.map(({ line }) => line);
    return all.some((line) => line.includes('registry.db')) ? all : null;
  });
  const [uid = '', gid = '', groups = ''] = ids(user);
  expect(lines.slice(0, 3)).toEqual(['opened', uid, gid]);
  expect(lines[3]?.split(' ').toSorted()).toEqual(groups.split(' ').toSorted());
  const words = lines.map((line) => line.replaceAll('\t', ' '));
  expect(words).toContain(`Uid: ${uid} ${uid} ${uid} ${uid}`);
  expect(words).toContain(`Gid: ${gid} ${gid} ${gid} ${gid}`);
  expect(words.filter((line) => /^Cap/.test(line))).toEqual(['CapPrm: 0000000000000000', 'CapEff: 0000000000000000']);
  expect(lines.some((line) => line.startsWith(`${user} ${user} `))).toBe(true);
  expect(lines.at(-1)).toMatch(/Permission denied/);
  await eventually(async () => (await box.status('w')).state?.['up'] === true);
  expect((await client.call('stop', { name: 'w' })).worker).toMatchObject({
    exit: { kind: 'signal', signal: 'SIGTERM' },
  });
});

test.skipIf(!canChange)(
  'A09: a user that is not there, and a program he may not execute: refused, and nothing runs',
  async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    const refused = async (user: string, command: string, words: RegExp) => {
      const asked = client.call('start', { name: 'w', spec: { kind: 'command', command: [command], user } });
      await expect(asked).rejects.toThrow(words);
      expect(box.livingRuns('w')).toEqual([]);
      expect(await box.status('w')).toMatchObject({ phase: 'failed', exit: { kind: 'spawn-failed' } });
    };
    await refused('no-such-user', '/bin/sleep', /no user no-such-user/);
    // The sandbox's directory is root's alone.
    await refused('nobody', `${box.directory}/program`, /program/);
    await refused('--help', '/bin/sleep', /no user --help|invalid params: spec\.user/);
  },
);
