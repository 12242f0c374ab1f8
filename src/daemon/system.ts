/** The real clock, and small facts about this machine and this process. */
import { randomBytes } from 'node:crypto';
import { sinceBoot } from '../shared/since-boot.ts';
import type { Clock } from './ports.ts';

/** setTimeout takes no more; a longer deadline is reached in steps. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: sinceBoot,
  at(mono, callback) {
    let timer: NodeJS.Timeout;
    const arm = () => {
      const left = mono - sinceBoot();
      timer = setTimeout(
        () => {
          // Timers may fire a little early; a deadline never does.
          if (sinceBoot() < mono) arm();
          else callback();
        },
        Math.min(longestTimerMs, Math.max(0, Math.ceil(left))),
      );
    };
    arm();
    return () => clearTimeout(timer);
  },
};

export const nonce = (bytes: number): string => randomBytes(bytes).toString('hex');
