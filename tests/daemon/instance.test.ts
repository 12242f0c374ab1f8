/** Where a home may not lie. What takes a real place to try is in tests/e2e/access. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cannotListen, networkFileSystem } from '../../src/daemon/instance.ts';

test.each([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  // tmpfs, ext4, overlayfs
  [0x01021994, null],
  [0xef53, null],
  [0x794c7630, null],
])('the file system of type %d: %s', (type, name) => {
  expect(networkFileSystem(type)).toBe(name);
});

test('where these tests run it is none', () => {
  expect(networkFileSystem(statfsSync(tmpdir()).type)).toBeNull();
});

test('of two that take the lock in the same moment exactly one has it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'lock-'));
  const racers = [1, 2].map(() => fork(join(import.meta.dirname, '../helpers/lock-racer.ts')));
  const tell = (message: object | string) =>
    Promise.all(
      racers.map(async (racer) => {
        const answer = once(racer, 'message');
        racer.send(message);
        return (await answer)[0] as unknown;
      }),
    );
  try {
    for (let round = 0; round < 30; round += 1) {
      const path = join(directory, `${round}.db`);
      expect((await tell({ path, at: Date.now() + 10 })).sort(), `round ${round}`).toEqual([false, true]);
      await tell('release');
    }
  } finally {
    for (const racer of racers) racer.kill();
    rmSync(directory, { recursive: true });
  }
}, 60_000);

test.each([
  ['EACCES', 'permission denied (EACCES). Choose another place with --socket'],
  ['ENOSPC', 'no space left on device (ENOSPC). Make room on its disk, or choose another place with --socket'],
] as const)('a socket that cannot be made, %s: what there is to do', (code, words) => {
  const fault = Object.assign(new Error('listen'), { code, errno: -constants.errno[code] });
  expect(cannotListen('/home/workerd.sock', fault).message).toBe(`cannot make the socket /home/workerd.sock: ${words}`);
});
