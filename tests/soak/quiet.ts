/** What must hold where nobody asks for anything: registry, process table, logs, endings, messages are of one mind. */
import { isDeepStrictEqual } from 'node:util';
import type { Client } from '../../src/shared/client.ts';
import { isAlive, type WorkerView } from '../../src/shared/worker.ts';
import { eventually } from '../helpers/eventually.ts';
import type { Books } from './books.ts';
import type { Follower } from './onlookers.ts';
import type { OwnFiles, OwnRun } from './own-files.ts';
import type { Owner } from './owner.ts';
import { checkRuns } from './runs-check.ts';
import type { Proc, World } from './world.ts';

export interface QuietOptions {
  readonly world: World;
  readonly books: Books;
  readonly files: OwnFiles;
  readonly client: Client;
  readonly owners: readonly Owner[];
  readonly followers: readonly Follower[];
}

const allOf = async (client: Client): Promise<readonly WorkerView[]> => {
  const workers: WorkerView[] = [];
  for (let after: string | null = ''; after !== null; ) {
    const page: Awaited<ReturnType<typeof client.call<'status'>>> = await client.call(
      'status',
      after === '' ? {} : { after },
    );
    workers.push(...page.workers);
    after = page.next;
  }
  return workers;
};

/** Nothing is on its way any more. */
const settled = (client: Client): Promise<readonly WorkerView[]> =>
  eventually(
    async () => {
      const workers = await allOf(client);
      const moving = workers.filter(({ phase }) => phase === 'starting' || phase === 'stopping');
      if (moving.length > 0)
        throw new Error(JSON.stringify(moving.map(({ name, phase, generation }) => [name, phase, generation])));
      return workers;
    },
    { what: 'no worker is starting or stopping', withinMs: 30_000 },
  );

/** What is in the process table and not in the registry, or the other way round, or twice. */
export const mismatches = (workers: readonly WorkerView[], marked: readonly Proc[]): readonly string[] => {
  const faults: string[] = [];
  const runs = new Map<string, Proc[]>();
  for (const proc of marked) {
    if (proc.name !== null) runs.set(proc.run ?? '', [...(runs.get(proc.run ?? '') ?? []), proc]);
  }
  const named = new Map<string, string>();
  for (const [run, procs] of runs) {
    const [{ name, generation } = { name: null, generation: null }] = procs;
    const worker = workers.find((each) => each.name === name);
    const other = named.get(name ?? '');
    if (other !== undefined) faults.push(`two runs of ${name}: ${other} and ${run}`);
    named.set(name ?? '', run);
    const shown = JSON.stringify(procs.map(({ pid, command }) => [pid, command.slice(0, 60)]));
    // Left by a shim that died before it could tell of it, and named.
    const isLeft = worker !== undefined && !isAlive(worker.phase) && worker.leftovers.length > 0;
    if (isLeft && worker.generation === generation) continue;
    if (worker === undefined) faults.push(`${run} is alive and nobody knows its worker: ${shown}`);
    else if (worker.phase !== 'running' || worker.generation !== generation) {
      faults.push(`${run} is alive, and its worker ${worker.phase} in generation ${worker.generation}: ${shown}`);
    } else if (!procs.some(({ pid }) => pid === worker.pid))
      faults.push(`${run}: listed as ${worker.pid}, but is ${shown}`);
  }
  for (const { name, kind, phase, pid, generation } of workers) {
    if (phase !== 'running' || kind === 'thread') continue;
    if (!marked.some((proc) => proc.pid === pid && proc.name === name)) {
      faults.push(`${name} ${generation} is listed as running with pid ${pid}, and no such process is there`);
    }
  }
  const hosts = new Set(marked.filter(({ name }) => name === null).map(({ pid }) => pid));
  for (const { name, kind, phase, pid } of workers) {
    if (kind !== 'thread' || phase !== 'running') continue;
    if (hosts.size === 0 || (pid !== null && !hosts.has(pid)))
      faults.push(`${name} runs in a thread host that is not there (${pid})`);
  }
  return faults;
};

const brief = (workers: readonly WorkerView[]) =>
  workers.map(({ name, phase, generation, pid }) => ({ name, phase, generation, pid }));

export const checkQuiet = async ({ world, books, files, client, owners, followers }: QuietOptions): Promise<void> => {
  const failed = (what: string) => (error: unknown) => {
    books.problem(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  };
  await settled(client).catch(failed('at rest'));
  // Policies go on meanwhile: a look counts where nothing changed while it was taken.
  let faults: readonly string[] = [];
  await eventually(
    async () => {
      const before = await allOf(client);
      const marked = world.marked();
      if (!isDeepStrictEqual(brief(before), brief(await allOf(client)))) throw new Error('the workers change');
      faults = mismatches(before, marked);
      if (faults.length > 0) throw new Error(faults.join('; '));
      return true;
    },
    { what: 'registry and process table agree', withinMs: 15_000 },
  ).catch(failed('at rest'));
  for (const owner of owners) await owner.look();
  await checkAllRuns({ world, books, files, client, owners, followers });
  await checkMessages(owners, files, books);
  await eventually(() => world.zombies().length === 0, { what: 'no zombie', withinMs: 5000 }).catch(failed('at rest'));
  books.count('comparisons');
};

const checkAllRuns = async ({ world, books, files, client, owners, followers }: QuietOptions): Promise<void> => {
  const compared: OwnRun[] = [];
  for (const worker of await allOf(client)) {
    // What may be running on (again) is looked at the next time.
    const { runs } = await client.call('history', { name: worker.name, limit: 100 });
    const aliveGeneration = isAlive(worker.phase) && worker.phase !== 'backoff' ? worker.generation : null;
    const owner = owners.find(({ name }) => name === worker.name);
    const context = { books, files, logs: `${world.box.home}/logs` };
    const kindOf = () => (owner === undefined ? worker.kind : 'unknown');
    const published = owner?.published ?? new Map();
    const dropsLogs = owner?.dropsLogs ?? worker.spec.log.maxBytes < 1024 * 1024;
    const { name, generation: newest } = worker;
    checkRuns({ name, newest, history: runs, kindOf, published, aliveGeneration, dropsLogs }, context, (own) =>
      compared.push(own),
    );
  }
  for (const follower of followers) {
    for (const own of compared.filter(({ name }) => name === follower.name)) {
      await eventually(() => follower.missing(own) === null, {
        what: 'the follower has all lines',
        withinMs: 10_000,
      }).catch(() => books.problem(follower.missing(own) ?? ''));
    }
  }
};

/** Each message at most once; what was taken for a run that lives on, exactly once. */
const checkMessages = async (owners: readonly Owner[], files: OwnFiles, books: Books): Promise<void> => {
  for (const owner of owners) {
    for (const id of files.runs(owner.name)) {
      const { generation, got } = files.read(id);
      if (new Set(got).size !== got.length) books.problem(`${id}: a message came twice: ${JSON.stringify(got)}`);
      const sent = owner.sent.get(generation) ?? [];
      books.count('messages', got.length);
      if (files.isDone(id) || owner.generation !== generation || owner.up !== true) continue;
      const missing = () => sent.filter(({ text }) => !files.read(id).got.includes(text));
      const all = await eventually(() => missing().length === 0, { withinMs: 5000 }).catch(() => false);
      const worker = await owner.look();
      const same = worker?.phase === 'running' && worker.generation === generation;
      if (!all && same) books.problem(`${id}: sent and answered, but never came: ${JSON.stringify(missing())}`);
    }
  }
};
