/** Why a start came to nothing, in words and as an error. Pure. */
import { WorkerdError } from '../shared/errors.ts';
import type { Exit } from '../shared/worker.ts';
import type { WorkerRecord } from './core/model.ts';
import { viewOf } from './core/view.ts';

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

export const describeExit = (exit: Exit): string => {
  switch (exit.kind) {
    case 'code':
      return `it ended with exit code ${exit.code}`;
    case 'signal':
      return `it was ended by ${exit.signal}`;
    case 'spawn-failed':
      return `${firstLine(exit.message)} (${exit.errno})`;
    case 'error':
      return `${exit.name}: ${firstLine(exit.message)}`;
    case 'returned':
      return 'it ended before it was ready';
    case 'terminated':
      return 'it was ended by force';
    case 'lost':
      return `it was lost: ${exit.reason}`;
    default:
      return exit satisfies never;
  }
};

export const startFailed = (worker: WorkerRecord, generation: number): WorkerdError => {
  const { name, run } = worker;
  const own = run !== null && run.generation === generation ? run : null;
  const exit = own?.exit ?? null;
  const why =
    exit !== null && own?.stop == null
      ? describeExit(exit)
      : run !== null && run.generation > generation
        ? 'it was replaced by a newer run'
        : own === null && worker.reason !== null
          ? worker.reason
          : 'it was stopped before that';
  const next = exit === null ? '' : `. See: workerctl logs ${name}`;
  return new WorkerdError('worker.start-failed', `${name} did not start: ${why}${next}`, {
    name,
    generation,
    exit,
    worker: viewOf(worker),
  });
};
