/** What the daemon says is wrong with its surroundings, said beside a result that people read. */
import type { Problem } from '../shared/daemon-info.ts';
import type { Context } from './context.ts';
import { timeText } from './render/text.ts';

/**
 * Asks along with what is asked in the same turn, so that both travel in one write; nothing of it is worth failing for.
 * A daemon of before knows of no problems.
 */
export const askProblems = async (context: Context): Promise<readonly Problem[]> => {
  try {
    return (await context.call('daemon.info', {})).problems ?? [];
  } catch {
    return [];
  }
};

export const sayProblems = (context: Context, problems: readonly Problem[]): void => {
  const today = timeText(new Date(context.now()).toISOString()).slice(0, 11);
  for (const { since, message } of problems) context.note(`${message} (since ${timeText(since).replace(today, '')})`);
};
