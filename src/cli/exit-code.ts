/** The worker's own ending as an exit code of `run` and `wait`. Pure. */
import { constants } from 'node:os';
import { exitCodes } from '../shared/errors.ts';
import type { WorkerView } from '../shared/worker.ts';

const numbers: Readonly<Record<string, number>> = constants.signals;

/** 128+n for signal n; 127 program missing, 126 any other spawn failure; `null`: it never ran. */
export const exitCodeOf = ({ exit }: Pick<WorkerView, 'exit'>): number | null => {
  if (exit === null) return null;
  switch (exit.kind) {
    case 'code':
      return exit.code;
    case 'signal':
      return 128 + (numbers[exit.signal] ?? 0);
    case 'spawn-failed':
      // A missing directory is ENOENT as well, and no missing program.
      return exit.errno === 'ENOENT' && !exit.message.startsWith('cannot start in ') ? 127 : 126;
    case 'error':
      return exitCodes.failed;
    case 'returned':
      return exitCodes.done;
    case 'terminated':
      return 137;
    case 'lost':
      return exitCodes.unreachable;
    default:
      return exit satisfies never;
  }
};
