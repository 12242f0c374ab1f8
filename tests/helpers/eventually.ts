/** Waits for conditions with a deadline; says the last thing it saw when that passes. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface EventuallyOptions {
  readonly withinMs?: number;
  readonly what?: string;
}

/** Calls until it gives something truthy; an exception counts as "not yet". */
export const eventually = async <T>(
  look: () => T | Promise<T>,
  { withinMs = 30_000, what = 'the condition' }: EventuallyOptions = {},
): Promise<NonNullable<Exclude<T, false>>> => {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  for (;;) {
    try {
      const seen = await look();
      if (seen) return seen as NonNullable<Exclude<T, false>>;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const shown = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`${what}: not within ${withinMs} ms; last seen: ${shown}`);
    }
    await sleep(10);
  }
};
