/** CPU and memory of a process tree: that of two looks close to each other only the first one reads anything. */
import * as fs from 'node:fs';
import { expect, test, vi } from 'vitest';
import { readStat } from '../../src/daemon/proc.ts';
import { UsageReader } from '../../src/daemon/usage.ts';

vi.mock('node:fs', { spy: true });

const reads = () => vi.mocked(fs.openSync).mock.calls.length + vi.mocked(fs.readFileSync).mock.calls.length;
const own = readStat(process.pid);

test('is that of the process as long as it is the one that was meant', () => {
  const usage = new UsageReader();
  const first = usage.read('run', process.pid, own?.startTime ?? 0);
  expect(first?.memoryBytes).toBeGreaterThan(1024 * 1024);
  expect(first?.cpuPercent).toBeGreaterThan(0);
  expect(usage.read('another', process.pid, 1)).toBeNull();
});

test('a look soon after another reads nothing; one after it was forgotten, or later, does', () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(1000);
  const usage = new UsageReader();
  const look = () => usage.read('run', process.pid, own?.startTime ?? 0);
  const first = look();
  let before = reads();
  now.mockReturnValue(1499);
  expect(look()).toBe(first);
  expect(reads()).toBe(before);
  now.mockReturnValue(1501);
  expect(look()).not.toBe(first);
  expect(reads()).toBeGreaterThan(before);
  before = reads();
  usage.forget('run');
  look();
  expect(reads()).toBeGreaterThan(before);
  now.mockRestore();
});
