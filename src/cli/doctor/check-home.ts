/** The home: whose it is, who else could touch it or its socket. Pure: facts in, lines out. */
import { limits } from '../../shared/limits.ts';
import { temporarySocketPath } from '../../shared/paths.ts';
import { oneLine } from '../render/text.ts';
import { type Check, counted, fail, ok, orOk, shellWord } from './check.ts';
import { type Entry, type EntryKind, type Facts, isEntry, type Seen } from './facts.ts';

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

/** As the daemon does it: made with an everyday umask, and nothing is in it yet. */
const canBeClosed = ({ home }: Facts, { mode }: Entry): boolean =>
  (mode & 0o077) !== 0 && (mode & 0o022) === 0 && home.files.length === 0;

export const checkHome = (facts: Facts): readonly Check[] => {
  const { home } = facts.home;
  if (!isEntry(home) && home.error === 'not looked at') return [];
  if (!isEntry(home) && home.error === 'ENOENT') {
    return [ok('home', `${home.path} is not there yet; the first start makes it`)];
  }
  if (isEntry(home) && home.kind === 'directory' && canBeClosed(facts, home)) {
    const faults = directoryFaults(facts, 'home', { ...home, mode: home.mode & ~0o077 });
    return orOk(faults, ok('home', `${home.path} is empty; the first start closes it to others`));
  }
  const well = `${home.path}, mode 0700, belongs to ${who(facts, ownerOf(facts))}`;
  return orOk(directoryFaults(facts, 'home', home), ok('home', well));
};

/** Who can write in a directory can put another home in the place of ours. */
export const checkParents = (facts: Facts): readonly Check[] => {
  const owner = ownerOf(facts);
  const faults = facts.home.parents.flatMap(({ path, uid, mode, kind }) => {
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
    // What a link leads to is looked at by itself; with the sticky bit everybody can replace but his own.
    if (kind === 'link' || (mode & 0o022) === 0 || (mode & 0o1000) !== 0) return [];
    const advice = path === '/' ? `Restore it: chmod 755 /` : `Close it: chmod go-w ${word}; or ${another}`;
    return [
      fail('parents', `${path} has mode ${octal(mode)}: others could put another home in the place of ours`, advice),
    ];
  });
  if (facts.home.parents.length === 0) return [];
  return orOk(
    faults,
    ok(
      'parents',
      `nobody can put another home in the place of ours (${facts.home.parents.length} directories above it)`,
    ),
  );
};

/** What a daemon opens by name has to be what it takes it for. */
const kindFor = ({ places }: Facts, path: string): EntryKind | null => {
  const { logs, runs, cache, registry, lock, shimToken, daemonLog, shimLog } = places;
  if ([logs, runs, cache].includes(path)) return 'directory';
  return [registry, lock, shimToken, daemonLog, shimLog].includes(path) ? 'file' : null;
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
    const due = kindFor(facts, path);
    if (due !== null && kind !== due) {
      return [
        fail(
          'files',
          `${path} is a ${kind}, and must be a ${due}`,
          `Move it away: mv ${word} ${shellWord(`${path}.aside`)}`,
        ),
      ];
    }
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
