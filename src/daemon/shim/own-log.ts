/**
 * What the shim says by itself: plain lines on stderr. Where that is the home's `shim.log` it is kept bounded: a shim lives
 * for as long as there are workers, and they bring lines about (a log that is deleted again and again).
 */
import { copyFileSync, fstatSync, ftruncateSync, rmSync, statSync, writeSync } from 'node:fs';

export const maxOwnLogBytes = 10 * 1024 * 1024;

export class OwnLog {
  readonly #file: string;
  readonly #descriptor: number;
  #bytes: number | null;

  constructor(file: string, descriptor = 2) {
    this.#file = file;
    this.#descriptor = descriptor;
    this.#bytes = this.#size();
  }

  /** Never throws: a full disk or a closed descriptor is no reason to end. */
  say(line: string): void {
    try {
      if (this.#bytes !== null && this.#bytes > maxOwnLogBytes) this.#beginAnew();
      const written = writeSync(this.#descriptor, line);
      if (this.#bytes !== null) this.#bytes += written;
    } catch {
      // Nobody to tell.
    }
  }

  /** `null`: it is another's, such as a service manager's, who looks after it. */
  #size(): number | null {
    try {
      const [open, named] = [fstatSync(this.#descriptor), statSync(this.#file)];
      return open.isFile() && open.dev === named.dev && open.ino === named.ino ? open.size : null;
    } catch {
      return null;
    }
  }

  /** In place, as the runtime has the same descriptor for its own last words; what was is beside it, if there is room. */
  #beginAnew(): void {
    const before = `${this.#file}.1`;
    try {
      rmSync(before, { force: true });
      copyFileSync(this.#file, before);
    } catch {
      // Then it is lost.
    }
    ftruncateSync(this.#descriptor);
    this.#bytes = 0;
  }
}
