/**
 * CPU and memory of a worker's process tree, read when somebody asks and at no other time. CPU is the share of one
 * core since the last look (the first one: since the run began).
 */
import type { Usage } from './core/view.ts';
import { childrenOf, readProc, readStat } from './proc.ts';

/** USER_HZ: what /proc counts in, 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;
const pageBytes = 4096;
/** Two looks closer than this share one reading: a rate over less is noise. */
const freshMs = 500;

interface Look {
  readonly atMono: number;
  /** Since boot, as /proc counts. */
  readonly atMs: number;
  readonly ticks: number;
  readonly usage: Usage;
}

const uptimeMs = (): number => Number(readProc('/proc/uptime', true)?.toString('latin1').split(' ')[0] ?? 0) * 1000;

export class UsageReader {
  readonly #looks = new Map<string, Look>();

  /** `null` where the process is gone. */
  read(run: string, pid: number, startTime: number): Usage | null {
    const atMono = performance.now();
    const before = this.#looks.get(run);
    if (before !== undefined && atMono - before.atMono < freshMs) return before.usage;
    const sum = looked(pid, startTime);
    if (sum === null) {
      this.#looks.delete(run);
      return null;
    }
    const { nowMs } = sum;
    const sinceMs = before?.atMs ?? (startTime / ticksPerSecond) * 1000;
    const ticks = Math.max(0, sum.ticks - (before?.ticks ?? 0));
    const elapsedMs = Math.max(10, nowMs - sinceMs);
    const cpuPercent = Math.round(((ticks / ticksPerSecond) * 1000 * 1000) / elapsedMs) / 10;
    const usage = { cpuPercent, memoryBytes: sum.bytes };
    this.#looks.set(run, { atMono, atMs: nowMs, ticks: sum.ticks, usage });
    return usage;
  }

  forget(run: string): void {
    this.#looks.delete(run);
  }
}

/** Without a descriptor to look with it is unknown. */
const looked = (pid: number, startTime: number) => {
  try {
    const sum = sumTree(pid, startTime);
    return sum === null ? null : { ...sum, nowMs: uptimeMs() };
  } catch {
    return null;
  }
};

const sumTree = (root: number, startTime: number): { ticks: number; bytes: number } | null => {
  const leader = readStat(root);
  if (leader === null || leader.startTime !== startTime) return null;
  let ticks = leader.cpuTicks;
  let pages = leader.residentPages;
  const queue = [...childrenOf(leader)];
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    const stat = readStat(pid);
    if (stat === null) continue;
    ticks += stat.cpuTicks;
    pages += stat.residentPages;
    queue.push(...childrenOf(stat));
  }
  return { ticks, bytes: pages * pageBytes };
};
