/**
 * `npm run bench [-- NAME… --rounds N --seconds N]`: ratios within one run, for people to read. Nothing here passes or fails.
 */
import { parseArgs } from 'node:util';

const suites = {
  cli: () => import('./cli.ts'),
  'start-stop': () => import('./start-stop.ts'),
  'crash-restart': () => import('./crash-restart.ts'),
  'fan-out': () => import('./fan-out.ts'),
  rpc: () => import('./rpc.ts'),
  many: () => import('./many.ts'),
  recovery: () => import('./recovery.ts'),
  'log-write': () => import('./log-write.ts'),
  'log-read': () => import('./log-read.ts'),
  idle: () => import('./idle.ts'),
} as const;
type SuiteName = keyof typeof suites;
const isSuite = (name: string): name is SuiteName => Object.hasOwn(suites, name);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '25' }, seconds: { type: 'string', default: '60' } },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const isCount = (number: number) => Number.isSafeInteger(number) && number >= 1;
const names = positionals.length === 0 ? (Object.keys(suites) as SuiteName[]) : positionals.filter(isSuite);
const unknown = positionals.filter((name) => !isSuite(name));
if (unknown.length > 0 || !isCount(rounds) || !isCount(seconds)) {
  console.error(`usage: npm run bench [-- ${Object.keys(suites).join('|')} … --rounds N --seconds N]`);
  process.exitCode = 2;
} else {
  console.log(`Node ${process.version}, ${rounds} rounds; ratios hold within one run, absolute times do not`);
  for (const name of names) await (await suites[name]()).run(rounds, seconds);
}
