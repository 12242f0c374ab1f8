/** All facts, in an order in which each look knows what it must keep off. */
import { dirname } from 'node:path';
import { isNetwork } from '../../shared/mounts.ts';
import { resolvePlaces } from '../../shared/paths.ts';
import type { Context } from '../context.ts';
import { version } from '../version.ts';
import { type Facts, isEntry, type Reach } from './facts.ts';
import { lookAtClock, lookAtUnits, lookForPrograms } from './look-around.ts';
import { reachDaemon } from './look-daemon.ts';
import { homeUnseen, lookAtHome, mountOfHome } from './look-files.ts';
import { lookAtProcesses } from './look-processes.ts';

export const gather = async (context: Context): Promise<Facts> => {
  const { places, io } = context;
  const program = io.daemonProgram();
  const mount = mountOfHome(places);
  const isFar = mount !== null && isNetwork(mount);
  const processes = lookAtProcesses(places, { uid: io.uid, isFar });
  const home = isFar ? homeUnseen(places, mount) : lookAtHome(places, mount, processes.daemon !== null);
  // One that is stopped by a signal cannot answer: that need not be waited for.
  const reach: Reach = isFar
    ? { kind: 'absent', stale: false }
    : processes.daemon?.state === 'T'
      ? { kind: 'silent', why: 'stopped by a signal' }
      : await reachDaemon(places);
  const units = isDefault(context) || home.serviceMark ? await lookAtUnits(io.uid, io.env) : [];
  const owners = [home.home, home.socket, ...home.files, ...home.parents].filter(isEntry).map(({ uid }) => uid);
  return {
    uid: io.uid,
    userNames: await namesOf([...owners, io.uid]),
    cli: { version, node: process.version, program },
    places,
    asked: { home: context.home, socket: context.socket },
    env: io.env,
    home,
    reach,
    processes,
    clock: lookAtClock(),
    programs: lookForPrograms(io.env['PATH'], dirname(program)),
    units,
  };
};

/** The units run the daemon of the default home; of another home they say nothing. */
const isDefault = ({ places, io }: Context): boolean => {
  try {
    const { HOME, XDG_STATE_HOME } = io.env;
    return resolvePlaces({ env: { HOME, XDG_STATE_HOME }, uid: io.uid }).home === places.home;
  } catch {
    return false;
  }
};

const namesOf = async (uids: readonly number[]): Promise<ReadonlyMap<number, string>> => {
  const wanted = new Set(uids);
  const names = new Map<number, string>();
  try {
    const { readFile } = process.getBuiltinModule('node:fs/promises');
    for (const line of (await readFile('/etc/passwd', 'utf8')).split('\n')) {
      const [name = '', , uid = ''] = line.split(':');
      if (uid !== '' && wanted.has(Number(uid)) && !names.has(Number(uid))) names.set(Number(uid), name);
    }
  } catch {
    // Numbers do as well.
  }
  return names;
};
