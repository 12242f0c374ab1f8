/** The real clock, and small facts about this machine and this process. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Clock } from './ports.ts';

/** setTimeout takes no more; a longer deadline is reached in steps. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  at(mono, callback) {
    let timer: NodeJS.Timeout;
    const arm = () => {
      const left = mono - performance.now();
      timer = setTimeout(
        () => {
          // Timers may fire a little early; a deadline never does.
          if (performance.now() < mono) arm();
          else callback();
        },
        Math.min(longestTimerMs, Math.max(0, Math.ceil(left))),
      );
    };
    arm();
    return () => clearTimeout(timer);
  },
};

export const nonce = (bytes: number): string => randomBytes(bytes).toString('hex');

/** Changes with every boot; without one (no Linux) every start counts as the same boot. */
export const readBootId = (): string => {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
};

/**
 * The soft limit of open files of whoever started us. Node raises its own to the hard limit at start, and would hand
 * that on to every worker; the parent's (a shell's, a service manager's) is what a user set.
 */
export const callersOpenFilesLimit = (parentPid: number): number | null => {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync(`/proc/${parentPid}/limits`, 'utf8'));
    const soft = line?.[1];
    return soft === undefined || soft === 'unlimited' ? null : Number(soft);
  } catch {
    return null;
  }
};
