/**
 * A01: whatever umask the daemon was started with, directories are 0700, and sockets, FIFOs, databases and logs 0600,
 * from the moment they are there. Watched all the while by a process of its own.
 */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { part, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { root } from '../../helpers/sandbox.ts';

const starts = 200;
const atOnce = 10;
const hasPython = spawnSync('python3', ['-c', '']).status === 0;

const watchModes = (directory: string) => {
  const watcher = spawn('python3', [join(root, 'tests/helpers/watch-modes.py'), directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  watcher.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise((resolve) => watcher.once('close', resolve));
  const begun = eventually(() => said.startsWith('watching\n'));
  /** Who was ever open to others, and how often it was looked. */
  const end = async () => {
    watcher.stdin.end();
    await ended;
    const lines = said.trim().split('\n').slice(1);
    return { rounds: Number(lines.pop()?.split(' ')[1]), wide: lines };
  };
  return { begun, end };
};

test.skipIf(!hasPython).each([
  ['000', 0o000],
  ['077', 0o077],
])('A01: umask %s, 200 starts: nothing is open to others for a moment', async (_, umask) => {
  await using box = new CrashBox();
  const watcher = watchModes(box.directory);
  await watcher.begun;
  const before = process.umask(umask);
  try {
    await box.startDaemon();
  } finally {
    process.umask(before);
  }
  const client = await box.client();
  const caller = { env: { PATH: process.env['PATH'] ?? '' }, cwd: '/', umask };
  const modules = ['thread', 'process'] as const;
  for (const kind of modules) await client.call('start', { name: kind, spec: part(kind, 'counts'), caller });
  for (let n = 0; n < starts; n += atOnce) {
    await Promise.all(
      Array.from({ length: atOnce }, async (_each, index) => {
        const name = `w${(n + index) % 40}`;
        const spec = { ...shell('umask; echo out; echo err >&2'), log: { maxBytes: 65_536, files: 2 }, stdin: true };
        await client.call('start', { name, spec, caller });
        await client.call('wait', { name, for: 'exit' });
      }),
    );
  }
  await box.workerd(['restart']);
  const { rounds, wide } = await watcher.end();
  expect(wide).toEqual([]);
  expect(rounds).toBeGreaterThan(starts);
  // The worker itself has the mask that its caller had.
  const { entries } = await client.call('logs', { name: 'w0', streams: ['stdout'] });
  expect(Number.parseInt(entries[0]?.line ?? '', 8)).toBe(umask);
});
