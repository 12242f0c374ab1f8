/** What daemon and shim use, looked at every so often for a long time, and how fast it grows. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { descriptors, residentKib, type World } from './world.ts';

export interface Sample {
  readonly atMs: number;
  readonly pid: number;
  readonly residentKib: number;
  readonly descriptors: number;
}

export type Program = 'daemon' | 'shim';

/** KiB a minute by least squares. */
export const slopePerMinute = (samples: readonly Sample[]): number => {
  if (samples.length < 3) return 0;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const minutes = samples.map(({ atMs }) => atMs / 60_000);
  const sizes = samples.map((sample) => sample.residentKib);
  const [middleTime, middleSize] = [mean(minutes), mean(sizes)];
  let [both, square] = [0, 0];
  for (const [index, minute] of minutes.entries()) {
    both += (minute - middleTime) * ((sizes[index] ?? 0) - middleSize);
    square += (minute - middleTime) ** 2;
  }
  return square === 0 ? 0 : both / square;
};

const bytesBelow = (directory: string): number => {
  let sum = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    try {
      if (entry.isFile() && entry.name.endsWith('.log')) sum += statSync(join(entry.parentPath, entry.name)).size;
    } catch {
      // Rotated away meanwhile.
    }
  }
  return sum;
};

export class Samples {
  readonly of: Record<Program, Sample[]> = { daemon: [], shim: [] };
  mostLogBytes = 0;
  /** The most that stayed one for longer than a second. */
  zombies = 0;
  readonly #world: World;
  readonly #timer: NodeJS.Timeout;
  readonly #began = performance.now();
  #zombies: ReadonlySet<number> = new Set();

  constructor(world: World, everyMs: number) {
    this.#world = world;
    this.#timer = setInterval(() => this.take(), everyMs);
  }

  take(): void {
    for (const [program, [pid]] of [
      ['daemon', this.#world.daemons()],
      ['shim', this.#world.shims()],
    ] as const) {
      const kib = pid === undefined ? Number.NaN : residentKib(pid);
      if (pid === undefined || Number.isNaN(kib)) continue;
      this.of[program].push({
        atMs: performance.now() - this.#began,
        pid,
        residentKib: kib,
        descriptors: descriptors(pid).length,
      });
    }
    const zombies = new Set(this.#world.zombies());
    this.zombies = Math.max(this.zombies, [...zombies].filter((pid) => this.#zombies.has(pid)).length);
    this.#zombies = zombies;
    try {
      this.mostLogBytes = Math.max(this.mostLogBytes, bytesBelow(join(this.#world.box.home, 'logs')));
    } catch {
      // A worker was removed while we looked.
    }
  }

  /** After a time of warming up; of the process that lived longest. */
  slope(program: Program, warmUpMs: number): { readonly kibPerMinute: number; readonly minutes: number } {
    const lives = new Map<number, Sample[]>();
    for (const sample of this.of[program]) lives.set(sample.pid, [...(lives.get(sample.pid) ?? []), sample]);
    const longest = [...lives.values()].sort((left, right) => right.length - left.length)[0] ?? [];
    const since = (longest[0]?.atMs ?? 0) + warmUpMs;
    const warm = longest.filter(({ atMs }) => atMs >= since);
    const minutes = ((warm.at(-1)?.atMs ?? 0) - (warm[0]?.atMs ?? 0)) / 60_000;
    return { kibPerMinute: slopePerMinute(warm), minutes };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
