/**
 * The processes of this machine: who is alive, who belongs to a run (its process group, its marker in the environment, its
 * tree), and signals only for whom has just been proven to be the one meant.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { isPrivate } from '../shared/environment.ts';
import { readBootId } from '../shared/since-boot.ts';
import type { Identity, KnownLeftover } from './core/model.ts';
import type { Look, ProcessMark, ProcessTable, SweepTarget } from './ports.ts';
import {
  childrenOf,
  commandOf,
  isGone,
  listPids,
  numberIn,
  type ProcessStat,
  placeOf,
  readProc,
  readStat,
  runOf,
  stateIn,
} from './proc.ts';

const kill = (pid: number, signal: NodeJS.Signals): boolean => {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
};

/** Pids that are in use are passed over; more than this are not in use at once where this is relied on. */
const passedOver = 4096;
/** On a machine that forks without pause, looking has to end all the same. */
const mostLists = 10;

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
    for (const { mark, group } of targets) {
      if (mark === null || now === null || this.#maxPid === null) return 0;
      if (mark.lastPid + (now.forks - mark.forks) + passedOver >= this.#maxPid) return 0;
      // Whoever brings processes back with the pids that they had (ns_last_pid) sets the order back.
      if (now.lastPid < mark.lastPid || (group !== null && group <= mark.lastPid)) return 0;
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
    for (const pid of this.#each(oldestPid)) {
      const stat = readStat(pid);
      if (stat === null || isGone(stat) || stat.startTime < since || pid === process.pid) continue;
      const run = this.#belongsTo(stat, groups, byTree, found);
      if (run !== null) found.get(run)?.push({ pid, startTime: stat.startTime, command: commandOf(stat) });
    }
    return found;
  }

  /**
   * Every process above that pid, those made meanwhile as well: one that forks and leaves between being listed and being
   * looked at would hide its child.
   */
  *#each(oldestPid: number): Generator<number> {
    const seen = new Set<number>();
    for (let list = 1; list <= mostLists; list += 1) {
      const forks = this.mark()?.forks ?? null;
      const fresh = listPids().filter((pid) => pid > oldestPid && !seen.has(pid));
      for (const pid of fresh) {
        seen.add(pid);
        yield pid;
      }
      if (fresh.length === 0 || (forks !== null && this.mark()?.forks === forks)) return;
    }
  }

  #belongsTo(
    stat: ProcessStat,
    groups: ReadonlyMap<number, { run: string; until: number }>,
    byTree: ReadonlyMap<number, { run: string; startTime: number }>,
    wanted: ReadonlyMap<string, unknown>,
  ): string | null {
    const marked = runOf(stat);
    if (marked !== null) return wanted.has(marked) ? marked : null;
    const tree = byTree.get(stat.pid);
    if (tree !== undefined && tree.startTime === stat.startTime) return tree.run;
    const group = groups.get(stat.group);
    return group !== undefined && stat.startTime <= group.until ? group.run : null;
  }

  descendants(target: Identity): readonly Identity[] {
    const found: Identity[] = [];
    const root = readStat(target.pid);
    const queue = root === null || root.startTime !== target.startTime ? [] : [...childrenOf(root)];
    const seen = new Set<number>([target.pid]);
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

  openedBy(pid: number): readonly string[] {
    try {
      return readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
        try {
          return [readlinkSync(`/proc/${pid}/fd/${descriptor}`)];
        } catch {
          return [];
        }
      });
    } catch {
      return [];
    }
  }

  stateOf(target: Identity): string | null {
    const stat = readStat(target.pid);
    if (stat === null || stat.startTime !== target.startTime || isGone(stat)) return null;
    return stateIn(placeOf(stat));
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
