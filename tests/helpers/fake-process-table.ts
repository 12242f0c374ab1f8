/** A process table in memory: processes that are put into it, and a book of every signal sent through it. */
import type { Identity, KnownLeftover } from '../../src/daemon/core/model.ts';
import type { Look, ProcessTable, SweepTarget } from '../../src/daemon/ports.ts';

export interface FakeProcess extends KnownLeftover {
  readonly group: number;
  /** The run whose marker it carries. */
  readonly run: string | null;
  readonly parent: number;
  /** Ends on this; SIGKILL always ends it, unless it is in state D. */
  readonly endsOn: readonly NodeJS.Signals[];
  /** It is there, and nothing can be read of it. */
  readonly unreadable?: boolean;
}

export class FakeProcessTable implements ProcessTable {
  readonly bootId = 'boot';
  readonly processes = new Map<number, FakeProcess>();
  readonly signals: { readonly pid: number; readonly signal: NodeJS.Signals }[] = [];
  sweeps = 0;

  put(process: Partial<FakeProcess> & { readonly pid: number }): void {
    const made = { startTime: 100, command: 'sleeper', group: process.pid, run: null, parent: 1 };
    this.processes.set(process.pid, { ...made, endsOn: ['SIGTERM', 'SIGKILL'], ...process });
  }

  end(pid: number): void {
    this.processes.delete(pid);
  }

  lookOf(): Look {
    return { argv: [], env: {}, cwd: '/' };
  }

  mark(): null {
    return null;
  }

  startTimeOf(pid: number): number | null | 'unknown' {
    const process = this.processes.get(pid);
    return process?.unreadable === true ? 'unknown' : (process?.startTime ?? null);
  }

  sweep(targets: readonly SweepTarget[]): ReadonlyMap<string, readonly KnownLeftover[]> {
    this.sweeps += 1;
    return new Map(targets.map((target) => [target.run, this.#of(target)]));
  }

  #of({ run, group, also }: SweepTarget): readonly KnownLeftover[] {
    const byTree = (process: FakeProcess) =>
      also.some(({ pid, startTime }) => pid === process.pid && startTime === process.startTime);
    return [...this.processes.values()]
      .filter(({ unreadable }) => unreadable !== true)
      .filter((process) => process.run === run || process.group === group || byTree(process))
      .map(({ pid, startTime, command }) => ({ pid, startTime, command }));
  }

  descendants({ pid, startTime }: Identity): readonly Identity[] {
    if (this.startTimeOf(pid) !== startTime) return [];
    const children = [...this.processes.values()].filter(({ parent }) => parent === pid);
    return children.flatMap((child) => [{ pid: child.pid, startTime: child.startTime }, ...this.descendants(child)]);
  }

  openedBy(): readonly string[] {
    return [];
  }

  stateOf({ pid, startTime }: Identity): string | null {
    const process = this.processes.get(pid);
    return process?.startTime === startTime && !process.unreadable ? (process.state ?? 'S') : null;
  }

  groupOf({ pid, startTime }: Identity): number | null {
    const process = this.processes.get(pid);
    return process?.startTime === startTime ? process.group : null;
  }

  signalGroup(leader: Identity, signal: NodeJS.Signals): boolean {
    if (this.startTimeOf(leader.pid) !== leader.startTime) return false;
    for (const { pid, startTime, group } of [...this.processes.values()]) {
      if (group === leader.pid) this.signal({ pid, startTime }, signal);
    }
    return true;
  }

  signal({ pid, startTime }: Identity, signal: NodeJS.Signals): boolean {
    const process = this.processes.get(pid);
    if (process?.startTime !== startTime || process.unreadable === true) return false;
    this.signals.push({ pid, signal });
    if (process.state === 'D') return true;
    if (signal === 'SIGKILL' || process.endsOn.includes(signal)) this.end(pid);
    return true;
  }
}
