/** What one may want to do next about a worker: a few words and a command to copy. Pure. */
import type { WorkerView } from '../../shared/worker.ts';
import { isUnready } from './cells.ts';
import { oneLine } from './text.ts';

export interface Hint {
  readonly why: string;
  readonly command: string | null;
}

export const hintsFor = (view: WorkerView): readonly Hint[] => {
  const name = oneLine(view.name);
  return [...phaseHints(view, name), ...leftoverHints(view, name)];
};

const phaseHints = (view: WorkerView, name: string): readonly Hint[] => {
  const again = { why: 'start it again', command: `workerctl start ${name}` };
  if (isUnready(view)) {
    return [{ why: 'it has to say that it is ready: ctx.ready(), or {"ready":true} on fd 3', command: null }];
  }
  if (view.phase === 'backoff') {
    return [
      { why: 'restart it now', command: `workerctl start ${name}` },
      { why: 'restart it no more', command: `workerctl stop ${name}` },
    ];
  }
  if (view.generation === 0) return [{ why: 'it has never run; start it', command: `workerctl start ${name}` }];
  if (view.phase !== 'failed') return [];
  if (view.exit?.kind === 'spawn-failed') {
    return [
      { why: 'give it a program and a directory that are there', command: `workerctl start -n ${name} -- COMMAND` },
      again,
    ];
  }
  const log = { why: 'all that it wrote', command: `workerctl logs ${name}` };
  if (view.reason === 'crash-loop') {
    return [
      { why: 'how each of ten short runs ended', command: `workerctl history ${name}` },
      log,
      { why: 'once that is mended', command: `workerctl start ${name}` },
    ];
  }
  return [log, again];
};

const leftoverHints = ({ leftovers, phase }: WorkerView, name: string): readonly Hint[] => {
  if (leftovers.length === 0) return [];
  const why = phase === 'stopping' ? 'try again to end it' : 'end what it left over';
  return [{ why, command: `workerctl stop ${name}` }];
};
