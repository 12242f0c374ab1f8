/** What a process has used, from /proc. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

export interface Activity {
  /** On a CPU, in ms, by the scheduler's own clock. */
  readonly cpuMs: number;
  /** How often it gave up the CPU by itself: each is a wake-up. */
  readonly wakeUps: number;
}

/** Of all threads of these processes. */
export const activityOf = (pids: readonly number[]): Activity => {
  let [cpuMs, wakeUps] = [0, 0];
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const directory = `/proc/${pid}/task/${thread}`;
      cpuMs += Number(readFileSync(`${directory}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
      wakeUps += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`${directory}/status`, 'latin1'))?.[1]);
    }
  }
  return { cpuMs, wakeUps };
};

/** Memory of these processes in KiB, what they share with others counted as their share of it. */
export const proportionalKib = (pids: readonly number[]): number => {
  let sum = 0;
  for (const pid of pids) {
    sum += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]);
  }
  return sum;
};

/** Pids of the daemon and the shim of this home. */
export const pidsOf = (home: string): readonly number[] =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words.includes(home) && words.some((word) => /\/(workerd|shim)\.cjs$/.test(word));
      } catch {
        return false;
      }
    });

const statusKib = (pids: readonly number[], member: string): number =>
  pids.reduce(
    (sum, pid) =>
      sum + Number(new RegExp(`^${member}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]),
    0,
  );

/** Memory that these processes have in RAM now, in KiB. */
export const residentKib = (pids: readonly number[]): number => statusKib(pids, 'VmRSS');

/** The most they had since `forgetPeaks`, in KiB. */
export const peakKib = (pids: readonly number[]): number => statusKib(pids, 'VmHWM');

export const forgetPeaks = (pids: readonly number[]): void => {
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5');
};
