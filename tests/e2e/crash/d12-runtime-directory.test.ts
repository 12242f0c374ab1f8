/** D12: the directory of the socket, where it is not the home, is deleted under a living daemon. */
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connect } from '../../../src/shared/client.ts';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const removals: readonly (readonly [string, (directory: string) => void])[] = [
  [
    'removed',
    (directory) => {
      // The daemon puts its socket back between the two steps of this at times.
      spawnSync('sh', ['-c', 'rm -rf "$1" 2>/dev/null; rm -rf "$1"', 'sh', directory]);
    },
  ],
  ['moved away', (directory) => renameSync(directory, `${directory}-moved`)],
  [
    'replaced by an empty one',
    (directory) => {
      renameSync(directory, `${directory}-moved`);
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    },
  ],
];

test.each(
  removals,
)('D12: %s, it is back with its socket within 2 s (asserted: 10); no second daemon meanwhile', async (_, remove) => {
  await using box = new CrashBox();
  const directory = join(box.directory, 'run');
  const socket = join(directory, 'workerd.sock');
  box.with('--socket', socket);
  const daemon = await box.daemon();
  const ask = async () => {
    const client = await connect({ home: box.home, socket, client: 'test', reconnectMs: 0 });
    try {
      return await client.call('daemon.info', {});
    } finally {
      client.close();
    }
  };
  const first = await connect({ home: box.home, socket, client: 'test', reconnectMs: 0 });
  const { worker } = await first.call('start', { name: 'w', spec: command('sleep', '1000') });
  for (let round = 0; round < 3; round += 1) {
    remove(directory);
    rmSync(`${directory}-moved`, { recursive: true, force: true });
    const second = await box.workerd(['start', '--socket', socket]);
    expect([second.code, second.stderr]).toEqual([1, expect.stringMatching(/already running/)]);
    await eventually(async () => (await ask()).pid === daemon.pid, { what: `the socket is back (round ${round})` });
    expect(lstatSync(directory).mode & 0o777).toBe(0o700);
    expect(lstatSync(socket).mode & 0o777).toBe(0o600);
  }
  // Connections that were open have heard nothing of it.
  expect((await first.call('status', {})).workers).toMatchObject([{ name: 'w', pid: worker.pid, phase: 'running' }]);
  first.close();
  expect((await box.workerd(['stop', '--socket', socket])).code).toBe(0);
  expect(await daemon.ended).toBe(0);
  expect(existsSync(socket)).toBe(false);
});
