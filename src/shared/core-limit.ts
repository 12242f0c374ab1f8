/**
 * Core dumps of daemon and shim would hold the environments of all workers: both run without, and workers get the
 * limit back that their starter had.
 */

import { boundsOf } from './resource-limits.ts';

/** As `prlimit` takes it: bytes, or `unlimited`. `null`: there would be no dump as it is, or it cannot be known. */
export const coreLimit = (): string | null => {
  const soft = boundsOf('self').core?.soft ?? 0;
  if (soft === 0) return null;
  return Number.isFinite(soft) ? String(soft) : 'unlimited';
};

/** By its path: a PATH is somebody's, and may lead anywhere. */
const prlimit = (): string | undefined => {
  const { existsSync } = process.getBuiltinModule('node:fs');
  return ['/usr/bin', '/bin', '/usr/local/bin'].map((place) => `${place}/prlimit`).find((path) => existsSync(path));
};

/** From now on; Node itself cannot. What it was before; `null`: that is as it was. */
export const withoutCoreDumps = (): string | null => {
  const before = coreLimit();
  const program = prlimit();
  if (before === null || program === undefined) return null;
  const { execFileSync } = process.getBuiltinModule('node:child_process');
  try {
    execFileSync(program, ['--pid', String(process.pid), '--core=0:'], { stdio: 'ignore', env: {} });
    return before;
  } catch {
    return null;
  }
};

/** Put before a program that is to have this limit; nothing where it has it anyway. */
export const underCoreLimit = (limit: string | null): readonly string[] => {
  const program = limit === null ? undefined : prlimit();
  return program === undefined ? [] : [program, `--core=${limit}:`, '--'];
};
