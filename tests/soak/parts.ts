/** The parts of the soak: chaos (random verbs and kills), and rows L01, L03 to L06 of the catalogue of faults. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { activityOf } from '../../bench/proc.ts';
import { connect } from '../../src/shared/client.ts';
import type { Exit } from '../../src/shared/worker.ts';
import { Sandbox } from '../helpers/sandbox.ts';
import type { Bars } from './bars.ts';
import type { Books } from './books.ts';
import { Chance } from './chance.ts';
import { runAtRandom } from './random-run.ts';
import { type Sample, Samples } from './samples.ts';
import { World } from './world.ts';

export { load } from './load.ts';

export interface PartOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly bars: Bars;
}

const at = (samples: readonly number[], share: number): number =>
  [...samples].sort((left, right) => left - right)[Math.min(samples.length - 1, Math.floor(samples.length * share))] ??
  Number.NaN;

export const progress = (text: string): void => console.log(`  ${new Date().toISOString().slice(11, 19)} ${text}`);

const sayProblems = (books: Books, from: number): void => {
  for (const problem of books.problems.slice(from)) console.log(`  PROBLEM ${problem}`);
};

/** Kills at random while several clients ask for everything: in rounds, each in a home of its own. */
export const chaos = async ({ minutes, seed, bars }: PartOptions): Promise<void> => {
  const chance = new Chance(seed);
  const sums: Record<string, number> = {};
  const recoveries: number[] = [];
  let [problems, rounds, mostDaemon, mostShim] = [0, 0, 0, 0];
  const until = performance.now() + minutes * 60_000;
  while (rounds === 0 || performance.now() < until) {
    rounds += 1;
    const roundSeed = rounds === 1 ? seed : chance.between(0, 2 ** 32 - 1);
    const seconds = Math.max(20, Math.min(300, (until - performance.now()) / 1000 - 30));
    progress(`round ${rounds}, seed ${roundSeed}, ${seconds.toFixed(0)} s`);
    let said = 0;
    const { books, descriptors } = await runAtRandom({
      seed: roundSeed,
      seconds,
      owners: 12,
      shared: 4,
      crowd: 3,
      rate: 150,
      periodSeconds: 20,
      chaosEveryMs: 900,
      pauseMs: 300,
      strictRestart: process.env['WORKERD_SOAK_LENIENT_RESTART'] === undefined,
      onPeriod: ({ counts, problems: found }) => {
        const shown = [
          'daemons killed',
          'shims killed',
          'workers killed',
          'thread hosts killed',
          'requests answered',
          'runs compared',
          'lines compared',
        ];
        progress(`${shown.map((what) => `${counts[what] ?? 0} ${what}`).join(', ')}; problems: ${found.length}`);
        for (const problem of found.slice(said)) console.log(`  PROBLEM ${problem}`);
        said = found.length;
      },
    });
    sayProblems(books, said);
    for (const [what, count] of Object.entries(books.counts)) sums[what] = (sums[what] ?? 0) + count;
    recoveries.push(...books.recoveriesMs);
    problems += books.problems.length;
    mostDaemon = Math.max(mostDaemon, descriptors.after.daemon - descriptors.before.daemon);
    mostShim = Math.max(mostShim, descriptors.after.shim - descriptors.before.shim);
  }
  bars.atMost('chaos: problems found', problems, 0, '');
  for (const what of Object.keys(sums).sort())
    if (!what.startsWith('verb') && !what.startsWith('chaos')) bars.note(`chaos: ${what}`, String(sums[what]));
  bars.note(
    'chaos: recovery, p50 and most',
    `${at(recoveries, 0.5).toFixed(0)}, ${Math.max(...recoveries).toFixed(0)} ms`,
  );
  bars.atMost('chaos: descriptors more than before, daemon', mostDaemon, 5, '');
  bars.atMost('chaos: descriptors more than before, shim', mostShim, 5, '');
};

const mib = (now: Sample | undefined, before: Sample | undefined): string =>
  `${(((now?.residentKib ?? Number.NaN) - (before?.residentKib ?? 0)) / 1024).toFixed(1)} MiB`;

/** L03: connections that come, ask a little, and go. */
export const pings = async ({ minutes, bars }: PartOptions): Promise<void> => {
  await using box = new Sandbox();
  const world = new World(box);
  await world.start();
  const samples = new Samples(world, 1_000_000);
  const wanted = 60_000;
  const until = performance.now() + minutes * 60_000;
  const took: { readonly atMs: number; readonly ms: number }[] = [];
  let connections = 0;
  const one = async () => {
    const client = await connect({ home: box.home, client: 'pings' });
    for (let index = 0; index < 10; index += 1) {
      const began = performance.now();
      await client.call('daemon.info', {});
      took.push({ atMs: began, ms: performance.now() - began });
    }
    client.close();
    connections += 1;
  };
  samples.take();
  const cold = samples.of.daemon.at(-1);
  // What the first thousands make grow is garbage that V8 sees no reason to collect yet: it is said, and stays as it is.
  while (connections < 10_000) await Promise.all([one(), one(), one(), one()]);
  samples.take();
  const before = samples.of.daemon.at(-1);
  while (connections < wanted && performance.now() < until) {
    for (let index = 0; index < 250; index += 1) await Promise.all([one(), one(), one(), one()]);
  }
  await sleep(2000);
  samples.take();
  samples.stop();
  const after = samples.of.daemon.at(-1);
  const [first, last] = [took[0]?.atMs ?? 0, took.at(-1)?.atMs ?? 0];
  const share = Math.min(60_000, (last - first) / 4);
  const early = at(
    took.filter(({ atMs }) => atMs < first + share).map(({ ms }) => ms),
    0.99,
  );
  const late = at(
    took.filter(({ atMs }) => atMs > last - share).map(({ ms }) => ms),
    0.99,
  );
  progress(`${connections} connections, ${took.length} pings; p99 ${early.toFixed(2)} ms, then ${late.toFixed(2)} ms`);
  bars.note('L03: connections', String(connections));
  bars.note('L03: the daemon grew before, while warming up', mib(before, cold));
  bars.atMost(
    'L03: the daemon has grown by',
    ((after?.residentKib ?? Number.NaN) - (before?.residentKib ?? 0)) / 1024,
    10,
    'MiB',
  );
  bars.atMost(
    'L03: descriptors more than before',
    (after?.descriptors ?? Number.NaN) - (before?.descriptors ?? 0),
    5,
    '',
  );
  bars.atMost('L03: p99 at the end beside the beginning', late / early, 1.8, '×');
};

/** L04: starts until pids wrap; each ending is that of its own worker. */
export const starts = async ({ minutes, bars }: PartOptions): Promise<void> => {
  await using box = new Sandbox();
  const world = new World(box);
  await world.start();
  const pidMax = Number(readFileSync('/proc/sys/kernel/pid_max', 'latin1'));
  const until = performance.now() + minutes * 60_000;
  const client = await connect({ home: box.home, client: 'starts' });
  const samples = new Samples(world, 1_000_000);
  let [started, wrong, number] = [0, 0, 0];
  const pids = new Set<number>();
  const one = async (lane: number) => {
    number += 1;
    const code = number % 256;
    const name = `lane-${lane}`;
    const spec = { kind: 'command' as const, command: ['sh', '-c', `exit ${code}`] };
    const { worker } = await client.call('start', { name, spec });
    const { worker: ended } = await client.call('wait', { name, for: 'exit' });
    const { exit } = ended as { exit: Exit | null };
    started += 1;
    if (worker.pid !== null) pids.add(worker.pid);
    if (exit?.kind !== 'code' || exit.code !== code) {
      wrong += 1;
      progress(`PROBLEM ${name} generation ${ended.generation}: ${JSON.stringify(exit)} and not ${code}`);
    }
    if (started % 50 === 0) await client.call('remove', { name, keepLogs: false });
  };
  while (started < 400) await Promise.all(Array.from({ length: 8 }, (_, lane) => one(lane)));
  samples.take();
  while (started < 40_000 && performance.now() < until) {
    await Promise.all(Array.from({ length: 8 }, (_, lane) => one(lane)));
    if (started % 4000 === 0) progress(`${started} starts`);
  }
  await sleep(2000);
  samples.take();
  samples.stop();
  client.close();
  const grown = (program: 'daemon' | 'shim') => {
    const [first, last] = [samples.of[program][0], samples.of[program].at(-1)];
    return ((last?.residentKib ?? Number.NaN) - (first?.residentKib ?? 0)) / 1024;
  };
  bars.note('L04: starts (pid_max)', `${started} (${pidMax})`);
  bars.note('L04: pids met twice', String(started - pids.size));
  bars.atMost('L04: endings of another worker', wrong, 0, '');
  bars.atMost('L02/L04: the daemon has grown by', grown('daemon'), 20, 'MiB');
  bars.atMost('L02/L04: the shim has grown by', grown('shim'), 20, 'MiB');
};

/** L06: fifty that sleep. */
export const idle = async ({ minutes, bars }: PartOptions): Promise<void> => {
  await using box = new Sandbox();
  const world = new World(box);
  await world.start();
  const client = await connect({ home: box.home, client: 'idle' });
  const spec = { kind: 'command' as const, command: ['sleep', '100000'] };
  await Promise.all(Array.from({ length: 50 }, (_, index) => client.call('start', { name: `idle-${index}`, spec })));
  client.close();
  await sleep(5000);
  const pids = [await world.theDaemon(), await world.theShim()];
  const written = () =>
    pids.reduce(
      (sum, pid) => sum + Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]),
      0,
    );
  const [before, bytesBefore] = [activityOf(pids), written()];
  const began = performance.now();
  await sleep(Math.max(5, minutes * 60 - 10) * 1000);
  const seconds = (performance.now() - began) / 1000;
  bars.atMost('L06: CPU of daemon and shim', (activityOf(pids).cpuMs - before.cpuMs) / 10 / seconds, 0.5, '%');
  bars.atMost('L06: bytes written by both', written() - bytesBefore, 0, 'B');
};
