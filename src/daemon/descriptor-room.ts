/**
 * How many descriptors this process may hold, and when the last ones are reached. The kernel gives the lowest number
 * that is free: the number of one just opened says, at no cost, how many are in use.
 */
import type { Socket } from 'node:net';
import { openFilesLimit } from './descriptor-use.ts';

/** Kept for the daemon's own work (looking at /proc, reading logs, a new shim): no connection gets these. */
const reserved = 6;
/** Of those, the ones that are not even lent to a connection for as long as it takes to refuse it in words. */
const untouched = 3;

export class DescriptorRoom {
  readonly limit: number;

  constructor(limit = openFilesLimit() ?? Number.POSITIVE_INFINITY) {
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
