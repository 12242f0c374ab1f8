/** The shim is killed, and no other can start. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CrashBox } from './crash-box.ts';
import { eventually } from './eventually.ts';

/** Its socket cannot be bound while a directory lies under that name. Gives back what lets another start. */
export const takeShimAway = async (box: CrashBox): Promise<() => void> => {
  const socket = join(box.home, 'shim.sock');
  const shim = box.shimPid;
  // It would put its socket back.
  process.kill(shim, 'SIGSTOP');
  rmSync(socket);
  mkdirSync(join(socket, 'in the way'), { recursive: true });
  process.kill(shim, 'SIGKILL');
  await eventually(() => box.said().includes('the shim is gone'), { what: 'the daemon has lost its shim' });
  return () => rmSync(socket, { recursive: true });
};
