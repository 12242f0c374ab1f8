/** The daemon of one home, its shim, its workers: as the process table shows them, and how they are disturbed. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { eventually } from '../helpers/eventually.ts';
import type { Sandbox } from '../helpers/sandbox.ts';

export interface Proc {
  readonly pid: number;
  readonly ppid: number;
  readonly state: string;
  readonly command: string;
  /** Its WORKERD_RUN, if any. */
  readonly run: string | null;
  readonly name: string | null;
  readonly generation: number | null;
}

const read = (path: string): string | null => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
};

const variable = (environ: string, key: string): string | null => {
  const begin = environ.startsWith(`${key}=`) ? 0 : environ.indexOf(`\0${key}=`) + 1;
  if (begin === 0 && !environ.startsWith(`${key}=`)) return null;
  const end = environ.indexOf('\0', begin);
  return environ.slice(begin + key.length + 1, end === -1 ? undefined : end);
};

export const statOf = (pid: number): { readonly state: string; readonly ppid: number } | null => {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === null) return null;
  const [state = '', ppid = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state, ppid: Number(ppid) };
};

export class World {
  readonly box: Sandbox;

  constructor(box: Sandbox) {
    this.box = box;
  }

  /** Processes that carry the marker of a run of this home. */
  marked(): readonly Proc[] {
    const found: Proc[] = [];
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const environ = read(`/proc/${entry}/environ`);
      if (environ === null || !environ.includes(this.box.home)) continue;
      const run = variable(environ, 'WORKERD_RUN');
      if (run === null || variable(environ, 'WORKERD_HOME') !== this.box.home) continue;
      const stat = statOf(Number(entry));
      if (stat === null || stat.state === 'Z') continue;
      const generation = variable(environ, 'WORKERD_GENERATION');
      found.push({
        pid: Number(entry),
        ...stat,
        command: (read(`/proc/${entry}/cmdline`) ?? '').replaceAll('\0', ' ').trim(),
        run,
        name: variable(environ, 'WORKERD_NAME'),
        generation: generation === null ? null : Number(generation),
      });
    }
    return found;
  }

  /** The run of a process, looked up right before it is signalled. */
  runOf(pid: number): string | null {
    const environ = read(`/proc/${pid}/environ`);
    if (environ === null || variable(environ, 'WORKERD_HOME') !== this.box.home) return null;
    return variable(environ, 'WORKERD_RUN');
  }

  #programs(word: string): readonly number[] {
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .filter((entry) => {
        const words = (read(`/proc/${entry}/cmdline`) ?? '').split('\0');
        // What runs `sh -c '"$@"' … workerd.cjs` is only on the way to it.
        if (words[0]?.endsWith('sh') === true || !words.includes(this.box.home)) return false;
        return words.some((each) => each.endsWith(`/${word}`)) && statOf(Number(entry))?.state !== 'Z';
      })
      .map(Number);
  }

  /** All that are there, also one that has only just been started. */
  daemons(): readonly number[] {
    return this.#programs('workerd.cjs');
  }

  shims(): readonly number[] {
    return this.#programs('shim.cjs');
  }

  /** Returns when it answers; in how many ms. */
  async start(): Promise<number> {
    const began = performance.now();
    await this.box.startDaemon();
    return performance.now() - began;
  }

  async theDaemon(): Promise<number> {
    return eventually(() => this.daemons().length === 1 && this.daemons()[0], { what: 'one daemon', withinMs: 20_000 });
  }

  async theShim(): Promise<number> {
    return eventually(() => this.shims().length === 1 && this.shims()[0], { what: 'one shim', withinMs: 20_000 });
  }

  /** Dead children that daemon or shim have not fetched. */
  zombies(): readonly number[] {
    const parents = new Set([...this.daemons(), ...this.shims()]);
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number)
      .filter((pid) => {
        const stat = statOf(pid);
        return stat?.state === 'Z' && parents.has(stat.ppid);
      });
  }
}

export const signal = (pid: number, name: NodeJS.Signals): boolean => {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
};

export const descriptors = (pid: number): readonly string[] => {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((entry) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${entry}`);
      } catch {
        return 'closed meanwhile';
      }
    });
  } catch {
    return [];
  }
};

/** Resident memory that is its own, in KiB. */
export const residentKib = (pid: number): number =>
  Number(/^RssAnon:\s+(\d+)/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? Number.NaN);
