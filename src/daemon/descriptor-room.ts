/**
 * How many descriptors this process may hold, and when the last ones are reached. The kernel gives the lowest number
 * that is free: the number of one just opened says, at no cost, how many are in use.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';

/** Kept for the daemon's own work (looking at /proc, reading logs, a new shim): no connection gets these. */
const reserved = 6;
/** Of those, the ones that are not even lent to a connection for as long as it takes to refuse it in words. */
const untouched = 3;

/** Node raises its soft limit to the hard one when it starts. */
const softLimit = (): number => {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
};

export class DescriptorRoom {
  readonly limit: number;

  constructor(limit = softLimit()) {
    this.limit = limit;
  }

  /** A connection with this descriptor would leave too few. */
  isScarce(socket: Socket): boolean {
    return numberOf(socket) >= this.limit - reserved;
  }

  isGone(socket: Socket): boolean {
    return numberOf(socket) >= this.limit - untouched;
  }
}

/** Node tells it of a handle, without a word in its manual; where it does not, room is taken to be there. */
const numberOf = (socket: Socket): number => {
  const { _handle: handle } = socket as { _handle?: { fd?: unknown } | null };
  return typeof handle?.fd === 'number' ? handle.fd : -1;
};
