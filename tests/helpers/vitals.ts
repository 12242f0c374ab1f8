/** What a process holds: descriptors and resident memory; and what its log says of faults. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { eventually } from './eventually.ts';

export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

export const residentBytes = (pid: number): number =>
  1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

/** The most it ever held. */
export const peakBytes = (pid: number): number =>
  1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

export const descriptorsAreBack = async (pid: number, before: number, withinMs = 30_000): Promise<void> => {
  await eventually(() => descriptorsOf(pid) <= before + 2, { withinMs, what: `at most ${before} + 2 descriptors` });
};

/** A fault that nobody foresaw is logged with an id: there is none. */
export const noFaults = (home: string): void => {
  const log = readFileSync(join(home, 'workerd.log'), 'utf8');
  expect(log.split('\n').filter((line) => /"logId"|internal error|nobody caught/.test(line))).toEqual([]);
};
