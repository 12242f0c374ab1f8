/**
 * The daemon's replacement by the build that is on disk, in the same process: checked beforehand, begun only when every
 * request under way is answered, and announced beside the socket, so that clients wait for the moment it takes.
 */
import { WorkerdError } from '../shared/errors.ts';
import {
  forgetHandover,
  handoverMs,
  handoverPath,
  isHandingOver,
  readHandover,
  startTimeOf,
  writeHandover,
} from '../shared/handover.ts';
import { sinceBoot } from '../shared/since-boot.ts';
import type { Admission } from './admission.ts';
import type { Logger } from './ports.ts';
import { type BuildCheck, checkBuild } from './self-check.ts';
import type { Waiters } from './waiters.ts';

export interface ReplacementOptions extends BuildCheck {
  readonly admission: Admission;
  readonly waiters: Waiters;
  readonly log: Logger;
}

/** Requests that were begun are answered within this, or told that they are not. */
const settleWithinMs = 3000;

export class Replacement {
  readonly #options: ReplacementOptions;

  constructor(options: ReplacementOptions) {
    this.#options = options;
  }

  /** Rejects, in words, where the build cannot take over; changes nothing. */
  async check(): Promise<void> {
    const { version } = await checkBuild(this.#options);
    this.#options.log.info({ version }, 'replacing the daemon');
  }

  /** Throws where it cannot be announced. From here on nothing is begun, and whoever waits is told to go on with the next daemon. */
  begin(): void {
    const { admission, waiters, places } = this.#options;
    const { pid } = process;
    const fromMono = sinceBoot();
    // First: where it cannot be written, nothing has changed.
    const startTime = startTimeOf(pid) ?? 0;
    try {
      writeHandover(places.socket, { pid, startTime, fromMono, untilMono: fromMono + handoverMs });
    } catch (error) {
      throw notAnnounced(handoverPath(places.socket), error);
    }
    admission.close(() => beingReplaced('the daemon is being replaced; ask again'));
    waiters.interrupt(() => beingReplaced('the daemon is being replaced; what was asked for goes on'));
  }

  /** Resolves when every answer is on its way. */
  async settle(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#options.log.warn(
        { withinMs: settleWithinMs },
        'requests were not answered in time; replacing all the same',
      );
      late.resolve();
    }, settleWithinMs);
    const { admission } = this.#options;
    await Promise.race([admission.idle(), late.promise]);
    clearTimeout(timer);
    // Cut off without a word it would count as not done, and be done twice.
    admission.cut((repeatable) => (repeatable ? beingReplaced('it takes too long; ask again') : notKnown()));
    // What was answered just now is queued, and leaves at the end of a turn.
    for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
  }
}

const notAnnounced = (path: string, error: unknown): WorkerdError => {
  const reason = error instanceof Error ? error.message : String(error);
  const why = `the note for those who find no socket meanwhile, ${path}, cannot be written (${reason})`;
  return new WorkerdError(
    'limit.exceeded',
    `the running daemon stays: ${why}. Make room or let us write there, then try again`,
    { limit: 'handover', reason },
    { cause: error },
  );
};

const notKnown = (): WorkerdError =>
  new WorkerdError(
    'worker.busy',
    'it is not known what came of it: the daemon was replaced before it was done. See: workerctl status',
    { reason: 'replaced' },
  );

const beingReplaced = (message: string): WorkerdError =>
  new WorkerdError('daemon.stopping', message, { restarting: true });

/** `null`: nobody is being replaced here; `'us'`: we are what the last daemon has become. */
export const replacedBy = (socket: string): 'us' | 'another' | null => {
  const handover = isHandingOver(socket);
  if (handover === null) return null;
  return handover.pid === process.pid ? 'us' : 'another';
};

/** The next daemon listens, since that moment and no earlier: by it clients tell which of both they had reached. */
export const endHandover = (socket: string, untilMono: number): void => {
  const handover = readHandover(socket);
  if (handover === null) return;
  try {
    if (handover.pid !== process.pid) forgetHandover(socket);
    else if (handover.untilMono > untilMono) writeHandover(socket, { ...handover, untilMono });
  } catch {
    // No room for it: the note runs out by itself, and nobody who reaches us asks for it before that.
  }
};
