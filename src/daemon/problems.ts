/**
 * What is wrong with the daemon's own surroundings, as it stands now: a closed list of kinds, each in words that name
 * the thing, the reason and the next step. Told by `daemon.info`, and so by `status` and `doctor`; what is noticed by
 * asking (`look`) is asked when somebody wants to know, so that a daemon nobody asks does nothing for it.
 */
import type { Problem, ProblemKind } from '../shared/daemon-info.ts';
import { timestamp } from './core/view.ts';
import type { Clock, Logger } from './ports.ts';

export interface ProblemsOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

interface Known {
  readonly since: number;
  readonly message: string;
}

export class Problems {
  readonly #options: ProblemsOptions;
  readonly #known = new Map<ProblemKind, Known>();
  readonly #looks = new Map<ProblemKind, () => string | null>();

  constructor(options: ProblemsOptions) {
    this.#options = options;
  }

  /** It is so, since now or since it was first said; the words are those said last. */
  set(kind: ProblemKind, message: string): void {
    const { clock, log } = this.#options;
    const known = this.#known.get(kind);
    if (known === undefined) log.warn({ problem: kind, why: message }, 'a problem began');
    this.#known.set(kind, { since: known?.since ?? clock.now(), message });
  }

  clear(kind: ProblemKind): void {
    if (this.#known.delete(kind)) this.#options.log.info({ problem: kind }, 'a problem is over');
  }

  has(kind: ProblemKind): boolean {
    return this.#known.has(kind);
  }

  /** Asked at every `list`: the words, or `null` where nothing is wrong. It must answer at once, and not throw. */
  look(kind: ProblemKind, ask: () => string | null): void {
    this.#looks.set(kind, ask);
  }

  /** The oldest first. */
  list(): readonly Problem[] {
    for (const [kind, ask] of this.#looks) {
      const message = ask();
      if (message === null) this.clear(kind);
      else this.set(kind, message);
    }
    return [...this.#known]
      .sort(([, a], [, b]) => a.since - b.since)
      .map(([kind, { since, message }]) => ({ kind, since: timestamp(since) ?? '', message }));
  }
}

/** Why the registry refuses, from what SQLite or the file system says, and what helps. */
export const registryTrouble = (path: string, error: Error): string => {
  const reason = reasonOf(error);
  const effect = 'what would change it is refused, stops are carried out, workers go on';
  const way = wayOutOf(reason, path);
  const then = way.startsWith('See') ? '' : '; then it goes on by itself';
  return `the registry ${path} cannot be written (${reason}): ${effect}. ${way}${then}`;
};

/** What is written to it from now on is in no directory. */
export const goneRegistry = (path: string): string =>
  `the registry ${path} is not there any more: the home was removed or moved under the daemon, and the next one will know nothing. ` +
  'Put it back where it was; or end this daemon and its workers: workerctl daemon stop';

const reasonOf = (error: Error): string => {
  const reason = 'data' in error ? (error.data as { reason?: unknown }).reason : undefined;
  return typeof reason === 'string' ? reason : error.message;
};

/** Whoever is refused because of it has this to do. */
export const wayOutOf = (reason: string, path: string): string => {
  if (/readonly|read-only|EROFS|EACCES|EPERM/i.test(reason)) return `Make ${path} and its directory writable again`;
  if (/full|ENOSPC|EDQUOT|no space/i.test(reason)) return 'Make room on its disk';
  return 'See what its disk says (dmesg) and what doctor finds (workerctl doctor)';
};

/** With how much of its descriptors in use a process is about to be refused the next one. */
const nearlyAll = 0.8;

/** `lowest`: the lowest number that is free, so that all below it are in use; `null`: none was to be had. */
export const descriptorTrouble = (lowest: number | null, limit: number | null): string | null => {
  const most = limit === null ? '' : ` of ${limit}`;
  const next =
    'Close clients (watch, logs -f) or stop workers; or restart the daemon under a higher limit: ulimit -n, LimitNOFILE=';
  if (lowest === null) return `the daemon has no file descriptor left${most}: clients and starts are refused. ${next}`;
  if (limit === null || lowest < limit * nearlyAll) return null;
  return `the daemon has ${lowest}${most} file descriptors in use: soon clients and starts are refused. ${next}`;
};

/** What the logs of these runs cost: `troubles` by worker, in the shim's words. */
export const logTrouble = (troubles: ReadonlyMap<string, string>, logs: string): string | null => {
  const [first] = troubles;
  if (first === undefined) return null;
  const [name, why] = first;
  const others = troubles.size === 1 ? '' : ` (and ${troubles.size - 1} more like it)`;
  return `worker ${name}: ${why}${others}. Make room or make ${logs} writable; logging then goes on by itself`;
};
