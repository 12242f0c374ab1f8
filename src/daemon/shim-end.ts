/** Ends the shim with the daemon, and waits until its process is gone: the next daemon must not meet it. */
import type { Clock, Logger, ProcessTable } from './ports.ts';

export interface EndShimOptions {
  readonly link: { ready(): Promise<void>; shutdown(): Promise<number> };
  readonly processes: Pick<ProcessTable, 'startTimeOf'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** For each of the two: that it answers at all, and that it is gone. */
const withinMs = 5000;
const lookEveryMs = 10;

/** Never rejects: what did not end is logged. */
export const endShim = async ({ link, processes, clock, log }: EndShimOptions): Promise<void> => {
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      clock.at(clock.mono() + ms, resolve);
    });
  try {
    // Told to end while it was still starting one: nobody would end it.
    await Promise.race([link.ready(), pause(withinMs)]);
    const pid = await link.shutdown();
    const identity = processes.startTimeOf(pid);
    const untilMono = clock.mono() + withinMs;
    while (identity !== null && clock.mono() < untilMono && processes.startTimeOf(pid) === identity) {
      await pause(lookEveryMs);
    }
  } catch (error) {
    log.warn({ error: String(error) }, 'the shim did not end by itself');
  }
};
