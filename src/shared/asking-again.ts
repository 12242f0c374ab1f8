/** What a client may ask once more when its connection was lost or its daemon was replaced, and in which words. */
import type { Accepted } from './connection.ts';
import { WorkerdError } from './errors.ts';
import { isGlob } from './glob.ts';
import { isAlive, type WorkerView } from './worker.ts';

/** Asked again on a new connection: twice is as good as once. */
export const repeatable: ReadonlySet<string> = new Set([
  'hello',
  'status',
  'watch',
  'logs',
  'logs.locate',
  'wait',
  'history',
  'stop',
  'enable',
  'disable',
  'daemon.info',
  'rpc.discover',
]);

/** The daemon may be back, or another one on its way. */
export const mayPass = (error: unknown): boolean => {
  if (!(error instanceof WorkerdError)) return false;
  if (error.code === 'daemon.stopping') return true;
  const { reason } = error.data;
  return error.code === 'daemon.unreachable' && reason !== 'permission denied' && reason !== 'protocol mismatch';
};

/** What was asked, to a daemon whose predecessor had begun it. */
export const goingOn = (params: object, resume: Accepted | null): object => {
  if (resume === null) return params;
  const { name, ...begun } = resume;
  const {
    spec: _defined,
    caller: _captured,
    ifRunning: _met,
    enable: _done,
    ...kept
  } = params as Record<string, unknown>;
  return { ...kept, name, resume: begun };
};

export const isPast = (worker: WorkerView, generation: number): boolean =>
  worker.generation > generation ||
  ((!isAlive(worker.phase) || worker.phase === 'backoff') && worker.leftovers.length === 0);

/** A worker that was removed while we were away must not make the whole be refused: a glob may match nothing. */
export const asGlob = (name: string): string => (isGlob(name) ? name : `[${name.charAt(0)}]${name.slice(1)}`);
