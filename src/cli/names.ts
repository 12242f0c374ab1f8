/** Names on a command line: literals must match, globs may match nothing; each is worked on, the worst code counts. */
import { WorkerdError } from '../shared/errors.ts';
import { isGlob } from '../shared/glob.ts';
import type { StatusResult } from '../shared/protocol.ts';
import { sinceBoot } from '../shared/since-boot.ts';
import { isAlive, isWorkerName, type WorkerView } from '../shared/worker.ts';
import type { Context } from './context.ts';
import { quoted, usage } from './values.ts';

const globPattern = /^[A-Za-z0-9*?[][A-Za-z0-9._*?[\]!^-]{0,255}$/;

/** Every word is a name or a glob; what cannot be one is refused before anything is done. */
export const checkNames = (words: readonly string[]): void => {
  for (const word of words) {
    if (isGlob(word) ? globPattern.test(word) : isWorkerName(word)) continue;
    throw usage(
      `${quoted(word)} cannot be a worker's name; names are letters, digits, ".", "_" and "-", at most 64, and start with a letter or digit`,
    );
  }
};

/** All pages of `status`. */
export const allWorkers = async (
  context: Context,
  params: { readonly names?: readonly string[]; readonly showEnv?: boolean } = {},
): Promise<readonly WorkerView[]> => {
  const workers: WorkerView[] = [];
  let after: string | null = null;
  do {
    const page: StatusResult = await context.call('status', {
      ...(params.names === undefined ? {} : { names: [...params.names] }),
      ...(params.showEnv ? { showEnv: true } : {}),
      ...(after === null ? {} : { after }),
    });
    workers.push(...page.workers);
    after = page.next;
  } while (after !== null);
  return workers;
};

/** Literals as they stand (the verb itself says which are unknown), globs replaced by what they match. */
export const expandNames = async (context: Context, words: readonly string[]): Promise<readonly string[]> => {
  checkNames(words);
  const globs = words.filter(isGlob);
  if (globs.length === 0) return [...new Set(words)];
  const matched = (await allWorkers(context, { names: globs })).map((view) => view.name);
  const names = [...new Set([...words.filter((word) => !isGlob(word)), ...matched])];
  if (names.length === 0 && !context.json) context.note('no worker matches');
  return names;
};

/** Of which something runs: the worker itself, or what its last run left over. */
export const isAnythingLeft = ({ phase, leftovers }: WorkerView): boolean => isAlive(phase) || leftovers.length > 0;

interface Wish {
  readonly words: readonly string[];
  readonly all: boolean;
  /** Whom `--all` means; without it everyone. */
  readonly running?: (view: WorkerView) => boolean;
}

/** `--all` instead of names. */
export const namesOrAll = async (context: Context, { words, all, running }: Wish): Promise<readonly string[]> => {
  if (all && words.length > 0) throw usage('--all and names exclude each other');
  if (!all && words.length === 0) throw usage(`NAME is missing. See: workerctl ${context.verb} --help`);
  if (!all) return expandNames(context, words);
  const meant = (await allWorkers(context)).filter(running ?? (() => true));
  if (meant.length === 0 && !context.json)
    context.note(running === undefined ? 'there are no workers' : 'no worker runs');
  return meant.map((view) => view.name);
};

/** A connection takes no more than 1,024 requests that wait. */
const atOnce = 1000;

/**
 * Works on all names at once, over the one connection, where there are not too many; reports in the order of the names.
 * `lateMs`: so much later than the others is it begun, since they were.
 */
export const forEachName = async (
  context: Context,
  names: readonly string[],
  work: (name: string, lateMs: number) => Promise<() => number>,
): Promise<number> => {
  const begun: Promise<() => number>[] = [];
  const beganMono = sinceBoot();
  const begin = () => {
    const name = names[begun.length];
    if (name === undefined) return;
    const result = work(name, begun.length < atOnce ? 0 : Math.round(sinceBoot() - beganMono));
    begun.push(result);
    // How it ended is looked at in its turn below.
    result.then(begin, begin);
  };
  while (begun.length < Math.min(atOnce, names.length)) begin();
  let worst = 0;
  for (const result of begun) {
    let code: number;
    try {
      code = (await result)();
    } catch (error) {
      if (!(error instanceof WorkerdError)) throw error;
      code = context.fail(error);
    }
    worst = Math.max(worst, code);
  }
  return worst;
};
