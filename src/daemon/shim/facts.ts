/**
 * Facts in their order: each gets the next number, is kept until the daemon has it safe, and survives the shim's
 * orderly end in `<home>/shim.facts`. Numbers never repeat, whatever becomes of the shim or the clock.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fact } from './protocol.ts';

type Without<F, K extends PropertyKey> = F extends unknown ? Omit<F, K> : never;
export type NewFact = Without<Fact, 'seq' | 'at'>;

/** More than one shim can tell in its life. */
const seqsPerLife = 1_000_000_000;

export class FactBook {
  readonly #path: string;
  readonly #floorPath: string;
  #facts: Fact[] = [];
  #seq = 0;
  /** The last fact of an earlier shim: its file stays until that one is safe elsewhere. */
  #inherited: number | null = null;

  constructor(home: string) {
    this.#path = join(home, 'shim.facts');
    this.#floorPath = join(home, 'shim.seq');
  }

  /** Takes over what an earlier shim left untold, and a range of numbers above all earlier ones. */
  open(remark: (message: string) => void): void {
    const floor = Number(readText(this.#floorPath) ?? 0);
    const left = readText(this.#path);
    try {
      if (left !== null)
        this.#facts = left
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line) as Fact);
    } catch (error) {
      remark(`${this.#path} cannot be read (${String(error)}): what it told is lost. It is removed`);
    }
    const last = this.#facts.at(-1)?.seq ?? 0;
    this.#seq = Math.max(Date.now() * 1000, (Number.isSafeInteger(floor) ? floor : 0) + seqsPerLife, last);
    if (last > 0) this.#inherited = last;
    try {
      write(this.#floorPath, `${this.#seq}\n`);
      if (last === 0) rmSync(this.#path, { force: true });
    } catch (error) {
      remark(`cannot write in the home: ${String(error)}`);
    }
  }

  get seq(): number {
    return this.#seq;
  }
  get unacknowledged(): number {
    return this.#facts.length;
  }

  add(fact: NewFact): Fact {
    this.#seq += 1;
    const numbered = { ...fact, seq: this.#seq, at: Date.now() } as Fact;
    this.#facts.push(numbered);
    return numbered;
  }

  acknowledge(upTo: number): void {
    const first = this.#facts.findIndex(({ seq }) => seq > upTo);
    this.#facts = first === -1 ? [] : this.#facts.slice(first);
    if (this.#inherited === null || this.#inherited > upTo) return;
    this.#inherited = null;
    rmSync(this.#path, { force: true });
  }

  /** Kept facts beyond `seq`, the oldest first. */
  *after(seq: number): Generator<Fact> {
    let low = 0;
    let high = this.#facts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#facts[middle] as Fact).seq <= seq) low = middle + 1;
      else high = middle;
    }
    for (; low < this.#facts.length; low += 1) yield this.#facts[low] as Fact;
  }

  /** At the orderly end. */
  persist(): void {
    if (this.#facts.length === 0) return;
    write(this.#path, this.#facts.map((fact) => `${JSON.stringify(fact)}\n`).join(''));
  }
}

const write = (path: string, text: string): void => {
  const temporary = `${path}.${process.pid}`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, text, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(temporary, path);
};

const readText = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};
