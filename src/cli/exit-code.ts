/** The worker's own ending as an exit code of `run` and `wait`. Pure. */
import { constants } from 'node:os';
import { exitCodes } from '../shared/errors.ts';
import type { WorkerView } from '../shared/worker.ts';

const numbers: Readonly<Record<string, number>> = constants.signals;

/** 128+n for signal n; 127 program missing, 126 any other spawn failure; `null`: it never ran. */
export const exitCodeOf = ({ exit, spec }: Pick<WorkerView, 'exit' | 'spec'>): number | null => {
  if (exit === null) return null;
  switch (exit.kind) {
    case 'code':
      return exit.code;
    case 'signal':
      return 128 + (numbers[exit.signal] ?? 0);
    case 'spawn-failed':
      return exit.errno === 'ENOENT' && !isAboutDirectory(exit.message, spec.cwd) ? 127 : 126;
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

/** A missing working directory is ENOENT as well; the message names what is missing. */
const isAboutDirectory = (message: string, cwd: string | null): boolean =>
  /\b(?:working directory|cwd|chdir)\b/i.test(message) || (cwd !== null && message.endsWith(cwd));
