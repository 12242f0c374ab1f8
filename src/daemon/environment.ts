/** What a worker finds around it: its environment. Pure. */
import { isClean, isPrivate, isSteering } from '../shared/environment.ts';
import { failpointVariable } from '../shared/failpoints.ts';
import type { Places } from '../shared/paths.ts';
import type { Caller, Spec } from '../shared/worker.ts';
import { runMarker } from './shim/protocol.ts';

type Environment = Readonly<Record<string, string>>;

const pick = (env: Readonly<Record<string, string | undefined>>, keep: (key: string) => boolean) => {
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(env)) if (value !== undefined && keep(key)) kept[key] = value;
  return kept;
};

/** For the daemon's own helpers, the shim, and workers of clients that name no caller. */
export const cleanEnvironment = (env: Readonly<Record<string, string | undefined>>): Environment =>
  pick(env, (key) => isClean(key) && !isSteering(key));

/** The shim's: as the daemon's helpers', and the faults that a test injects (never a worker's: it is a private name). */
export const shimEnvironment = (env: Readonly<Record<string, string | undefined>>): Environment => ({
  ...cleanEnvironment(env),
  ...pick(env, (key) => key === failpointVariable),
});

/** What is kept of a caller: of one whose environment is not inherited only what is passed on all the same. */
export const capturedCaller = (spec: Pick<Spec, 'inheritEnv'>, caller: Caller): Caller =>
  spec.inheritEnv ? caller : { ...caller, env: cleanEnvironment(caller.env) };

export interface RunIdentity {
  readonly run: string;
  readonly name: string;
  readonly generation: number;
}

export interface UserEntry {
  readonly name: string;
  readonly home: string;
  readonly shell: string;
}

export interface WorkerEnvironment {
  readonly spec: Spec;
  readonly caller: Caller;
  readonly identity: RunIdentity;
  readonly places: Pick<Places, 'home' | 'socket'>;
  /** The account it runs as, where that is another than the daemon's. */
  readonly account: UserEntry | null;
}

export const workerEnvironment = ({ spec, caller, identity, places, account }: WorkerEnvironment): Environment => ({
  ...pick(caller.env, (key) => !isPrivate(key) && (spec.inheritEnv || isClean(key))),
  ...(account === null ? {} : { HOME: account.home, USER: account.name, LOGNAME: account.name, SHELL: account.shell }),
  ...pick(spec.env, (key) => !isPrivate(key)),
  WORKERD_NAME: identity.name,
  WORKERD_GENERATION: String(identity.generation),
  [runMarker]: identity.run,
  WORKERD_HOME: places.home,
  WORKERD_SOCKET: places.socket,
  WORKERD_PARAMS: JSON.stringify(spec.params),
  // A thread has a channel of its own, opened by name; these two are descriptors of a process.
  ...(spec.kind === 'thread' ? {} : { WORKERD_FD: '3', WORKERD_DOWN_FD: '4' }),
});
