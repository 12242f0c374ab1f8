/**
 * Idle, non-reading descriptors on the FIFOs of every live run: a pipe that somebody holds keeps its bytes, so that not
 * even what a worker wrote that ends while no shim is there vanishes.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { type Places, runDirectory } from '../shared/paths.ts';
import { fifoNames } from './shim/protocol.ts';

const kept = [fifoNames.out, fifoNames.err, fifoNames.up, fifoNames.down];

export class FifoKeeper {
  readonly #places: Places;
  readonly #held = new Map<string, readonly number[]>();

  constructor(places: Places) {
    this.#places = places;
  }

  hold(run: string): void {
    if (this.#held.has(run)) return;
    const descriptors: number[] = [];
    for (const name of kept) {
      try {
        const path = join(runDirectory(this.#places, run), name);
        descriptors.push(openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW));
      } catch {
        // No descriptor to be had, or the run is gone already: then there is nothing to keep for it.
      }
    }
    this.#held.set(run, descriptors);
  }

  release(run: string): void {
    for (const descriptor of this.#held.get(run) ?? []) closeSync(descriptor);
    this.#held.delete(run);
  }

  close(): void {
    for (const run of [...this.#held.keys()]) this.release(run);
  }
}
