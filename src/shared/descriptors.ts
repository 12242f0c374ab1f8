/** Lets go of what a process inherited and nobody meant it to have. */
import { closeSync, readdirSync, readFileSync } from 'node:fs';

const closeOnExec = 0o2000000;

/**
 * Closes every descriptor above 2 that was inherited: Node opens its own with close-on-exec, and marks 3 to 15 at its
 * start, so that an open one without that flag is somebody else's (a shell's `$(…)`, an editor, a cron job).
 */
export const closeInherited = (keep: number | undefined): void => {
  let names: readonly string[];
  try {
    names = readdirSync('/proc/self/fdinfo');
  } catch {
    return;
  }
  for (const fd of names.map(Number)) {
    if (fd <= 2 || fd === keep) continue;
    try {
      const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
      if (flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0) closeSync(fd);
    } catch {
      // Closed since it was listed.
    }
  }
};
