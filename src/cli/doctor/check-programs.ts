/** What misleads whoever types a command: other programs of our names, variables, units. Pure: facts in, lines out. */
import { dirname, join } from 'node:path';
import { oneLine } from '../render/text.ts';
import { type Check, fail, few, ok, orOk, shellWord, warn } from './check.ts';
import type { Facts, FoundProgram } from './facts.ts';

const described = ({ path, kind, version }: FoundProgram): string => {
  const of = version === null ? '' : ` ${version}`;
  switch (kind) {
    case 'runtime':
      return `${path} is another program of that name, Cloudflare's JavaScript runtime${of}`;
    case 'install':
      return `${path} is of another installation of workerctl${of === '' ? '' : ` (version${of})`}`;
    case 'unknown':
      return `${path} is not of this installation`;
    case 'ours':
      return path;
    default:
      return kind satisfies never;
  }
};

/** What a shell runs that is told `workerd` or `workerctl`. */
export const checkPrograms = ({ programs, cli }: Facts): readonly Check[] => {
  const own = dirname(cli.program);
  const faults = (['workerctl', 'workerd'] as const).flatMap((name): readonly Check[] => {
    const [first, ...others] = programs.filter((program) => program.name === name);
    if (first === undefined || first.kind === 'ours') {
      const strangers = others.filter(({ kind }) => kind === 'install' || kind === 'unknown');
      return first === undefined || strangers.length === 0
        ? []
        : [
            warn(
              'programs',
              `${name} on PATH is ours, and hides ${few(strangers.map(({ path }) => oneLine(path)))}`,
              'That works; remove what is not used',
            ),
          ];
    }
    const advice =
      name === 'workerd'
        ? `Write workerctl daemon … instead of workerd …: it is all there. Or put ${shellWord(own)} first on PATH`
        : `Remove one of both, or put the right one first on PATH; this one is ${shellWord(join(own, 'workerctl.cjs'))}`;
    return [warn('programs', `${name} on PATH is not ours: ${oneLine(described(first))}`, advice)];
  });
  const found = (['workerctl', 'workerd'] as const).map((name) => programs.find((program) => program.name === name));
  const [workerctl, workerd] = found;
  const where = workerd?.path ?? workerctl?.path;
  const well =
    where === undefined
      ? 'neither workerctl nor workerd is on PATH; no other program of that name is, either'
      : `workerctl and workerd on PATH are ours (${dirname(where)})`;
  const half =
    workerctl !== undefined && workerd === undefined
      ? `workerctl on PATH is ours (${workerctl.path}); workerd is not there, workerctl daemon … is the same`
      : well;
  return orOk(faults, ok('programs', half));
};

/** Variables that lead elsewhere than one thinks, or change what the daemon does. */
export const checkEnvironment = ({ env, asked, places }: Facts): readonly Check[] => {
  const faults: Check[] = [];
  const has = (name: string): boolean => env[name] !== undefined && env[name] !== '';
  const say = (message: string, advice: string) => faults.push(warn('environment', message, advice));
  if (asked.home === undefined && asked.socket === undefined && has('WORKERD_SOCKET')) {
    const inHome = join(places.home, 'workerd.sock');
    if (places.socket !== inHome) {
      say(
        `WORKERD_SOCKET leads to ${oneLine(places.socket)}, away from the home ${oneLine(places.home)}`,
        'Where that is not meant: unset WORKERD_SOCKET',
      );
    }
  }
  if (asked.home !== undefined && has('WORKERD_HOME')) {
    const other = oneLine(env['WORKERD_HOME'] ?? '');
    if (other !== places.home)
      say(
        `--home ${oneLine(places.home)} is looked at, and WORKERD_HOME is ${other}`,
        'Other commands without --home speak to another daemon: use one of both',
      );
  }
  for (const name of ['WORKERD_HOME', 'WORKERD_SOCKET']) {
    const value = env[name] ?? '';
    if (value !== '' && !value.startsWith('/'))
      say(
        `${name} is the relative path ${oneLine(value)}: it means another place in every directory`,
        `Make it absolute: export ${name}="$PWD"/${shellWord(value)}`,
      );
  }
  const state = env['XDG_STATE_HOME'] ?? '';
  if (state !== '' && !state.startsWith('/'))
    say(
      `XDG_STATE_HOME is the relative path ${oneLine(state)}, and ignored`,
      'Make it absolute, or: unset XDG_STATE_HOME',
    );
  if (has('WORKERD_FAILPOINTS'))
    say('WORKERD_FAILPOINTS is set: a daemon started from here fails on purpose', 'unset WORKERD_FAILPOINTS');
  if (has('WORKERD_RUN'))
    say(
      `this is inside of the worker ${oneLine(env['WORKERD_NAME'] ?? '')}: a daemon started from here would be ended with it`,
      'Run doctor from a shell of your own',
    );
  if (has('SUDO_USER') && asked.home === undefined && !has('WORKERD_HOME') && places.home === '/var/lib/workerd') {
    const user = shellWord(env['SUDO_USER'] ?? '');
    say(`under sudo this looks at root's daemon, not at that of ${oneLine(user)}`, 'Without sudo it is your own');
  }
  const told = ['WORKERD_HOME', 'WORKERD_SOCKET', 'WORKERD_AUTOSTART']
    .filter(has)
    .map((name) => `${name}=${oneLine(env[name] ?? '')}`);
  return orOk(faults, ok('environment', told.length === 0 ? 'no variable leads elsewhere' : told.join(' ')));
};

export const checkUnits = ({ units, uid, reach, home }: Facts): readonly Check[] => {
  if (units.length === 0) return [];
  const user = uid === 0 ? '' : ' --user';
  const faults = units.flatMap(({ name, enabled, active, state }): readonly Check[] =>
    !enabled || active
      ? []
      : [
          fail(
            'service',
            `${name} is enabled and not running (${state})`,
            `Start it: systemctl${user} start ${name}. Why it ended: journalctl${user} -u ${name}`,
          ),
        ],
  );
  const running = units.filter(({ active }) => active);
  if (faults.length === 0 && running.length === 0 && reach.kind === 'answers' && home.serviceMark) {
    return [
      warn(
        'service',
        'the daemon was started for a service manager, and its unit does not run',
        `Have the unit run it: workerctl daemon stop --keep-workers; systemctl${user} start workerd`,
      ),
    ];
  }
  const words = units.map(({ name, state, enabled }) => `${name} ${state}${enabled ? '' : ', not enabled'}`);
  return orOk(faults, ok('service', words.join('; ')));
};
