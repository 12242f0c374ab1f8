/** Who a process is: pid and start time, read from /proc. A pid alone is nobody. */
import { readdirSync, readFileSync } from 'node:fs';
import { runMarker } from './protocol.ts';

/** `gone` includes zombies; `unknown` where /proc cannot be read. */
export type Look = { readonly kind: 'alive'; readonly startTime: number } | { readonly kind: 'gone' | 'unknown' };

const readStat = (pid: number): { state: string; threads: number; startTime: number } | 'gone' | 'unknown' => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command's name, in parentheses, may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, threads, startTime] = [fields[0], Number(fields[17]), Number(fields[19])];
    return state !== undefined && Number.isSafeInteger(startTime) ? { state, threads, startTime } : 'unknown';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ESRCH' ? 'gone' : 'unknown';
  }
};

/** In clock ticks since boot; of a zombie, too. */
export const startTimeOf = (pid: number): number | null => {
  const stat = readStat(pid);
  return typeof stat === 'string' ? null : stat.startTime;
};

export const lookAt = (pid: number): Look => {
  const stat = readStat(pid);
  if (typeof stat === 'string') return { kind: stat };
  // The leader of a process is shown as Z also while other threads of it live on, in the kernel for one.
  const isGone = stat.state === 'X' || (stat.state === 'Z' && stat.threads <= 1);
  return isGone ? { kind: 'gone' } : { kind: 'alive', startTime: stat.startTime };
};

export const isProven = (pid: number, startTime: number): boolean => {
  const look = lookAt(pid);
  return look.kind === 'alive' && look.startTime === startTime;
};

/** USER_HZ: what /proc counts in, 100 on every architecture Node runs on. */
const ticksPerSecond = 100;

/** How long ago a process started, by the clock since boot. */
export const ageMs = (startTime: number): number => {
  try {
    const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
    return Math.max(0, Math.round((uptime - startTime / ticksPerSecond) * 1000));
  } catch {
    return 0;
  }
};

/** Living processes that carry the marker of one of these runs in their environment. */
export const findMarked = (runs: ReadonlySet<string>): readonly number[] => {
  const found: number[] = [];
  if (runs.size === 0) return found;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid) || pid === process.pid) continue;
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      const marker = environment.find((entry) => entry.startsWith(`${runMarker}=`));
      if (marker !== undefined && runs.has(marker.slice(runMarker.length + 1))) found.push(pid);
    } catch {
      // Gone meanwhile, or another user's: not ours.
    }
  }
  return found;
};
