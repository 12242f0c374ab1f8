/**
 * Random verbs of several clients, random kills of the daemon, of workers and of thread hosts: at quiet points and at
 * the end registry, process table, logs, endings and events are of one mind. The long form is `npm run test:soak`.
 * WORKERD_TEST_SEED sets the seed, which is in a failure's message.
 */
import { expect, test } from 'vitest';
import { runAtRandom } from '../../soak/random-run.ts';

// The same lots each time, so that what fails belongs to the change at hand; `npm run test:soak` draws others.
const given = process.env['WORKERD_TEST_SEED'];
const seeds = given === undefined ? [1_602_592_665, 3_948_817_064] : [Number(given)];

test.each(seeds)('nothing is lost, doubled or made up (seed %i)', { timeout: 240_000 }, async (seed) => {
  const { books } = await runAtRandom({
    seed,
    seconds: 18,
    owners: 6,
    shared: 2,
    crowd: 2,
    rate: 60,
    periodSeconds: 6,
    chaosEveryMs: 900,
    pauseMs: 250,
    strictRestart: true,
  });
  expect(books.problems, `WORKERD_TEST_SEED=${seed}`).toEqual([]);
  // A run in which nothing was done would prove nothing.
  expect(books.counts['requests answered']).toBeGreaterThan(20);
  expect(books.counts['lines compared']).toBeGreaterThan(100);
  expect(books.counts['comparisons']).toBeGreaterThanOrEqual(2);
});
