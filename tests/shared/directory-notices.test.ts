/** Notices of a log's directory that is made in the very moment in which it is looked for. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { DirectoryNotices } from '../../src/shared/directory-notices.ts';

const beforeWatch = vi.hoisted(() => ({ once: () => {} }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const watch = (...args: Parameters<typeof fs.watch>) => {
    const hook = beforeWatch.once;
    beforeWatch.once = () => {};
    hook();
    return fs.watch(...args);
  };
  return { ...fs, watch };
});

it('a directory made between the look and the watch is watched, and what is made in it later wakes', async () => {
  const logs = mkdtempSync(join(tmpdir(), 'wd-notices-'));
  const directory = join(logs, 'w');
  const done = new AbortController();
  const notices = new DirectoryNotices(directory, '1.', [done.signal]);
  try {
    beforeWatch.once = () => mkdirSync(directory);
    notices.clear();
    const woken = notices.next().then(() => 'woken');
    writeFileSync(join(directory, '1.log'), '');
    const late = new Promise((resolve) => setTimeout(resolve, 5000, 'never'));
    expect(await Promise.race([woken, late])).toBe('woken');
  } finally {
    notices.close();
    rmSync(logs, { recursive: true, force: true });
  }
});
