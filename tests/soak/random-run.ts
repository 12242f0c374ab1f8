/**
 * Random verbs of several clients at many workers, with random kills of the daemon, of workers and of thread hosts, and
 * with comparisons in between and at the end. Returns what was found; a seed gives the same draws, if not the same times.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../src/shared/client.ts';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';
import { Books } from './books.ts';
import { type Caller, CliCaller, LibraryCaller } from './callers.ts';
import { Chance } from './chance.ts';
import { Chaos } from './chaos.ts';
import { Crowd } from './crowd.ts';
import { drawDefinition } from './definitions.ts';
import { Follower, OrderCheck, watchAll } from './onlookers.ts';
import { OwnFiles } from './own-files.ts';
import { Owner } from './owner.ts';
import { checkQuiet } from './quiet.ts';
import { descriptors, World } from './world.ts';

export interface RandomOptions {
  readonly seed: number;
  /** Of random verbs; comparisons come on top. */
  readonly seconds: number;
  readonly owners: number;
  readonly shared: number;
  readonly crowd: number;
  /** Lines a second of one worker. */
  readonly rate: number;
  readonly periodSeconds: number;
  readonly chaosEveryMs: number;
  /** Between two verbs of one client, at most. */
  readonly pauseMs: number;
  /** `workerd restart` may not break a request either. */
  readonly strictRestart: boolean;
  readonly onPeriod?: ((books: Books, world: World) => void) | undefined;
}

export interface RandomReport {
  readonly books: Books;
  readonly descriptors: { readonly before: Counts; readonly after: Counts };
}
interface Counts {
  readonly daemon: number;
  readonly shim: number;
}

export const runAtRandom = async (options: RandomOptions): Promise<RandomReport> => {
  const { seed, owners: ownerCount, shared, crowd: crowdCount, rate, strictRestart } = options;
  const books = new Books();
  const chance = new Chance(seed);
  await using box = new Sandbox();
  const world = new World(box);
  const files = new OwnFiles(box.directory);
  await world.start();
  const before = await restingDescriptors(world, files, chance.fork());
  const callers: Caller[] = [];
  for (const label of ['library 1', 'library 2', 'library 3'])
    callers.push(await LibraryCaller.make(box.socket, label, books));
  for (const label of ['cli 1', 'cli 2']) callers.push(new CliCaller(label, box.env(), box.directory, books));
  const names = Array.from({ length: ownerCount }, (_, index) => `own-${index}`);
  const owners = names.map(
    (name) => new Owner({ name, chance: chance.fork(), callers, books, files, world, rate, strictRestart }),
  );
  const definitions = { directory: files.directory, rate, mayEnd: false };
  const sharedWorkers = new Map(
    Array.from({ length: shared }, (_, index) => [`shared-${index}`, drawDefinition(chance, definitions)] as const),
  );
  const crowds = Array.from(
    { length: crowdCount },
    () => new Crowd({ workers: sharedWorkers, chance: chance.fork(), callers, books, strictRestart }),
  );
  const looker = await connect({ home: box.home, client: 'looker' });
  const ended = new AbortController();
  const agreed = new Map<string, string>();
  const onlookers: Promise<void>[] = [];
  const followers: Follower[] = [];
  const watching: LibraryCaller[] = [];
  const look = async (label: string, begin: (caller: LibraryCaller) => Promise<void>) => {
    const caller = await LibraryCaller.make(box.socket, label, books);
    watching.push(caller);
    onlookers.push(begin(caller).catch((error: unknown) => books.problem(`${label}: ended: ${String(error)}`)));
  };
  const [firstCaller] = callers;
  if (firstCaller !== undefined) await crowds[0]?.define(firstCaller);
  for (const label of ['watcher 1', 'watcher 2']) {
    await look(label, (caller) => watchAll(caller, new OrderCheck(label, books, agreed), ended.signal));
  }
  for (const name of [...names.slice(0, 3), ...[...sharedWorkers.keys()].slice(0, 2)]) {
    const follower = new Follower(name, books);
    followers.push(follower);
    await look(`follower of ${name}`, (caller) => follower.follow(caller, ended.signal));
  }
  const chaos = new Chaos({
    chance: chance.fork(),
    world,
    books,
    callers: [...callers, ...watching],
    meanPauseMs: options.chaosEveryMs,
  });
  const quiet = { world, books, files, client: looker, owners, followers };
  const actors = [...owners, ...crowds].map((actor) => ({ actor, chance: chance.fork() }));
  for (const until = performance.now() + options.seconds * 1000; performance.now() < until; ) {
    const period = AbortSignal.timeout(
      Math.ceil(Math.min(options.periodSeconds * 1000, Math.max(1, until - performance.now()))),
    );
    const acting = actors.map(async ({ actor, chance: own }) => {
      while (!period.aborted) {
        await actor.step();
        await sleep(own.between(0, options.pauseMs));
      }
    });
    await Promise.all([...acting, chaos.rage(period)]);
    await world.start();
    await checkQuiet(quiet);
    options.onPeriod?.(books, world);
  }
  const stopping = books.cause({ kind: 'stop', name: null, signal: null, run: null });
  await stopAll(box, books);
  stopping.toMs = Date.now();
  for (const owner of owners) owner.stopped();
  await checkQuiet(quiet);
  ended.abort();
  for (const caller of [...callers, ...watching]) caller.close();
  await Promise.all(onlookers);
  looker.close();
  const after = await eventually(
    async () => {
      const now = await counted(world);
      if (now.daemon > before.daemon + 5 || now.shim > before.shim + 5) throw new Error(await shownDescriptors(world));
      return now;
    },
    { what: 'descriptors are back', withinMs: 15_000 },
  ).catch(async (error: Error) => {
    books.problem(`${error.message}; before: ${JSON.stringify(before)}`);
    return counted(world);
  });
  await checkColdStart(box, books);
  return { books, descriptors: { before, after } };
};

const counted = async (world: World): Promise<Counts> => ({
  daemon: descriptors(await world.theDaemon()).length,
  shim: descriptors(await world.theShim()).length,
});

const shownDescriptors = async (world: World): Promise<string> =>
  JSON.stringify({ daemon: descriptors(await world.theDaemon()), shim: descriptors(await world.theShim()) });

/** With nothing running, after one of each kind has run. */
const restingDescriptors = async (world: World, files: OwnFiles, chance: Chance): Promise<Counts> => {
  const { box } = world;
  for (const kind of ['command', 'process', 'thread'] as const) {
    const drawn = drawDefinition(chance, { directory: files.directory, rate: 10, mayEnd: false });
    const caller = new CliCaller('first', box.env(), box.directory, new Books());
    const outcome = await caller.ask({ method: 'start', params: { name: 'first' }, definition: { ...drawn, kind } });
    if (outcome.kind !== 'answer') throw new Error(`the first ${kind} does not start: ${JSON.stringify(outcome)}`);
    await caller.ask({ method: 'stop', params: { name: 'first', force: true } });
  }
  await box.workerctl(['rm', 'first']);
  files.archive('first');
  return counted(world);
};

const stopAll = async (box: Sandbox, books: Books): Promise<void> => {
  const { code, stdout, stderr } = await box.workerctl(['stop', '--all', '--json']);
  if (code !== 0) books.problem(`stop --all: ${code}: ${stdout}${stderr}`);
  const status = await box.workerctl(['status', '--json']);
  for (const { name, phase, pid } of (
    JSON.parse(status.stdout) as { workers: { name: string; phase: string; pid: number }[] }
  ).workers) {
    if (pid !== null || !['stopped', 'exited', 'failed'].includes(phase))
      books.problem(`stop --all, and ${name} is ${phase}`);
  }
};

/** After an orderly end those that are enabled are started, and no others. */
const checkColdStart = async (box: Sandbox, books: Books): Promise<void> => {
  const client = await connect({ home: box.home, client: 'cold start', reconnectMs: 0 });
  const { workers } = await client.call('status', { limit: 1000 });
  client.close();
  await box.workerd(['stop']);
  await box.startDaemon();
  const again = await connect({ home: box.home, client: 'cold start' });
  for (const { name, enabled, generation } of workers) {
    const [now] = (await again.call('status', { names: [name] })).workers;
    const began = now !== undefined && now.generation > generation;
    if (began !== enabled) books.problem(`cold start: ${name} is enabled: ${enabled}, and started: ${began}`);
  }
  again.close();
};
