/** The home: whose it is, who else could touch it, what is in it that should not be. Pure: facts in, lines out. */
import { basename, join } from 'node:path';
import { limits } from '../../shared/limits.ts';
import { temporarySocketPath } from '../../shared/paths.ts';
import { oneLine, timeText } from '../render/text.ts';
import { type Check, counted, fail, few, ok, orOk, shellWord, warn } from './check.ts';
import { type Entry, type Facts, isEntry, type Seen } from './facts.ts';

const octal = (mode: number): string => `0${(mode & 0o7777).toString(8).padStart(3, '0')}`;

const who = ({ userNames }: Facts, uid: number): string => {
  const name = userNames.get(uid);
  return name === undefined ? `uid ${uid}` : `${oneLine(name)} (uid ${uid})`;
};

/** Whose home it has to be: the living daemon's user, else ours, who would start one. */
const ownerOf = ({ processes, uid }: Facts): number => processes.daemon?.uid ?? uid;

const another = 'choose another home with --home or WORKERD_HOME';

/** A directory of ours alone. */
const directoryFaults = (facts: Facts, name: string, seen: Seen): readonly Check[] => {
  const { path } = seen;
  const word = shellWord(path);
  if (!isEntry(seen)) {
    return seen.error === 'ENOENT'
      ? []
      : [fail(name, `${path} cannot be looked at (${seen.error})`, `See who may: namei -l ${word}; or ${another}`)];
  }
  const owner = ownerOf(facts);
  if (seen.kind === 'link')
    return [fail(name, `${path} is a symbolic link`, `Name the real directory: readlink -f ${word}; or ${another}`)];
  if (seen.kind !== 'directory') return [fail(name, `${path} is no directory`, `Move it away, or ${another}`)];
  const faults: Check[] = [];
  if (seen.uid !== owner) {
    const theirs = owner === facts.uid ? 'you' : who(facts, owner);
    faults.push(
      fail(
        name,
        `${path} belongs to ${who(facts, seen.uid)}, not to ${theirs}: a daemon of ${theirs} refuses it`,
        `Use it as its owner: sudo -u '#${seen.uid}' workerctl --home ${word} …; or ${another}`,
      ),
    );
  }
  if ((seen.mode & 0o077) !== 0) {
    faults.push(
      fail(name, `${path} has mode ${octal(seen.mode)} and is open to others`, `Close it: chmod 700 ${word}`),
    );
  }
  if ((seen.mode & 0o700) !== 0o700) {
    faults.push(
      fail(name, `${path} has mode ${octal(seen.mode)}: its owner cannot write in it`, `Allow it: chmod 700 ${word}`),
    );
  }
  return faults;
};

export const checkHome = (facts: Facts): readonly Check[] => {
  const { home } = facts.home;
  if (!isEntry(home) && home.error === 'not looked at') return [];
  if (!isEntry(home) && home.error === 'ENOENT') {
    return [ok('home', `${home.path} is not there yet; the first start makes it`)];
  }
  const well = `${home.path}, mode 0700, belongs to ${who(facts, ownerOf(facts))}`;
  return orOk(directoryFaults(facts, 'home', home), ok('home', well));
};

/** Who can write in a directory can put another home in the place of ours. */
export const checkParents = (facts: Facts): readonly Check[] => {
  const owner = ownerOf(facts);
  const faults = facts.home.parents.flatMap(({ path, uid, mode }) => {
    const word = shellWord(path);
    if (uid !== 0 && uid !== owner) {
      return [
        fail(
          'parents',
          `${path} belongs to ${who(facts, uid)}, who could put another home in the place of ours`,
          `Use a home elsewhere: ${another}`,
        ),
      ];
    }
    if ((mode & 0o022) === 0 || (mode & 0o1000) !== 0) return [];
    const advice = path === '/' ? `Restore it: chmod 755 /` : `Close it: chmod go-w ${word}; or ${another}`;
    return [
      fail('parents', `${path} has mode ${octal(mode)}: others could put another home in the place of ours`, advice),
    ];
  });
  if (facts.home.parents.length === 0) return [];
  return orOk(faults, ok('parents', `nobody else can write in the ${facts.home.parents.length} directories above`));
};

/** Directories in the home that only ours may enter, and files that only ours may open. */
export const checkFiles = (facts: Facts): readonly Check[] => {
  const { home, files } = facts.home;
  if (!isEntry(home) || home.kind !== 'directory') return [];
  const entries = files.filter(isEntry);
  const owner = ownerOf(facts);
  const faults = entries.flatMap((entry): readonly Check[] => {
    const { path, kind, uid, mode, links } = entry;
    const word = shellWord(path);
    if (kind === 'link')
      return [
        fail(
          'files',
          `${path} is a symbolic link: what is written there goes elsewhere`,
          `See where to: ls -l ${word}; if nobody needs it: rm ${word}`,
        ),
      ];
    if (kind === 'file' && links > 1) {
      return [
        fail(
          'files',
          `${path} has another name too (${links} hard links): somebody else could write to it`,
          `See which: find / -xdev -samefile ${word}`,
        ),
      ];
    }
    if (uid !== owner) {
      const fix = facts.uid === 0 ? `Give it back: chown ${owner} ${word}` : `As root: chown ${owner} ${word}`;
      return [fail('files', `${path} belongs to ${who(facts, uid)}, not to ${who(facts, owner)}`, fix)];
    }
    if ((mode & 0o077) !== 0)
      return [fail('files', `${path} has mode ${octal(mode)} and is open to others`, `Close it: chmod go-rwx ${word}`)];
    const needed = kind === 'directory' ? 0o700 : 0o600;
    if (kind !== 'socket' && (mode & needed) !== needed) {
      return [
        fail(
          'files',
          `${path} has mode ${octal(mode)}: the daemon cannot write to it`,
          `Allow it: chmod ${kind === 'directory' ? 'u+rwx' : 'u+rw'} ${word}`,
        ),
      ];
    }
    return [];
  });
  return orOk(shortened(faults), ok('files', `${counted(entries.length, 'name')} in it, each closed to others`));
};

const mostFaults = 6;
/** A whole tree that was copied with the wrong modes is one fault, not a thousand. */
const shortened = (faults: readonly Check[]): readonly Check[] => {
  const rest = faults.slice(mostFaults);
  if (rest.length === 0) return faults;
  const more = fail('files', `${rest.length} more like these`, 'Mend those above, then run doctor again');
  return [...faults.slice(0, mostFaults), more];
};

export const checkSocket = (facts: Facts): readonly Check[] => {
  const { places, home } = facts;
  const { socket } = home;
  const { maxSocketPathBytes } = limits;
  const longest = Math.max(
    ...[places.socket, places.shimSocket, temporarySocketPath(places.socket, '000000')].map((path) =>
      Buffer.byteLength(path),
    ),
  );
  if (longest > maxSocketPathBytes) {
    return [
      fail(
        'socket',
        `its path is too long: ${longest} bytes, at most ${maxSocketPathBytes} can be used (${places.socket})`,
        'Choose a shorter --home or --socket',
      ),
    ];
  }
  const faults: Check[] = home.socketDirectory === null ? [] : [...socketDirectoryFaults(facts, home.socketDirectory)];
  if (isEntry(socket)) faults.push(...socketFaults(facts, socket));
  else if (socket.error === 'not looked at') return [];
  else if (socket.error !== 'ENOENT') {
    faults.push(
      fail(
        'socket',
        `${places.socket} cannot be looked at (${socket.error})`,
        `See who may: namei -l ${shellWord(places.socket)}`,
      ),
    );
  }
  const well = isEntry(socket) ? `${places.socket}, mode ${octal(socket.mode)}` : `none, as no daemon runs`;
  return orOk(faults, ok('socket', well));
};

const socketFaults = (facts: Facts, socket: Entry): readonly Check[] => {
  const { path, kind, uid, mode } = socket;
  const word = shellWord(path);
  if (kind !== 'socket')
    return [
      fail('socket', `${path} is no socket but a ${kind}`, `Move it away: mv ${word} ${shellWord(`${path}.aside`)}`),
    ];
  if (uid !== ownerOf(facts))
    return [fail('socket', `${path} belongs to ${who(facts, uid)}`, `If nobody uses it: rm ${word}`)];
  const { reach, processes } = facts;
  if (reach.kind === 'absent' && processes.daemon === null) {
    return [
      fail(
        'socket',
        `${path} is left from a daemon that is gone`,
        'The next start replaces it: workerctl daemon start --detach',
      ),
    ];
  }
  if ((mode & 0o077) !== 0)
    return [
      fail('socket', `${path} has mode ${octal(mode)}: others could run code as you`, `Close it: chmod 600 ${word}`),
    ];
  return [];
};

const socketDirectoryFaults = (facts: Facts, seen: Seen): readonly Check[] => {
  if (!isEntry(seen)) {
    return seen.error === 'ENOENT'
      ? []
      : [
          fail(
            'socket',
            `${seen.path} cannot be looked at (${seen.error})`,
            `See who may: namei -l ${shellWord(seen.path)}`,
          ),
        ];
  }
  const { path, uid, mode, kind } = seen;
  if (kind === 'link') return [];
  if (uid !== 0 && uid !== ownerOf(facts)) {
    return [
      fail(
        'socket',
        `its directory ${path} belongs to ${who(facts, uid)}, who could put another socket there`,
        'Choose another place with --socket',
      ),
    ];
  }
  if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0) {
    return [
      fail(
        'socket',
        `its directory ${path} has mode ${octal(mode)}: others could put another socket there`,
        `Close it: chmod go-w ${shellWord(path)}; or choose another place with --socket`,
      ),
    ];
  }
  return [];
};

export const checkRegistry = (facts: Facts): readonly Check[] => {
  const { places, home } = facts;
  const { registry, damaged } = home;
  const faults: Check[] = [];
  const next =
    'The next daemon moves it aside, begins anew with what can still be read, and takes back what runs; nothing is deleted. To keep a copy first: cp -a';
  if (registry !== null) {
    const why = !registry.isDatabase
      ? 'it is empty, or no database'
      : !registry.isWhole
        ? 'it is cut short'
        : registry.fault;
    if (why !== null)
      faults.push(
        fail(
          'registry',
          `${places.registry} is damaged: ${oneLine(why)}`,
          `${next} ${shellWord(places.registry)} ${shellWord(`${places.registry}.copy`)}`,
        ),
      );
  }
  // The companions of one that was moved aside go with it.
  if (damaged.length > 0) {
    const newest = damaged.at(-1) ?? '';
    faults.push(
      warn(
        'registry',
        `${damaged.length === 1 ? 'one was' : `${damaged.length} were`} found damaged and moved aside: ${few(damaged.map((path) => basename(path)))}`,
        `Look whether a worker is missing: workerctl status. Then: rm ${shellWord(newest)}*`,
      ),
    );
  }
  return orOk(faults, ok('registry', registry === null ? 'none yet' : `${places.registry} is whole`));
};

/** What somebody left behind, and nobody takes away. */
export const checkStale = (facts: Facts): readonly Check[] => {
  const { home, processes, reach, places, clock } = facts;
  const faults: Check[] = [];
  const { handover } = home;
  if (handover !== null && handover.untilAt > clock.now && !handover.alive) {
    faults.push(
      warn(
        'stale',
        `${handover.path} announces a daemon that is gone (until ${timeText(new Date(handover.untilAt).toISOString())})`,
        `It is believed by nobody; to be rid of it: rm ${shellWord(handover.path)}`,
      ),
    );
  }
  if (home.serviceMark && reach.kind === 'absent' && !facts.units.some(({ name }) => name === 'workerd.service')) {
    const mark = shellWord(places.serviceMark);
    faults.push(
      warn(
        'stale',
        `${places.serviceMark} says that a service manager runs the daemon, and there is no such unit: nobody starts one`,
        `If no service manager does: rm ${mark}`,
      ),
    );
  }
  const orphans = unheldRuns(facts);
  if (orphans.length > 0) {
    const first = orphans[0] ?? '';
    faults.push(
      warn(
        'stale',
        `pipes of ${counted(orphans.length, 'run')} that nobody has: ${few(orphans.map(oneLine))}`,
        `They do no harm; to be rid of them: rm -r ${shellWord(join(places.runs, first))}${orphans.length > 1 ? ' …' : ''}`,
      ),
    );
  }
  const unknown =
    processes.daemon === null && processes.shims.length === 0
      ? [...processes.runs].filter((run) => home.runs.includes(run))
      : [];
  if (unknown.length > 0) {
    faults.push(
      warn(
        'stale',
        `workers live without daemon or shim: ${few(unknown.map(oneLine))}`,
        'The next daemon takes them over: workerctl daemon start --detach',
      ),
    );
  }
  return orOk(faults, ok('stale', 'nothing is left behind'));
};

/** While a daemon answers, it knows; otherwise whoever carries the mark has them. */
const unheldRuns = ({ home, processes, reach }: Facts): readonly string[] => {
  const workers = reach.kind === 'answers' ? reach.workers : null;
  // A thread carries no mark of its own.
  const hosts = [...processes.runs].some((run) => run.startsWith('_host.'));
  const alive = new Set(
    workers
      ?.filter(
        ({ phase, leftovers }) =>
          (phase !== 'stopped' && phase !== 'exited' && phase !== 'failed') || leftovers.length > 0,
      )
      .map(({ name, generation }) => `${name}.${generation}`),
  );
  return home.runs.filter((run) => {
    if (processes.runs.has(run)) return false;
    if (workers === null) return processes.daemon === null && processes.shims.length === 0 && !hosts;
    return !run.startsWith('_host.') && !alive.has(run.split('.').slice(0, -1).join('.'));
  });
};
