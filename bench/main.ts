/**
 * `npm run bench [-- NAME… --rounds N]`: ratios within one run, for people to read. Nothing here passes or fails.
 */
import { parseArgs } from 'node:util';

const suites = {
  cli: () => import('./cli.ts'),
  'start-stop': () => import('./start-stop.ts'),
  'crash-restart': () => import('./crash-restart.ts'),
} as const;
type SuiteName = keyof typeof suites;
const isSuite = (name: string): name is SuiteName => Object.hasOwn(suites, name);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '25' } },
});
const rounds = Number(values.rounds);
const names = positionals.length === 0 ? (Object.keys(suites) as SuiteName[]) : positionals.filter(isSuite);
const unknown = positionals.filter((name) => !isSuite(name));
if (unknown.length > 0 || !Number.isSafeInteger(rounds) || rounds < 1) {
  console.error(`usage: npm run bench [-- ${Object.keys(suites).join('|')} … --rounds N]`);
  process.exitCode = 2;
} else {
  console.log(`Node ${process.version}, ${rounds} rounds; ratios hold within one run, absolute times do not`);
  for (const name of names) await (await suites[name]()).run(rounds);
}
