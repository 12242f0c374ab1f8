/** Somebody else on this machine: programs run as a uid that nobody has. Only root can. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { dist } from './sandbox.ts';

export const otherUid = 12_345;

const asOther = ['--reuid', String(otherUid), '--regid', String(otherUid), '--clear-groups', '--'];

/** As argv to be put before a program. */
export const otherUser: readonly string[] = ['setpriv', ...asOther];

/** Found where everybody may look: what is on our own PATH may lie in our home. */
const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' };

export const runAsOther = (argv: readonly string[], input = ''): SpawnSyncReturns<string> =>
  spawnSync('setpriv', [...asOther, ...argv], { encoding: 'utf8', input, cwd: '/', env, timeout: 30_000 });

const runs = (...argv: string[]): boolean => process.getuid?.() === 0 && runAsOther(argv).status === 0;

/** Root, `setpriv` and `python3`: without one of them nobody else can be played. */
export const canBeOther = runs('python3', '-c', '');
/** The programs of this clone, too, lie where everybody may go. */
export const canRunOurs = canBeOther && runs(process.execPath, join(dist, 'workerctl.cjs'), '--version');
