/**
 * A03: a home, a socket's directory, or a way to either that others can change: refused by name, and nothing is made
 * or changed. What stands under a name of the daemon's own and is no file of its own: the same.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Sandbox } from '../../helpers/sandbox.ts';

const isRoot = process.getuid?.() === 0;
const noPermission = 77;
const nobody = 65_534;

/** Everything there is, with mode and owner: what has changed shows. */
const picture = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => {
      const { mode, uid, gid, size, mtimeMs, nlink } = lstatSync(join(directory, name));
      return [name, mode, uid, gid, size, mtimeMs, nlink].join(' ');
    })
    .toSorted();

const makeDirectory = (path: string, mode = 0o700): string => {
  mkdirSync(path, { recursive: true });
  chmodSync(path, mode);
  return path;
};

/** `workerd start`, in the foreground and detached, names the thing that is wrong; `workerctl start` too. */
const refusedAll = async (box: Sandbox, flags: readonly string[], named: string) => {
  const before = picture(box.directory);
  for (const how of [['start'], ['start', '--detach']]) {
    const { code, stderr } = await box.workerd([...how, ...flags]);
    expect([code, stderr], how.join(' ')).toEqual([noPermission, expect.stringContaining(named)]);
    expect(stderr).toMatch(/Choose another|name the real|choose another/);
  }
  const { code, stderr } = await box.workerctl(['start', ...flags, '-n', 'w', '--', 'true']);
  expect([code, stderr]).toEqual([noPermission, expect.stringContaining(named)]);
  expect(picture(box.directory)).toEqual(before);
};

describe('A03: a way that others can change', () => {
  type Place = (directory: string) => { readonly flags: readonly string[]; readonly named: string };
  const cases: readonly [string, Place][] = [
    [
      'the home, through a link into a directory that others can write',
      (at) => {
        makeDirectory(join(at, 'wide', 'in'));
        chmodSync(join(at, 'wide'), 0o777);
        symlinkSync(join(at, 'wide', 'in'), join(at, 'link'));
        return { flags: ['--home', join(at, 'link', 'home')], named: join(at, 'wide') };
      },
    ],
    [
      'the socket, in a directory that others can write',
      (at) => {
        makeDirectory(join(at, 'wide'), 0o777);
        return { flags: ['--socket', join(at, 'wide', 's')], named: join(at, 'wide') };
      },
    ],
    [
      'the socket, below one',
      (at) => {
        makeDirectory(join(at, 'wide', 'in'));
        chmodSync(join(at, 'wide'), 0o777);
        return { flags: ['--socket', join(at, 'wide', 'in', 's')], named: join(at, 'wide') };
      },
    ],
    [
      'the socket, in a link to a directory',
      (at) => {
        makeDirectory(join(at, 'real'));
        symlinkSync(join(at, 'real'), join(at, 'link'));
        return { flags: ['--socket', join(at, 'link', 's')], named: join(at, 'link') };
      },
    ],
    [
      'the socket, under the name of somebody’s file',
      (at) => {
        writeFileSync(join(at, 'letter'), 'precious');
        return { flags: ['--socket', join(at, 'letter')], named: join(at, 'letter') };
      },
    ],
  ];
  test.each(cases)('%s', async (_, place) => {
    await using box = new Sandbox();
    const { flags, named } = place(box.directory);
    const home = flags.includes('--home') ? [] : ['--home', box.home];
    await refusedAll(box, [...home, ...flags], named);
  });

  test.skipIf(!isRoot)('the socket, in a directory of somebody else (only root can make one)', async () => {
    await using box = new Sandbox();
    const directory = makeDirectory(join(box.directory, 'foreign'));
    chownSync(directory, nobody, nobody);
    await refusedAll(box, ['--home', box.home, '--socket', join(directory, 's')], directory);
  });

  test('a directory with the sticky bit, as /tmp is, will do for the socket', async () => {
    await using box = new Sandbox();
    const socket = join(makeDirectory(join(box.directory, 'shared'), 0o1777), 's');
    expect((await box.workerd(['start', '--detach', '--socket', socket])).code).toBe(0);
    expect(lstatSync(socket).mode & 0o777).toBe(0o600);
    expect((await box.workerd(['restart', '--socket', socket])).code).toBe(0);
    expect((await box.workerd(['stop', '--socket', socket])).code).toBe(0);
    expect(readdirSync(dirname(socket)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('a note of a replacement that somebody else planted beside the socket is not believed, nor written through', async () => {
    await using box = new Sandbox();
    const socket = join(makeDirectory(join(box.directory, 'shared'), 0o1777), 's');
    const { pid } = process;
    const startTime = Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[19]);
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const far = { fromMono: 0, untilMono: 1e12, at: 0, untilAt: Date.now() + 1e9 };
    writeFileSync(`${socket}.handover`, JSON.stringify({ pid, startTime, boot, ...far }), { mode: 0o644 });
    if (isRoot) chownSync(`${socket}.handover`, nobody, nobody);
    else return;
    const { code, stdout } = await box.workerd(['start', '--detach', '--json', '--socket', socket]);
    expect(code).toBe(0);
    const letter = join(box.directory, 'letter');
    writeFileSync(letter, 'precious');
    const daemon = (JSON.parse(stdout) as { pid: number }).pid;
    symlinkSync(letter, `${socket}.handover.${daemon}`);
    expect((await box.workerd(['restart', '--socket', socket])).code).toBe(0);
    expect(readFileSync(letter, 'utf8')).toBe('precious');
    expect((await box.workerd(['stop', '--socket', socket])).code).toBe(0);
  });
});

describe('A05: what is planted under a name of the daemon’s own is refused by name, and stays as it is', () => {
  const names = ['registry.db', 'registry.db-wal', 'lock.db', 'workerd.log', 'shim.log', 'shim.token', 'shim.seq'];
  const planted: readonly [string, (path: string, letter: string) => void][] = [
    ['a hard link', (path, letter) => linkSync(letter, path)],
    ['a symbolic link', (path, letter) => symlinkSync(letter, path)],
    ['a FIFO', (path) => spawnSync('mkfifo', [path])],
  ];
  test.each(planted)('%s', async (_, plant) => {
    await using box = new Sandbox();
    for (const name of names) {
      const home = makeDirectory(join(box.directory, `home-${name}`));
      const letter = join(box.directory, `letter-${name}`);
      writeFileSync(letter, 'precious');
      plant(join(home, name), letter);
      await refusedAll(box, ['--home', home], join(home, name));
      expect(readFileSync(letter, 'utf8')).toBe('precious');
    }
  });
});
