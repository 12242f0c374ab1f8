/**
 * Looks at the processes of this machine through /proc: who is alive, who belongs to a run (its process group, its
 * marker in the environment, its tree), and signals only whom it has just proven to be the one meant.
 * Synchronous on purpose: a look is a few microseconds a process, and must not be torn by a turn of the loop.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { isPrivate } from '../shared/environment.ts';
import { readBootId } from '../shared/since-boot.ts';
import type { Identity, KnownLeftover } from './core/model.ts';
import type { Look, ProcessMark, ProcessTable, SweepTarget } from './ports.ts';
import { runMarker } from './shim/protocol.ts';

/** The fields of /proc/PID/stat that are looked at (proc_pid_stat(5)). */
export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly threads: number;
  readonly startTime: number;
  /** User and system time of the process itself, in clock ticks. */
  readonly cpuTicks: number;
  readonly residentPages: number;
}

const buffer = Buffer.allocUnsafe(256 * 1024);
const marker = Buffer.from(`${runMarker}=`);
const shownCommandLength = 200;

/** A file of /proc, or `null`; the bytes are only good until the next call. Short ones come whole in one read. */
const readProc = (path: string, isShort: boolean): Buffer | null => {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    // Without a descriptor to look with nothing is proven: neither that it is there nor that it is gone.
    if (['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return null;
  }
  try {
    let length = 0;
    while (length < buffer.length) {
      const read = readSync(fd, buffer, length, buffer.length - length, null);
      length += read;
      if (read === 0 || isShort) break;
    }
    return buffer.subarray(0, length);
  } catch {
    return null;
  } finally {
    closeSync(fd);
  }
};

export const readStat = (pid: number): ProcessStat | null => {
  const bytes = readProc(`/proc/${pid}/stat`, true);
  if (bytes === null || bytes.length === 0) return null;
  // The program's name may hold anything, also ") ": what counts comes after its last parenthesis.
  const fields = bytes.toString('latin1', bytes.lastIndexOf(0x29) + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  return {
    pid,
    state: fields[0] ?? '?',
    parent: field(4),
    group: field(5),
    session: field(6),
    threads: field(20),
    startTime: field(22),
    cpuTicks: field(14) + field(15),
    residentPages: field(24),
  };
};

export const isGone = (stat: ProcessStat): boolean => stat.state === 'Z' || stat.state === 'X';

/** The run whose marker the process carries in its environment, as it was at its exec. */
const runOf = (pid: number): string | null => {
  const bytes = readProc(`/proc/${pid}/environ`, false);
  if (bytes === null) return null;
  for (let at = bytes.indexOf(marker); at !== -1; at = bytes.indexOf(marker, at + 1)) {
    if (at > 0 && bytes[at - 1] !== 0) continue;
    const end = bytes.indexOf(0, at);
    return bytes.toString('utf8', at + marker.length, end === -1 ? bytes.length : end);
  }
  return null;
};

const commandOf = (pid: number): string => {
  const bytes = readProc(`/proc/${pid}/cmdline`, true);
  const words = bytes === null ? '' : bytes.toString('utf8').replaceAll('\0', ' ').trim();
  const shown = words === '' ? `[pid ${pid}]` : words;
  return shown.length > shownCommandLength ? `${shown.slice(0, shownCommandLength)}…` : shown;
};

export const listPids = (): readonly number[] => {
  try {
    return readdirSync('/proc')
      .filter((entry) => entry.charCodeAt(0) <= 0x39)
      .map(Number)
      .filter(Number.isSafeInteger);
  } catch {
    return [];
  }
};

const childrenOfThread = (pid: number, thread: number | string): readonly number[] => {
  const bytes = readProc(`/proc/${pid}/task/${thread}/children`, false);
  return bytes === null || bytes.length === 0 ? [] : bytes.toString('latin1').trim().split(' ').map(Number);
};

/** Direct children, of all threads of the process: each is listed with the thread that made it. */
export const childrenOf = ({ pid, threads }: Pick<ProcessStat, 'pid' | 'threads'>): readonly number[] => {
  if (threads === 1) return childrenOfThread(pid, pid);
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => childrenOfThread(pid, thread));
  } catch {
    return [];
  }
};

const kill = (pid: number, signal: NodeJS.Signals): boolean => {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
};

const numberIn = (path: string, pattern: RegExp): number | null => {
  const found = pattern.exec(readProc(path, false)?.toString('latin1') ?? '')?.[1];
  return found === undefined ? null : Number(found);
};

/** Pids that are in use are passed over; more than this are not in use at once where this is relied on. */
const passedOver = 4096;

export class LinuxProcessTable implements ProcessTable {
  readonly bootId = readBootId();
  /** Pids are given out in rising order, and begin anew at this one. */
  readonly #maxPid = numberIn('/proc/sys/kernel/pid_max', /^(\d+)/);

  mark(): ProcessMark | null {
    const lastPid = numberIn('/proc/loadavg', /(\d+)\s*$/);
    const forks = numberIn('/proc/stat', /^processes (\d+)/m);
    return lastPid === null || forks === null ? null : { lastPid, forks };
  }

  /**
   * The pid above which everything made since all of the marks is: as long as pids cannot have begun anew since. A look
   * costs by the process, and most of a machine's are older than a run.
   */
  #oldestPid(targets: readonly SweepTarget[]): number {
    const now = this.mark();
    let oldest = Number.POSITIVE_INFINITY;
    for (const { mark } of targets) {
      if (mark === null || now === null || this.#maxPid === null) return 0;
      if (mark.lastPid + (now.forks - mark.forks) + passedOver >= this.#maxPid) return 0;
      oldest = Math.min(oldest, mark.lastPid);
    }
    return oldest;
  }

  startTimeOf(pid: number): number | null | 'unknown' {
    const stat = readStat(pid);
    if (stat !== null) return isGone(stat) ? null : stat.startTime;
    try {
      process.kill(pid, 0);
      return 'unknown';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH' ? null : 'unknown';
    }
  }

  sweep(targets: readonly SweepTarget[]): ReadonlyMap<string, readonly KnownLeftover[]> {
    const found = new Map<string, KnownLeftover[]>(targets.map(({ run }) => [run, []]));
    const groups = new Map<number, { run: string; until: number }>();
    for (const { group, run, since, until } of targets) {
      // A pid is free again only once its group is empty: another process of this number means another group.
      const leader = group === null ? null : readStat(group);
      if (group === null || (leader !== null && leader.startTime !== since)) continue;
      groups.set(group, {
        run,
        until: leader === null ? (until ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY,
      });
    }
    const byTree = new Map<number, { run: string; startTime: number }>();
    for (const { also, run } of targets) for (const known of also) byTree.set(known.pid, { run, ...known });
    const since = Math.min(...targets.map((target) => target.since ?? 0));
    const oldestPid = this.#oldestPid(targets);
    for (const pid of listPids()) {
      if (pid <= oldestPid) continue;
      const stat = readStat(pid);
      if (stat === null || isGone(stat) || stat.startTime < since || pid === process.pid) continue;
      const run = this.#belongsTo(stat, groups, byTree, found);
      if (run !== null) found.get(run)?.push({ pid, startTime: stat.startTime, command: commandOf(pid) });
    }
    return found;
  }

  #belongsTo(
    stat: ProcessStat,
    groups: ReadonlyMap<number, { run: string; until: number }>,
    byTree: ReadonlyMap<number, { run: string; startTime: number }>,
    wanted: ReadonlyMap<string, unknown>,
  ): string | null {
    const marked = runOf(stat.pid);
    if (marked !== null) return wanted.has(marked) ? marked : null;
    const tree = byTree.get(stat.pid);
    if (tree !== undefined && tree.startTime === stat.startTime) return tree.run;
    const group = groups.get(stat.group);
    return group !== undefined && stat.startTime <= group.until ? group.run : null;
  }

  descendants(pid: number): readonly Identity[] {
    const found: Identity[] = [];
    const root = readStat(pid);
    const queue = root === null ? [] : [...childrenOf(root)];
    const seen = new Set<number>([pid]);
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      const stat = readStat(next);
      if (stat === null || isGone(stat)) continue;
      found.push({ pid: next, startTime: stat.startTime });
      queue.push(...childrenOf(stat));
    }
    return found;
  }

  lookOf(pid: number): Look {
    const words = (name: string) =>
      (readProc(`/proc/${pid}/${name}`, false)?.toString('utf8') ?? '').split('\0').slice(0, -1);
    const variables = words('environ').map((entry): [string, string] => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1)];
    });
    let cwd = '/';
    try {
      cwd = readlinkSync(`/proc/${pid}/cwd`);
    } catch {
      // Gone, or not ours to look at.
    }
    const env = Object.fromEntries(variables.filter(([key]) => key !== '' && !isPrivate(key)));
    return { argv: words('cmdline'), env, cwd };
  }

  groupOf(target: Identity): number | null {
    const stat = readStat(target.pid);
    return stat === null || stat.startTime !== target.startTime ? null : stat.group;
  }

  signal(target: Identity, signal: NodeJS.Signals): boolean {
    return this.startTimeOf(target.pid) === target.startTime && kill(target.pid, signal);
  }

  signalGroup(leader: Identity, signal: NodeJS.Signals): boolean {
    return this.startTimeOf(leader.pid) === leader.startTime && kill(-leader.pid, signal);
  }
}
