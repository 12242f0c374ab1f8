/** A process of its own that takes the lock of a home at the moment it is told, says whether it has it, and lets it go. */
import { acquireLock, type Lock } from '../../src/daemon/instance.ts';

let lock: Lock | null = null;
process.on('message', (said: { readonly path: string; readonly at: number } | 'release') => {
  if (said === 'release') {
    lock?.release();
    lock = null;
    process.send?.('released');
    return;
  }
  // To the millisecond: nothing else would have two of them begin at once.
  while (Date.now() < said.at);
  lock = acquireLock({ lock: said.path });
  process.send?.(lock !== null);
});
