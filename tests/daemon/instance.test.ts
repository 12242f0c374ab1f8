/** Where a home may not lie. What takes a real place to try is in tests/e2e/access. */
import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { networkFileSystem } from '../../src/daemon/instance.ts';

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
