/** Where everything of one daemon lies: home, sockets, logs. Pure but for reading the environment it is given. */
import { dirname, join, resolve } from 'node:path';
import { WorkerdError } from './errors.ts';
import { limits } from './limits.ts';

export interface Places {
  readonly home: string;
  readonly socket: string;
  readonly shimSocket: string;
  readonly shimToken: string;
  readonly registry: string;
  readonly lock: string;
  /** The daemon's own log, when detached. */
  readonly daemonLog: string;
  readonly shimLog: string;
  readonly logs: string;
  /** A directory per live run with its FIFOs. */
  readonly runs: string;
  readonly cache: string;
  /** Present where a service manager runs the daemon: then clients wait for it and start none. */
  readonly serviceMark: string;
}

export interface PlacesInput {
  readonly home?: string | undefined;
  readonly socket?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
}

const set = (value: string | undefined): value is string => value !== undefined && value !== '';

/**
 * Home: `--home`, `$WORKERD_HOME`, for root `/var/lib/workerd`, else `${XDG_STATE_HOME:-~/.local/state}/workerd`.
 * Socket: `--socket`, `<--home>/workerd.sock`, `$WORKERD_SOCKET`, `<$WORKERD_HOME>/workerd.sock`, the default.
 * It does not depend on XDG_RUNTIME_DIR, which a login shell has and cron has not.
 */
export const resolvePlaces = ({ home, socket, env, uid }: PlacesInput): Places => {
  const named = set(home) ? resolve(home) : set(env['WORKERD_HOME']) ? resolve(env['WORKERD_HOME']) : null;
  const base = named ?? defaultHome(env, uid);
  return placesIn(base, findSocket());

  function findSocket(): string {
    if (set(socket)) return resolve(socket);
    if (set(home)) return join(base, 'workerd.sock');
    if (set(env['WORKERD_SOCKET'])) return resolve(env['WORKERD_SOCKET']);
    if (named === null && uid === 0) return '/run/workerd/workerd.sock';
    return join(base, 'workerd.sock');
  }
};

const placesIn = (home: string, socket: string): Places => ({
  home,
  socket,
  shimSocket: join(home, 'shim.sock'),
  shimToken: join(home, 'shim.token'),
  registry: join(home, 'registry.db'),
  lock: join(home, 'lock.db'),
  daemonLog: join(home, 'workerd.log'),
  shimLog: join(home, 'shim.log'),
  logs: join(home, 'logs'),
  runs: join(home, 'run'),
  cache: join(home, 'cache'),
  serviceMark: join(home, 'service'),
});

/** All files that daemon and shim keep in the home, under the names they have at rest. */
export const filesOf = ({ home, registry, lock, daemonLog, shimLog, shimToken, serviceMark }: Places) => {
  const databases = [registry, lock].flatMap((path) => ['', '-wal', '-shm', '-journal'].map((end) => `${path}${end}`));
  const facts = ['shim.facts', 'shim.seq'].map((name) => join(home, name));
  return [...databases, daemonLog, `${daemonLog}.1`, shimLog, `${shimLog}.1`, shimToken, serviceMark, ...facts];
};

const defaultHome = (env: PlacesInput['env'], uid: number): string => {
  if (uid === 0) return '/var/lib/workerd';
  const state = env['XDG_STATE_HOME'];
  // The XDG specification: a relative path there is invalid and ignored.
  if (set(state) && state.startsWith('/')) return join(state, 'workerd');
  return join(userHome(env), '.local', 'state', 'workerd');
};

const userHome = (env: PlacesInput['env']): string => {
  if (set(env['HOME'])) return env['HOME'];
  try {
    // Loaded only where it is needed: the CLI starts with every command.
    const home = process.getBuiltinModule('node:os').homedir();
    if (home !== '') return home;
  } catch {
    // A uid without a passwd entry, and no HOME: said below.
  }
  throw new WorkerdError('usage', 'there is no home directory for this user. Name a place with --home or WORKERD_HOME');
};

/** The name a socket is bound under before it is renamed to the public one. */
export const temporarySocketPath = (path: string, nonce: string): string =>
  join(dirname(path), `.${nonce.slice(0, 6)}`);

/** Linux cuts a longer path silently and listens elsewhere; so it is refused here. */
export const checkSocketPath = (path: string): void => {
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(temporarySocketPath(path, '000000')));
  if (longest <= limits.maxSocketPathBytes) return;
  throw new WorkerdError(
    'usage',
    `the socket path ${path} is too long: ${longest} bytes, at most ${limits.maxSocketPathBytes} can be used. ` +
      'Choose a shorter --home or --socket',
  );
};

/** Logs of one worker; thread hosts log under a name that no worker can have. */
export const workerLogDirectory = (places: Places, worker: string): string => join(places.logs, worker);
export const hostLogDirectory = (places: Places): string => join(places.logs, '.hosts');
export const runDirectory = (places: Places, run: string): string => join(places.runs, run);
