/**
 * `npm run test:soak -- [--minutes 30] [--seed N] [--only PART…]`: the long form of tests/e2e/crash/random.test.ts, and
 * the rows L01, L03, L04, L05 and L06. Says now and then where it is; ends with a report, and with 1 where a bar is missed.
 */
import { parseArgs } from 'node:util';
import { Bars } from './bars.ts';
import { seedFromEnvironment } from './chance.ts';
import * as parts from './parts.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string' },
    only: { type: 'string', multiple: true },
  },
});
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? seedFromEnvironment() : Number(values.seed);
const all = { chaos: parts.chaos, load: parts.load, pings: parts.pings, starts: parts.starts, idle: parts.idle };
type Part = keyof typeof all;
const chosen = (values.only ?? Object.keys(all)) as Part[];
if (!(minutes > 0) || !Number.isSafeInteger(seed) || chosen.some((name) => !Object.hasOwn(all, name))) {
  console.error(`usage: npm run test:soak -- [--minutes N] [--seed N] [--only ${Object.keys(all).join('|')}]…`);
  process.exit(2);
}
/** Of the whole time. */
const shares: Record<Part, number> = { chaos: 0.35, load: 0.35, pings: 0.05, starts: 0.1, idle: 0.15 };
const whole = chosen.reduce((sum, name) => sum + shares[name], 0);

console.log(`soak: ${minutes} minutes, seed ${seed} (again: --seed ${seed}), Node ${process.version}`);
const bars = new Bars();
for (const name of chosen) {
  const partMinutes = (minutes * shares[name]) / whole;
  console.log(`\n${name}: ${partMinutes.toFixed(1)} minutes`);
  await all[name]({ minutes: partMinutes, seed, bars });
}
console.log('\nreport');
bars.print();
if (bars.missed > 0) console.log(`\n${bars.missed} missed; again with --seed ${seed}`);
process.exit(bars.missed > 0 ? 1 : 0);
