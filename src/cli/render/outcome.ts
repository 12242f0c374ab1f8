/** What became of a worker, in one line of talk. Pure. */
import type { WorkerView } from '../../shared/worker.ts';
import { durationText, exitText, oneLine } from './text.ts';

/** `stopped (exit code 0, ran 1.2s)`. */
export const endedText = (word: string, view: WorkerView): string => {
  const ran =
    view.startedAt === null || view.endedAt === null ? null : Date.parse(view.endedAt) - Date.parse(view.startedAt);
  const parts = [
    view.exit === null ? '' : exitText(view.exit),
    ran === null ? '' : `ran ${durationText(ran)}`,
    view.leftovers.length === 0 ? '' : `${view.leftovers.length} left over`,
  ].filter((part) => part !== '');
  return parts.length === 0 ? word : `${word} (${parts.join(', ')})`;
};

/** `running (pid 4711)`. */
export const runningText = (word: string, view: WorkerView): string => {
  const where = [
    view.pid === null ? '' : `pid ${view.pid}`,
    view.threadId === null ? '' : `thread ${view.threadId}`,
  ].filter((part) => part !== '');
  return where.length === 0 ? word : `${word} (${where.join(', ')})`;
};

export const alreadyText = ({ name, pid, phase }: WorkerView): string => {
  const which = pid === null ? (phase === 'running' ? '' : ` (${phase})`) : ` (pid ${pid})`;
  return `${name} is already running${which}`;
};

export const reasonText = (view: WorkerView): string => (view.reason === null ? '' : oneLine(view.reason));
