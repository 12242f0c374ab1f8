/** Chance that can be had again: the seed is in the message of a failure, and WORKERD_TEST_SEED sets it. */
import type { Parameters } from 'fast-check';

export const seeded = <T>(numRuns: number): Parameters<T> => {
  const seed = process.env['WORKERD_TEST_SEED'];
  return seed === undefined ? { numRuns, verbose: 1 } : { numRuns, verbose: 1, seed: Number(seed) };
};
