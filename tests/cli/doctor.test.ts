/** What doctor makes of facts: each fault has a line of its name, with what to do; and how the lines are laid out. */
import { describe, expect, test } from 'vitest';
import type { Check } from '../../src/cli/doctor/check.ts';
import { isWell, judge } from '../../src/cli/doctor/checks.ts';
import type { Entry, Facts, HomeFacts, ProcessFacts, Reach } from '../../src/cli/doctor/facts.ts';
import { readUnits } from '../../src/cli/doctor/look-around.ts';
import { groupsOf } from '../../src/cli/doctor/look-processes.ts';
import { doctorText } from '../../src/cli/render/doctor.ts';
import { makeStyle } from '../../src/cli/render/style.ts';
import type { Problem } from '../../src/shared/daemon-info.ts';
import { isNetwork, mountOf } from '../../src/shared/mounts.ts';
import { resolvePlaces } from '../../src/shared/paths.ts';
import { makeView, now } from './views.ts';

const places = resolvePlaces({ home: '/h', env: {}, uid: 1000 });
const entry = (path: string, over: Partial<Entry> = {}): Entry => ({
  path,
  kind: 'file',
  uid: 1000,
  mode: 0o600,
  links: 1,
  bytes: 100,
  changedAt: now - 1000,
  ...over,
});
const directory = (path: string, over: Partial<Entry> = {}) => entry(path, { kind: 'directory', mode: 0o700, ...over });

const processFacts = (over: Partial<ProcessFacts> = {}): ProcessFacts => ({
  pid: 50,
  uid: 1000,
  state: 'S',
  startedAfterBootMs: 100_000,
  program: '/usr/bin/node',
  programGone: false,
  openFiles: { soft: 1024, hard: 4096 },
  openedFiles: 30,
  processes: { soft: 1000, hard: 1000 },
  group: null,
  ...over,
});

const shimInfo = { pid: 60, version: '1.0.0', protocol: 1, answers: true };
const info = {
  version: '1.0.0',
  protocol: 1,
  pid: 50,
  home: '/h',
  socket: '/h/workerd.sock',
  // A machine that runs for 200 s, and a daemon of its 100th second.
  startedAt: new Date(now - 100_000).toISOString(),
  node: 'v24.0.0',
  shim: shimInfo,
  problems: [] as readonly Problem[],
};
const answers = (over: Partial<Extract<Reach, { kind: 'answers' }>> = {}): Reach => ({
  kind: 'answers',
  latencyMs: 2,
  info,
  workers: [makeView()],
  ...over,
});

type Changes = Partial<Omit<Facts, 'home' | 'processes' | 'clock'>> & {
  readonly home?: Partial<HomeFacts>;
  readonly processes?: Partial<Facts['processes']>;
  readonly clock?: Partial<Facts['clock']>;
};

const facts = (over: Changes = {}): Facts => ({
  uid: 1000,
  userNames: new Map([
    [1000, 'ann'],
    [1001, 'bob'],
  ]),
  cli: { version: '1.0.0', node: 'v24.0.0', program: '/opt/w/dist/workerd.cjs' },
  places,
  asked: { home: '/h', socket: undefined },
  env: {},
  reach: answers(),
  programs: [{ name: 'workerd', path: '/opt/w/bin/workerd', kind: 'ours', version: null }],
  units: [],
  ...over,
  home: {
    home: directory('/h'),
    parents: [directory('/', { uid: 0, mode: 0o755 })],
    socket: entry('/h/workerd.sock', { kind: 'socket' }),
    socketDirectory: null,
    files: [entry('/h/registry.db'), directory('/h/logs')],
    runs: [],
    damaged: [],
    registry: { isDatabase: true, isWhole: true, fault: null },
    mount: { point: '/', type: 'ext4', readOnly: false },
    space: { freeBytes: 5e9, allBytes: 1e10, freeInodes: 5e5, allInodes: 1e6 },
    serviceMark: false,
    lastWords: null,
    ...over.home,
  },
  processes: {
    daemon: processFacts(),
    daemonSocket: null,
    shims: [processFacts({ pid: 60 })],
    runs: new Set(),
    threads: 100,
    ...over.processes,
  },
  clock: { now, kernelNow: now, sinceBootMs: 200_000, ...over.clock },
});

const faults = (over: Changes): readonly string[] =>
  judge(facts(over))
    .filter(({ level }) => level !== 'ok')
    .map(({ name, level, message, advice }) => `${level} ${name}: ${message} → ${advice ?? ''}`);

const absent = {
  reach: { kind: 'absent', stale: false } as const,
  processes: { daemon: null, shims: [] },
  home: { socket: { path: '/h/workerd.sock', error: 'ENOENT' } },
};
const problem = (kind: Problem['kind'], message: string): Changes => ({
  reach: answers({ info: { ...info, problems: [{ kind, since: info.startedAt, message }] } }),
});

test('all is well: a line for each, and none of them is a fault', () => {
  const checks = judge(facts());
  expect(checks.filter(({ level }) => level !== 'ok')).toEqual([]);
  expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length);
  expect(isWell(checks)).toBe(true);
});

/** The whole of what is wrong, as it begins. */
const cases: readonly (readonly [what: string, facts: Changes, lines: readonly RegExp[]])[] = [
  ['no daemon', absent, [/^warn daemon: is not running .* → .*workerctl --home \/h daemon start --detach$/]],
  [
    'no daemon, and why',
    { ...absent, home: { ...absent.home, lastWords: 'cannot lock' } },
    [/^warn daemon: is not running .*ends with: cannot lock/],
  ],
  [
    'a daemon that crashed',
    { reach: { kind: 'absent', stale: true }, processes: { daemon: null } },
    [/^fail daemon: .*not end in good order; its workers go on/, /^fail socket: .*left from a daemon that is gone/],
  ],
  [
    'a daemon of a service that is gone',
    {
      ...absent,
      home: { ...absent.home, serviceMark: true },
      units: [{ name: 'workerd.service', enabled: true, active: false, state: 'failed' }],
    },
    [/^fail daemon: .*service manager .*systemctl --user start workerd/, /^fail service: .*\(failed\)/],
  ],
  [
    'a process without a socket',
    { reach: { kind: 'absent', stale: false } },
    [/^fail daemon: its process is there \(pid 50\).*kill 50/],
  ],
  [
    'a daemon that was told to listen elsewhere',
    { reach: { kind: 'absent', stale: false }, processes: { daemonSocket: '/run/other.sock' } },
    [
      /^fail daemon: the one of this home \(pid 50\) listens at \/run\/other.sock, not at .* --socket \/run\/other.sock/,
    ],
  ],
  [
    'a daemon that hangs',
    { reach: { kind: 'silent', why: 'no answer in 5 s' } },
    [/^fail daemon: does not answer .*kill -9 50/],
  ],
  [
    'a daemon that waits for a disk',
    { reach: { kind: 'silent', why: 'no answer in 5 s' }, processes: { daemon: processFacts({ state: 'D' }) } },
    [/^fail daemon: .*waits for a disk/],
  ],
  [
    'a daemon full of clients',
    { reach: { kind: 'refuses', why: 'at most 1024' } },
    [/^fail daemon: it turned us away: at most 1024/],
  ],
  ['somebody else’s daemon', { reach: { kind: 'denied' } }, [/^fail daemon: you may not use/]],
  ['another protocol', { reach: { kind: 'foreign' } }, [/^fail daemon: .*another protocol/]],
  [
    'a shim of another version',
    { reach: answers({ info: { ...info, shim: { ...shimInfo, version: '0.9.0' } } }) },
    [/^warn shim: .*version 0\.9\.0, the daemon of 1\.0\.0.* → That works.*daemon stop; .*daemon start --detach/],
  ],
  [
    'another version and Node',
    {
      reach: answers({ info: { ...info, version: '0.9.0', shim: { ...shimInfo, version: '0.9.0' }, node: 'v24.1.0' } }),
    },
    [/^warn version: the daemon is 0\.9\.0.*daemon restart/, /^warn node: v24\.0\.0 here, v24\.1\.0 in the daemon/],
  ],
  ['an older daemon that tells little', { reach: answers({ info: { pid: 50, version: '1.0.0' } }) }, []],
  [
    'a Node that was replaced',
    { processes: { daemon: processFacts({ programGone: true }) } },
    [/^warn node: .*removed or replaced/],
  ],
  [
    'the daemon of another home',
    { reach: answers({ info: { ...info, home: '/other' } }) },
    [/^warn environment: .*daemon of \/other/],
  ],
  [
    'a slow shim',
    { reach: answers({ info: { ...info, shim: { ...shimInfo, answers: false } } }) },
    [/^warn shim: .*slow to answer/],
  ],
  [
    'no shim',
    { processes: { shims: [] }, reach: answers({ info: { ...info, shim: null } }) },
    [/^fail shim: there is none/],
  ],
  [
    'two shims',
    { processes: { shims: [processFacts({ pid: 60 }), processFacts({ pid: 61 })] } },
    [/^fail shim: there are 2 .*60, 61/],
  ],
  [
    'a stopped shim under a daemon that hangs',
    { reach: { kind: 'silent', why: 'x' }, processes: { shims: [processFacts({ pid: 60, state: 'T' })] } },
    [/^fail daemon/, /^fail shim: is stopped by a signal .*kill -CONT 60/],
  ],
  [
    'a silent shim',
    problem('shim-silent', 'the shim is silent. Wake it'),
    [/^fail shim: the shim is silent \(since .*\) → Wake it$/],
  ],
  [
    'a registry that refuses',
    problem('registry', 'registry.db cannot be written (full): x. Make room'),
    [/^fail registry: registry\.db cannot be written \(full\): x \(since .*\) → Make room$/],
  ],
  [
    'logs that are dropped',
    problem('logs', 'worker w: cannot write. Its bytes go. Make room'),
    [/^fail logs: worker w/],
  ],
  [
    'workers that fare badly',
    {
      reach: answers({
        workers: [
          makeView({ name: 'loop', phase: 'failed', reason: 'crash-loop' }),
          makeView({ name: 'gone', phase: 'failed', exit: { kind: 'lost', reason: 'the shim died' } }),
          makeView({ name: 'left', phase: 'exited', leftovers: [{ pid: 5, command: 'sleep' }] }),
          makeView({ name: 'slow', phase: 'backoff', nextStartAt: new Date(now + 30_000).toISOString() }),
        ],
      }),
    },
    [
      /^warn workers: given up .*loop/,
      /^warn workers: ended unseen.*gone/,
      /^warn workers: left processes behind: left → .*stop left/,
      /^warn workers: end soon .*slow \(next try in 30s\)/,
    ],
  ],
  ['workers that are not listed', { reach: answers({ workers: null }) }, [/^warn workers: .*in time/]],
  ['an open home', { home: { home: directory('/h', { mode: 0o750 }) } }, [/^fail home: .*0750.*chmod 700 \/h$/]],
  [
    'a home of bob’s',
    { home: { home: directory('/h', { uid: 1001 }) } },
    [/^fail home: \/h belongs to bob \(uid 1001\), not to you/],
  ],
  ['a home that is a file', { home: { home: entry('/h') } }, [/^fail home: \/h is no directory/]],
  ['a home that cannot be looked at', { home: { home: { path: '/h', error: 'EACCES' } } }, [/^fail home: .*EACCES/]],
  ['a parent of bob’s', { home: { parents: [directory('/x', { uid: 1001 })] } }, [/^fail parents: \/x belongs to bob/]],
  [
    'a parent that all can write in',
    { home: { parents: [directory('/x', { mode: 0o777 })] } },
    [/^fail parents: .*chmod go-w \/x/],
  ],
  [
    'a link of bob’s on the way',
    { home: { parents: [entry('/x', { kind: 'link', uid: 1001, mode: 0o777 })] } },
    [/^fail parents: \/x belongs to bob/],
  ],
  ['a link of ours', { home: { parents: [entry('/x', { kind: 'link', mode: 0o777 })] } }, []],
  ['one with a sticky bit', { home: { parents: [directory('/x', { uid: 0, mode: 0o1777 })] } }, []],
  [
    'an open file',
    { home: { files: [entry('/h/lock.db', { mode: 0o640 })] } },
    [/^fail files: \/h\/lock\.db has mode 0640/],
  ],
  ['a hard link', { home: { files: [entry('/h/x.log', { links: 2 })] } }, [/^fail files: .*2 hard links.*-samefile/]],
  [
    'a file of root’s',
    { home: { files: [entry('/h/registry.db', { uid: 0 })] } },
    [/^fail files: .*uid 0.* As root: chown 1000 /],
  ],
  [
    'a read-only file',
    { home: { files: [entry('/h/registry.db', { mode: 0o400 })] } },
    [/^fail files: .*cannot write/],
  ],
  [
    'many bad files',
    { home: { files: Array.from({ length: 50 }, (_, index) => entry(`/h/${index}`, { mode: 0o644 })) } },
    [...Array.from({ length: 6 }, () => /^fail files: .*0644/), /^fail files: 44 more like these/],
  ],
  [
    'a socket path with a file',
    { home: { socket: entry('/h/workerd.sock') } },
    [/^fail socket: .*no socket but a file/],
  ],
  [
    'an open socket',
    { home: { socket: entry('/h/workerd.sock', { kind: 'socket', mode: 0o666 }) } },
    [/^fail socket: .*others could run code/],
  ],
  [
    'a socket in a directory of bob’s',
    { home: { socketDirectory: directory('/s', { uid: 1001 }) } },
    [/^fail socket: its directory \/s belongs to bob/],
  ],
  [
    'a registry that is broken',
    { home: { registry: { isDatabase: true, isWhole: true, fault: 'page 3 is bad' } } },
    [/^fail registry: .*page 3 is bad → .*cp -a/],
  ],
  [
    'registries moved aside',
    { home: { damaged: ['/h/registry.db.damaged-1'] } },
    [/^warn registry: one was found damaged/],
  ],
  [
    'a run that nobody has',
    { home: { runs: ['w.1.ab', 'web.1.ab'] } },
    [/^warn stale: pipes of 1 run that nobody has: w\.1\.ab/],
  ],
  [
    'a run that a process carries',
    {
      ...absent,
      home: { runs: ['w.1.ab'], socket: { path: '/h/workerd.sock', error: 'ENOENT' } },
      processes: { daemon: null, shims: [], runs: new Set(['w.1.ab']) },
    },
    [/^warn daemon/, /^warn stale: workers live without daemon or shim: w\.1\.ab/],
  ],
  [
    'a network file system',
    {
      ...absent,
      home: {
        home: { path: '/h', error: 'not looked at' },
        socket: { path: '/h/workerd.sock', error: 'not looked at' },
        parents: [],
        space: null,
        mount: { point: '/h', type: 'nfs4', readOnly: false },
      },
    },
    [/^warn daemon/, /^fail file-system: .*network file system \(nfs4 at \/h\)/],
  ],
  [
    'a read-only mount',
    { home: { mount: { point: '/', type: 'ext4', readOnly: true } } },
    [/^fail file-system: .*read-only/],
  ],
  ['memory', { home: { mount: { point: '/h', type: 'tmpfs', readOnly: false } } }, [/^warn file-system: .*in memory/]],
  ['a runtime directory', { env: { XDG_RUNTIME_DIR: '/h/' } }, [/^warn file-system: \/h is below \/h/]],
  [
    'no room',
    { home: { space: { freeBytes: 1000, allBytes: 1e9, freeInodes: 9e5, allInodes: 1e6 } } },
    [/^fail disk: no room/],
  ],
  [
    'little room',
    { home: { space: { freeBytes: 5e7, allBytes: 1e9, freeInodes: 9e5, allInodes: 1e6 } } },
    [/^warn disk: little room/],
  ],
  [
    'few inodes',
    { home: { space: { freeBytes: 5e9, allBytes: 1e10, freeInodes: 500, allInodes: 1e6 } } },
    [/^warn disk: few inodes/],
  ],
  ['no inodes to count', { home: { space: { freeBytes: 5e9, allBytes: 1e10, freeInodes: 0, allInodes: 0 } } }, []],
  [
    '1970',
    { clock: { now: 5000, kernelNow: 5000 }, home: { files: [] } },
    [/^fail clock: .*cannot be/, /^warn clock: .*set back/],
  ],
  ['a faked clock', { clock: { kernelNow: now + 86_400_000 } }, [/^fail clock: .*1d 0h apart.*libfaketime/]],
  [
    'a clock set back',
    { home: { files: [entry('/h/registry.db', { changedAt: now + 3_600_000 })] } },
    [/^fail clock: \/h\/registry\.db .*1h 0m from now/],
  ],
  [
    'a clock set forward',
    { clock: { now: now + 3_600_000, kernelNow: now + 3_600_000 } },
    [/^warn clock: it was set forward by 1h 0m/],
  ],
  [
    'descriptors all but gone',
    { processes: { daemon: processFacts({ openedFiles: 1000 }) } },
    [/^fail descriptors: the daemon \(pid 50\) has 1000 of 1024/],
  ],
  [
    'many descriptors',
    { processes: { shims: [processFacts({ pid: 60, openedFiles: 900 })] } },
    [/^warn descriptors: the shim/],
  ],
  [
    'few descriptors',
    { processes: { daemon: processFacts({ openFiles: { soft: 64, hard: 64 } }) } },
    [/^warn descriptors: .*may open 64 files: enough for some 8 more/],
  ],
  ['many processes', { processes: { threads: 960 } }, [/^fail processes: you have 960 of 1000/]],
  [
    'a full control group',
    { processes: { shims: [processFacts({ pid: 60, group: { path: '/g', max: 10, now: 9 } })] } },
    [/^warn processes: the control group \/g has 9 of 10/],
  ],
  [
    'the other workerd',
    { programs: [{ name: 'workerd', path: '/b/workerd', kind: 'runtime', version: '1.2' }] },
    [/^warn programs: .*JavaScript runtime 1\.2 → Write workerctl daemon/],
  ],
  [
    'inside of a worker',
    { env: { WORKERD_RUN: 'w.1.ab', WORKERD_NAME: 'w' } },
    [/^warn environment: this is inside of the worker w/],
  ],
  ['a relative state home', { env: { XDG_STATE_HOME: 'state' } }, [/^warn environment: .*ignored/]],
];

test.each(cases)('%s', (_what, over, lines) => {
  const found = faults(over);
  expect(found).toHaveLength(lines.length);
  for (const [index, line] of lines.entries()) expect(found[index]).toMatch(line);
});

describe('what the kernel writes is read', () => {
  const line = (point: string, type: string, options = 'rw') => `1 2 0:3 / ${point} ${options} - ${type} none rw`;

  test('the mount of a path is the nearest, the last of equals, with its spaces', () => {
    const table = [
      line('/', 'ext4'),
      line('/a', 'xfs'),
      line('/a', 'nfs4', 'ro,noatime'),
      line('/a\\040b', 'tmpfs'),
    ].join('\n');
    expect(mountOf('/x', table)?.type).toBe('ext4');
    expect(mountOf('/a/h', table)).toEqual({ point: '/a', type: 'nfs4', readOnly: true });
    expect(mountOf('/a b/h', table)?.type).toBe('tmpfs');
    expect(mountOf('/ab', table)?.type).toBe('ext4');
    // As a disk with errors is shown.
    const failed = '1 2 0:3 / /d rw,relatime - ext4 /dev/sdb rw,errors=remount-ro,emergency_ro';
    expect(mountOf('/d/h', failed)).toEqual({ point: '/d', type: 'ext4', readOnly: true });
    for (const type of ['nfs4', 'cifs', 'fuse.sshfs']) expect(isNetwork({ type })).toBe(true);
    for (const type of ['ext4', 'overlay', 'fuse.ext4', '9p']) expect(isNetwork({ type })).toBe(false);
  });

  test('control groups of both kinds, with those above', () => {
    expect(groupsOf('9:pids:/a/b\n4:memory:/m\n0::/u/v\n')).toEqual([
      '/sys/fs/cgroup/pids/a/b',
      '/sys/fs/cgroup/pids/a',
      '/sys/fs/cgroup/u/v',
      '/sys/fs/cgroup/u',
    ]);
  });

  test('units, but for those that there are not', () => {
    const said =
      'Id=a.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=enabled-runtime\n\nId=b.service\nLoadState=not-found\n';
    expect(readUnits(said)).toEqual([{ name: 'a.service', enabled: true, active: false, state: 'failed' }]);
    expect(readUnits('')).toEqual([]);
  });
});

describe('the text', () => {
  const checks: readonly Check[] = [
    { name: 'daemon', level: 'ok', message: 'answers', advice: null },
    {
      name: 'home',
      level: 'fail',
      message: 'has mode 0777\nand is open to others',
      advice: 'Close it: chmod 700 /home/ann/x',
    },
  ];
  const text = (width: number | null, colours = false) =>
    doctorText(checks, { style: makeStyle({ colours, unicode: true }), width });

  test('is aligned, with what to do below, and the sum at the end', () => {
    expect(text(null)).toBe(
      `ok    daemon  answers
fail  home    has mode 0777 and is open to others
              → Close it: chmod 700 /home/ann/x

1 thing has to be mended
`,
    );
  });

  test('fits the terminal', () => {
    for (const width of [40, 60, 80]) {
      for (const line of text(width).split('\n')) expect(line.length).toBeLessThanOrEqual(width);
    }
    expect(text(20)).toContain('fail  home\n    has mode 0777\n');
  });

  test('has colours beside the words, never instead of them', () => {
    expect(text(null, true)).toContain('\x1b[31mfail\x1b[0m  home');
  });
});
