/**
 * L01 and L05: fifty workers that print without end, five watchers, two starts and stops a second, rotation; memory and
 * descriptors sampled. Beside them the ones that come and go are compared line by line; of those that stay, what is left
 * after rotation.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../src/shared/client.ts';
import { Sandbox } from '../helpers/sandbox.ts';
import { Books } from './books.ts';
import { LibraryCaller } from './callers.ts';
import { Chance } from './chance.ts';
import { type Definition, specOf } from './definitions.ts';
import { OrderCheck, watchAll } from './onlookers.ts';
import { OwnFiles } from './own-files.ts';
import { type PartOptions, progress } from './parts.ts';
import { checkRuns } from './runs-check.ts';
import { Samples } from './samples.ts';
import { World } from './world.ts';

const stay = 50;
const linesPerSecond = 10_000;
const logBytes = 1024 * 1024;
const logFiles = 3;
const warmUpShare = 1 / 3;

export const load = async ({ minutes, seed, bars }: PartOptions): Promise<void> => {
  await using box = new Sandbox();
  const world = new World(box);
  await world.start();
  const [books, chance, files] = [new Books(), new Chance(seed), new OwnFiles(box.directory)];
  const samples = new Samples(world, 10_000);
  const definition = (kind: Definition['kind']): Definition => ({
    kind,
    policy: 'no',
    graceMs: 5000,
    burst: Math.round(linesPerSecond / stay / 5),
    pauseMs: 200,
    lines: 0,
    end: 'code 0',
    stopEnd: kind === 'command' ? 'code 7' : 'returned',
    heeds: true,
    logBytes,
    directory: files.directory,
  });
  const client = await connect({ home: box.home, client: 'load' });
  const names = Array.from({ length: stay }, (_, index) => `stay-${index}`);
  const kindOf = (index: number) => (index % 5 === 0 ? ('thread' as const) : ('command' as const));
  for (const [index, name] of names.entries())
    await client.call('start', { name, spec: specOf(definition(kindOf(index))) });
  const ended = new AbortController();
  const watchers: Promise<void>[] = [];
  const callers: LibraryCaller[] = [];
  for (let index = 0; index < 5; index += 1) {
    const caller = await LibraryCaller.make(box.socket, `watcher ${index}`, books);
    callers.push(caller);
    watchers.push(watchAll(caller, new OrderCheck(`watcher ${index}`, books), ended.signal));
  }
  /** Its newest run, which is over: of those before, the files are gone. */
  const check = async (name: string) => {
    const { runs } = await client.call('history', { name, limit: 1 });
    const context = { books, files, logs: `${box.home}/logs` };
    checkRuns(
      {
        name,
        newest: runs[0]?.generation ?? 0,
        history: runs,
        kindOf: () => 'command',
        published: new Map(),
        aliveGeneration: null,
        dropsLogs: true,
      },
      context,
    );
  };
  const until = performance.now() + minutes * 60_000;
  let [nextSay, comesAndGoes] = [performance.now() + 30_000, 0];
  while (performance.now() < until) {
    const began = performance.now();
    for (let lane = 0; lane < 2; lane += 1) {
      const name = `goes-${comesAndGoes % 20}`;
      comesAndGoes += 1;
      await client.call('start', { name, spec: specOf(definition(chance.is(0.2) ? 'thread' : 'command')) });
      await sleep(chance.between(50, 200));
      await stopped(client, books, name);
      await check(name);
      await client.call('remove', { name });
      files.archive(name);
    }
    // The files that the workers write of themselves would fill the disk: one after another begins a new run.
    const name = names[comesAndGoes % names.length] ?? '';
    await stopped(client, books, name);
    await check(name);
    files.archive(name);
    await client.call('start', { name });
    if (performance.now() > nextSay) {
      nextSay = performance.now() + 30_000;
      const [daemon, shim] = [samples.of.daemon.at(-1), samples.of.shim.at(-1)];
      const shown = [daemon, shim].map(
        (sample) => `${((sample?.residentKib ?? 0) / 1024).toFixed(1)} MiB, ${sample?.descriptors} fds`,
      );
      progress(
        `daemon ${shown[0]}; shim ${shown[1]}; logs ${(samples.mostLogBytes / 2 ** 20).toFixed(0)} MiB; ${books.counts['lines compared']} lines; problems: ${books.problems.length}`,
      );
    }
    await sleep(Math.max(0, 1000 - (performance.now() - began)));
  }
  // What they hold goes with them from here on.
  samples.stop();
  for (const name of names) await stopped(client, books, name);
  for (const name of names) await check(name);
  ended.abort();
  await Promise.all(watchers);
  for (const caller of callers) caller.close();
  client.close();
  for (const problem of books.problems) console.log(`  PROBLEM ${problem}`);
  bars.atMost('L01: problems found', books.problems.length, 0, '');
  bars.note('L01: runs and lines compared', `${books.counts['runs compared']}, ${books.counts['lines compared']}`);
  bars.note('L01: events seen by five watchers', String(books.counts['events']));
  for (const program of ['daemon', 'shim'] as const) {
    const { kibPerMinute, minutes: long } = samples.slope(program, minutes * 60_000 * warmUpShare);
    // In a short run the garbage that waits to be collected is all there is to see.
    const most = long >= 5 ? 0.5 : 5;
    bars.atMost(`L01: ${program} grows a minute, over ${long.toFixed(1)} min`, kibPerMinute / 1024, most, 'MiB');
    bars.note(`L01: ${program} grows an hour`, `${((kibPerMinute * 60) / 1024).toFixed(1)} MiB`);
    const warm = samples.of[program].slice(Math.floor(samples.of[program].length * warmUpShare));
    const counts = warm.map((sample) => sample.descriptors);
    // Workers come and go meanwhile, with four pipes each.
    bars.atMost(`L01: descriptors of ${program}, most less least`, Math.max(...counts) - Math.min(...counts), 25, '');
  }
  bars.atMost('L01: zombies older than a look', samples.zombies, 0, '');
  const most = ((stay + 20) * logBytes * logFiles * 1.1) / 2 ** 20;
  bars.atMost('L05: logs on disk', samples.mostLogBytes / 2 ** 20, Math.round(most), 'MiB');
};

const stopped = async (client: Awaited<ReturnType<typeof connect>>, books: Books, name: string): Promise<void> => {
  const cause = books.cause({ kind: 'stop', name, signal: null, run: null });
  await client.call('stop', { name });
  cause.toMs = Date.now();
};
