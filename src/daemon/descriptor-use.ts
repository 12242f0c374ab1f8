/** How many descriptors this process may have, and has. */
import { closeSync, openSync } from 'node:fs';
import { boundsOf } from '../shared/resource-limits.ts';

/** How many files this process may have open; Node has raised its soft limit to the hard one. `null`: not known. */
export const openFilesLimit = (): number | null => {
  const soft = boundsOf('self').nofile?.soft ?? Infinity;
  return Number.isFinite(soft) ? soft : null;
};

/** The kernel gives the lowest number that is free: all below it are in use. `null`: there is none to be had. */
export const lowestDescriptor = (): number | null => {
  try {
    const descriptor = openSync('/dev/null', 'r');
    closeSync(descriptor);
    return descriptor;
  } catch (error) {
    return ['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException).code ?? '') ? null : 0;
  }
};
