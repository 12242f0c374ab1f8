/** The daemon, its shim and what belongs to them, as /proc shows them: also where nobody answers. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Places } from '../../shared/paths.ts';
import { type Bounds, boundsOf } from '../../shared/resource-limits.ts';
import type { Limit, ProcessesFacts, ProcessFacts } from './facts.ts';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};

const stat = (pid: number): readonly string[] => {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
};

/** The C library's CLK_TCK; 100 on every Linux there is. */
const ticksPerSecond = 100;

const limitOf = (bounds: Bounds | undefined): Limit => {
  const number = (bound = Infinity) => (Number.isFinite(bound) ? bound : null);
  return { soft: number(bounds?.soft), hard: number(bounds?.hard) };
};

/** Both kinds of control groups, each with all that lie above it. */
export const groupsOf = (cgroup: string): readonly string[] => {
  const groups: string[] = [];
  for (const line of cgroup.split('\n')) {
    const [id, controllers = '', path = ''] = line.split(':');
    const root = id === '0' ? '/sys/fs/cgroup' : controllers === 'pids' ? '/sys/fs/cgroup/pids' : null;
    if (root === null || path === '') continue;
    for (let at = path; at !== '/' && at !== ''; at = at.slice(0, at.lastIndexOf('/'))) groups.push(`${root}${at}`);
  }
  return groups;
};

const tightestGroup = (pid: number): ProcessFacts['group'] => {
  let tightest: ProcessFacts['group'] = null;
  for (const path of groupsOf(read(`/proc/${pid}/cgroup`))) {
    const [max, now] = [Number(read(`${path}/pids.max`) || 'max'), Number(read(`${path}/pids.current`))];
    if (!Number.isFinite(max)) continue;
    if (tightest === null || max - now < tightest.max - tightest.now) tightest = { path, max, now };
  }
  return tightest;
};

const count = (directory: string): number | null => {
  try {
    return readdirSync(directory).length;
  } catch {
    return null;
  }
};

const factsOf = (pid: number): ProcessFacts | null => {
  const fields = stat(pid);
  if (fields.length < 20) return null;
  const limits = boundsOf(pid);
  let program: string | null = null;
  let uid = -1;
  try {
    uid = lstatSync(`/proc/${pid}`).uid;
    program = readlinkSync(`/proc/${pid}/exe`);
  } catch {
    // Somebody else's.
  }
  return {
    pid,
    uid,
    state: fields[0] ?? '?',
    startedAfterBootMs: (Number(fields[19]) / ticksPerSecond) * 1000,
    program: program?.replace(/ \(deleted\)$/, '') ?? null,
    programGone: program?.endsWith(' (deleted)') ?? false,
    openFiles: limitOf(limits.nofile),
    openedFiles: count(`/proc/${pid}/fd`),
    processes: limitOf(limits.nproc),
    group: tightestGroup(pid),
  };
};

const argvOf = (pid: number): readonly string[] => read(`/proc/${pid}/cmdline`).split('\0');

/** Where a daemon was told to listen, by its arguments or its environment. */
const socketOf = (pid: number): string | null => {
  const argv = argvOf(pid);
  const at = argv.indexOf('--socket');
  const told = at === -1 ? argv.find((word) => word.startsWith('--socket='))?.slice('--socket='.length) : argv[at + 1];
  const path = told ?? /(?:^|\0)WORKERD_SOCKET=([^\0]+)/.exec(read(`/proc/${pid}/environ`))?.[1];
  // A relative one is relative to a directory that the daemon has left.
  return path?.startsWith('/') ? path : null;
};

/** Who holds the exclusive lock of the home: `lock.db` is locked for as long as a daemon lives. */
const holderOf = (lock: string): number | null => {
  let ino: number;
  try {
    ino = lstatSync(lock).ino;
  } catch {
    return null;
  }
  for (const line of read('/proc/locks').split('\n')) {
    const [, pid, file] = /POSIX\s+ADVISORY\s+WRITE\s+(\d+)\s+\S+:\S+:(\d+)\s/.exec(line) ?? [];
    // The number alone could be of another disk's file.
    if (Number(file) === ino && argvOf(Number(pid)).some((word) => /workerd|daemon/.test(word))) return Number(pid);
  }
  return null;
};

const isShimOf = (argv: readonly string[], home: string): boolean =>
  argv.some((word) => word.endsWith('shim.cjs')) && resolve(argv[argv.indexOf('--home') + 1] ?? '') === home;

/** `isFar`: the home is on a network file system, and not touched. */
export const lookAtProcesses = (
  { lock, home }: Places,
  { uid, isFar }: { readonly uid: number; readonly isFar: boolean },
): ProcessesFacts => {
  const holder = isFar ? null : holderOf(lock);
  const daemon = holder === null ? null : factsOf(holder);
  const user = daemon?.uid ?? uid;
  const shims: ProcessFacts[] = [];
  const runs = new Set<string>();
  let threads = 0;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      if (lstatSync(`/proc/${name}`).uid === user) threads += Number(stat(pid)[17]) || 0;
    } catch {
      continue;
    }
    const state = stat(pid)[0];
    if (state === 'Z' || state === 'X') continue;
    const run = /(?:^|\0)WORKERD_RUN=([^\0]+)/.exec(read(`/proc/${pid}/environ`))?.[1];
    if (run !== undefined) runs.add(run);
    const facts = isShimOf(argvOf(pid), resolve(home)) ? factsOf(pid) : null;
    if (facts !== null) shims.push(facts);
  }
  const daemonSocket = holder === null ? null : socketOf(holder);
  return { daemon, daemonSocket, shims, runs, threads };
};
