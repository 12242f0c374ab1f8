/** The daemon, its shim and what they say of themselves. Pure: facts in, lines out. */
import type { Problem } from '../../shared/daemon-info.ts';
import { durationText, oneLine, timeText } from '../render/text.ts';
import { type Check, counted, fail, few, ok, orOk, shellWord, warn } from './check.ts';
import type { Facts, ProcessFacts } from './facts.ts';

const workerctl = ({ asked, places }: Facts, words: string): string => {
  const home = asked.home === undefined ? '' : ` --home ${shellWord(places.home)}`;
  const socket = asked.socket === undefined ? '' : ` --socket ${shellWord(places.socket)}`;
  return `workerctl${home}${socket} ${words}`;
};

const logOf = ({ places }: Facts): string => `tail ${shellWord(places.daemonLog)}`;

export const checkDaemon = (facts: Facts): readonly Check[] => {
  const { reach, processes, places, home } = facts;
  const { daemon } = processes;
  const start = workerctl(facts, 'daemon start --detach');
  const said = home.lastWords === null ? '' : `; its log ends with: ${oneLine(home.lastWords)}`;
  switch (reach.kind) {
    case 'answers': {
      const { pid, startedAt } = reach.info;
      const since = startedAt === undefined ? '' : `, since ${timeText(startedAt)}`;
      return [
        ok('daemon', `answers in ${Math.max(1, Math.round(reach.latencyMs))} ms (pid ${pid}${since})`),
        ...checkIdentity(facts),
      ];
    }
    case 'silent':
      return [daemon === null ? silentAndUnknown(facts, reach.why) : silent(facts, daemon, reach.why)];
    case 'denied':
      return [
        fail(
          'daemon',
          `you may not use its socket ${places.socket}`,
          'It is for the user who started it, and root. Ask as that user, or use a daemon of your own: unset WORKERD_HOME and WORKERD_SOCKET, leave --home and --socket',
        ),
      ];
    case 'foreign':
      return [
        fail(
          'daemon',
          `what answers at ${places.socket} speaks another protocol than this workerctl (${facts.cli.version})`,
          `Use the workerctl that was installed with it, or replace it by this one: ${workerctl(facts, 'daemon restart')}`,
        ),
      ];
    case 'refuses':
      return [
        fail(
          'daemon',
          `it turned us away: ${oneLine(reach.why)}`,
          'Close clients (watch, logs -f, programs that leave connections open), then ask again',
        ),
      ];
    case 'replaced':
      return [ok('daemon', 'is being replaced at this moment; ask again in a few seconds')];
    case 'absent':
      if (daemon !== null && processes.daemonSocket !== null && processes.daemonSocket !== places.socket) {
        return [
          fail(
            'daemon',
            `the one of this home (pid ${daemon.pid}) listens at ${processes.daemonSocket}, not at ${places.socket}`,
            `Ask it there: workerctl --home ${shellWord(places.home)} --socket ${shellWord(processes.daemonSocket)} doctor (or export WORKERD_SOCKET)`,
          ),
        ];
      }
      if (daemon !== null) {
        const how = `its process is there (pid ${daemon.pid}), its socket ${places.socket} is not`;
        return [
          fail(
            'daemon',
            `${how}${said}`,
            `It may be starting: ask again. If it stays, see: ${logOf(facts)}; then kill ${daemon.pid} (workers go on), and: ${start}`,
          ),
        ];
      }
      if (home.serviceMark || facts.units.some(({ name, enabled }) => enabled && name === 'workerd.service')) {
        const user = facts.uid === 0 ? '' : ' --user';
        return [
          fail(
            'daemon',
            `is not running, and a service manager is to run it${said}`,
            `Start it: systemctl${user} start workerd. Why it ended: journalctl${user} -u workerd`,
          ),
        ];
      }
      if (reach.stale || processes.shims.length > 0) {
        const left = processes.shims.length > 0 ? '; its workers go on' : '';
        return [
          fail('daemon', `is not running, and did not end in good order${left}${said}`, `Start it again: ${start}`),
        ];
      }
      return [
        warn(
          'daemon',
          `is not running (no socket at ${places.socket})${said}`,
          `It starts with the first worker, or with: ${start}`,
        ),
      ];
    default:
      return reach satisfies never;
  }
};

const silent = (facts: Facts, { pid, state }: ProcessFacts, why: string): Check => {
  if (state === 'T')
    return fail('daemon', `is stopped by a signal (pid ${pid}); workers go on`, `Let it go on: kill -CONT ${pid}`);
  const wait = state === 'D' ? ', and waits for a disk' : '';
  return fail(
    'daemon',
    `does not answer (pid ${pid}, ${oneLine(why)}${wait}); workers go on`,
    `If it stays, see: ${logOf(facts)}; then end it, which no worker notices: kill -9 ${pid}; ${workerctl(facts, 'daemon start --detach')}`,
  );
};

const silentAndUnknown = (facts: Facts, why: string): Check =>
  fail(
    'daemon',
    `whoever listens at ${facts.places.socket} does not answer (${oneLine(why)})`,
    `See who it is: fuser -v ${shellWord(facts.places.socket)}`,
  );

/** Which daemon it is that answers. */
const checkIdentity = (facts: Facts): readonly Check[] => {
  const { reach, places, cli } = facts;
  if (reach.kind !== 'answers') return [];
  const { info } = reach;
  const own = cli.version;
  const version =
    info.version === undefined || info.version === own
      ? ok('version', `${own}, here and in the daemon`)
      : warn(
          'version',
          `the daemon is ${info.version}, this workerctl is ${own}`,
          `Put the installed one in its place, workers stay: ${workerctl(facts, 'daemon restart')}`,
        );
  const elsewhere = info.home !== undefined && info.home !== places.home;
  return [
    version,
    ...(elsewhere
      ? [
          warn(
            'environment',
            `${places.socket} is the socket of the daemon of ${info.home}, not of ${places.home}`,
            'Name one of them alone: --home or WORKERD_HOME brings the socket along; unset WORKERD_SOCKET',
          ),
        ]
      : []),
  ];
};

export const checkNode = (facts: Facts): readonly Check[] => {
  const { cli, reach, processes } = facts;
  const { daemon } = processes;
  const theirs = reach.kind === 'answers' ? reach.info.node : undefined;
  const faults: Check[] = [];
  if (daemon?.programGone) {
    faults.push(
      warn(
        'node',
        `the daemon runs in a Node that was removed or replaced since (${daemon.program})`,
        `Have it take the new one, workers stay: ${workerctl(facts, 'daemon restart')}. Does that fail, then: ${workerctl(facts, 'daemon stop --keep-workers')} and ${workerctl(facts, 'daemon start --detach')}`,
      ),
    );
  } else if (theirs !== undefined && theirs !== cli.node) {
    faults.push(
      warn(
        'node',
        `${cli.node} here, ${theirs} in the daemon${daemon?.program == null ? '' : ` (${daemon.program})`}`,
        `That works. To have both the same: ${workerctl(facts, 'daemon stop --keep-workers')}, then ${workerctl(facts, 'daemon start --detach')}`,
      ),
    );
  }
  return orOk(faults, ok('node', `${cli.node}${theirs === undefined ? '' : ', here and in the daemon'}`));
};

export const checkShim = (facts: Facts): readonly Check[] => {
  const { processes, reach, places } = facts;
  const { shims } = processes;
  const [only] = shims;
  const { shim: known, version: theirs } = reach.kind === 'answers' ? reach.info : {};
  const said = problemsOf(facts).filter(isOfShim);
  if (shims.length > 1) {
    const pids = shims.map(({ pid }) => pid).join(', ');
    return [
      fail(
        'shim',
        `there are ${shims.length} of them for one home (pids ${pids}); one is right`,
        `See which the daemon speaks to: ${workerctl(facts, 'rpc daemon.info')}. Please report how this came to be`,
      ),
    ];
  }
  if (said.length > 0) return said.map((problem) => inItsWords('shim', problem));
  if (only === undefined) {
    if (reach.kind !== 'answers' && processes.daemon === null) return [ok('shim', 'none runs, as no daemon does')];
    return [
      fail(
        'shim',
        'there is none, and so no parent for workers',
        `The daemon starts another; why that fails is in: tail ${shellWord(places.shimLog)}`,
      ),
    ];
  }
  if (only.state === 'T') {
    const effect = 'workers go on, their output waits';
    return [
      fail('shim', `is stopped by a signal (pid ${only.pid}); ${effect}`, `Let it go on: kill -CONT ${only.pid}`),
    ];
  }
  if (reach.kind !== 'answers') return [ok('shim', `runs (pid ${only.pid}); whether it answers only the daemon knows`)];
  if (known === undefined) return [ok('shim', `its process is there (pid ${only.pid})`)];
  if (known === null) {
    return [
      fail(
        'shim',
        `its process is there (pid ${only.pid}), the daemon has no connection to it`,
        `The daemon tries again by itself; if it stays, see: ${logOf(facts)}`,
      ),
    ];
  }
  if (!known.answers) {
    return [
      warn(
        'shim',
        `its process is there (pid ${known.pid}) and slow to answer`,
        `See how busy it is: top -p ${known.pid}`,
      ),
    ];
  }
  if (theirs !== undefined && known.version !== theirs) {
    return [
      warn(
        'shim',
        `answers (pid ${known.pid}) and is of version ${known.version}, the daemon of ${theirs}: one that runs is never replaced`,
        `That works. To have both the same, end it with its workers: ${workerctl(facts, 'daemon stop')}; ${workerctl(facts, 'daemon start --detach')}`,
      ),
    ];
  }
  return [ok('shim', `answers (pid ${known.pid}, version ${known.version}, protocol ${known.protocol})`)];
};

const problemsOf = ({ reach }: Facts): readonly Problem[] =>
  reach.kind === 'answers' ? (reach.info.problems ?? []) : [];
const isOfShim = ({ kind }: Problem): boolean => kind.startsWith('shim-');

/** The daemon ends its words with the next step, as a sentence of its own. */
const inItsWords = (name: string, { since, message }: Problem): Check => {
  const [, what, next] = /^(.*?)\. ([A-Z].*)$/s.exec(message) ?? [];
  return fail(
    name,
    `${oneLine(what ?? message)} (since ${timeText(since)})`,
    oneLine(next ?? 'The daemon’s log says more'),
  );
};

/** What the daemon says of the rest, each under its kind. */
export const checkProblems = (facts: Facts): readonly Check[] =>
  problemsOf(facts)
    .filter((problem) => !isOfShim(problem))
    .map((problem) => inItsWords(problem.kind, problem));

/** A worker that fares badly is no fault of the daemon's surroundings. */
export const checkWorkers = (facts: Facts): readonly Check[] => {
  const { reach, clock } = facts;
  if (reach.kind !== 'answers') return [];
  const { workers } = reach;
  if (workers === null) {
    return [warn('workers', 'the daemon did not list them in time', `Ask again: ${workerctl(facts, 'status')}`)];
  }
  const names = (of: readonly { readonly name: string }[]) => few(of.map(({ name }) => oneLine(name)));
  const see = (of: readonly { readonly name: string }[]) => workerctl(facts, `status ${oneLine(of[0]?.name ?? '')}`);
  const faults: Check[] = [];
  const given = workers.filter(({ phase, reason }) => phase === 'failed' && reason === 'crash-loop');
  if (given.length > 0) {
    faults.push(
      warn(
        'workers',
        `given up after ending again and again: ${names(given)}`,
        `See why: ${see(given)}; then start it again`,
      ),
    );
  }
  const lost = workers.filter(({ phase, exit }) => phase === 'failed' && exit?.kind === 'lost');
  if (lost.length > 0) {
    faults.push(
      warn(
        'workers',
        `ended unseen, and not running: ${names(lost)}`,
        `See what is known: ${see(lost)}; then start it again`,
      ),
    );
  }
  const left = workers.filter(({ leftovers }) => leftovers.length > 0);
  if (left.length > 0) {
    faults.push(
      warn(
        'workers',
        `left processes behind: ${names(left)}`,
        `See which: ${see(left)}; end them with: ${workerctl(facts, `stop ${oneLine(left[0]?.name ?? '')}`)}`,
      ),
    );
  }
  const waiting = workers.filter(
    ({ phase, nextStartAt }) =>
      phase === 'backoff' && nextStartAt !== null && Date.parse(nextStartAt) - clock.now > longWaitMs,
  );
  if (waiting.length > 0) {
    const wait = durationText(Date.parse(waiting[0]?.nextStartAt ?? '') - clock.now);
    faults.push(
      warn('workers', `end soon after each start: ${names(waiting)} (next try in ${wait})`, `See why: ${see(waiting)}`),
    );
  }
  const running = workers.filter(({ phase }) => phase === 'running').length;
  return orOk(faults, ok('workers', `${counted(workers.length, 'worker')}, ${running} running; none needs attention`));
};
const longWaitMs = 10_000;
