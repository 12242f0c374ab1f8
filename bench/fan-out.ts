/**
 * A worker publishes, 1, 100 and 1,000 watchers hear it. Path of ours: worker → FIFO → shim → daemon → watchers. Beside
 * it a server that pushes lines of its own making, and one that gets them from a worker (two hops, as any supervisor
 * must), once also by way of a third process, which is what our shim costs. First how old an event is when it arrives, then how many arrive when workers publish as fast as they can.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bed } from './bed.ts';
import { alternate, report, type Summary, summarize } from './measure.ts';
import { Program, programPath } from './program.ts';
import type { Report } from './programs/subscribers.ts';

const watchRequest = `${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'watch', params: { types: ['state'] } })}\n`;

/** Somebody who publishes on demand, and those who listen. */
interface Source {
  readonly name: string;
  readonly path: string;
  readonly greeting: string | null;
  /** `pace COUNT MS` or `flood MS`. */
  readonly tell: (order: string) => Promise<void> | void;
  readonly dispose: () => Promise<void>;
}

const openFifo = (path: string): number => {
  execFileSync('mkfifo', [path]);
  return openSync(path, constants.O_RDWR);
};

/** A publisher of ours and how to tell it: its descriptors 3 and 4 are those of a worker. */
const startPublisher = (up: number, down: number, outlets: readonly string[] = []): ChildProcess =>
  spawn(process.execPath, [programPath('publisher'), ...outlets], {
    stdio: ['ignore', 'inherit', 'inherit', up, down],
  });

const bareSource = async (
  bed: Bed,
  name: string,
  mode: 'own' | 'relay' | 'coalesce',
  hops: 2 | 3 = 2,
): Promise<Source> => {
  const id = `${mode}-${hops}`;
  const path = join(bed.directory, `${id}.sock`);
  const descriptors = ['up', 'down', 'between'].map((end) => openFifo(join(bed.directory, `${id}.${end}`)));
  const [up = -1, down = -1, between = -1] = descriptors;
  // The server makes its own one non-blocking, and that is the description's, not the descriptor's.
  const workersUp = openSync(join(bed.directory, `${id}.up`), constants.O_RDWR);
  descriptors.push(workersUp);
  const forwarder = hops === 3 ? Program.start('forwarder', [], [up, between]) : null;
  const server = Program.start('pushing-server', [path, mode], mode === 'own' ? [] : [hops === 3 ? between : up]);
  await server.said();
  const worker = mode === 'own' ? null : startPublisher(workersUp, down);
  return {
    name,
    path,
    greeting: null,
    tell: (order) => {
      if (mode === 'own') server.tell({ pace: order.split(' ').slice(1).map(Number) });
      else writeSync(down, `${JSON.stringify({ message: order })}\n`);
    },
    dispose: async () => {
      worker?.kill('SIGKILL');
      await server[Symbol.asyncDispose]();
      await forwarder?.[Symbol.asyncDispose]();
      for (const descriptor of descriptors) closeSync(descriptor);
    },
  };
};

const ownSource = async (bed: Bed): Promise<Source> => {
  const name = 'publisher';
  const spec = { kind: 'command' as const, command: [process.execPath, programPath('publisher')] };
  await bed.client.call('start', { name, spec });
  return {
    name: 'workerd',
    path: join(bed.home, 'workerd.sock'),
    greeting: watchRequest,
    tell: async (order) => {
      await bed.client.call('send', { name, text: order });
    },
    dispose: async () => {
      await bed.client.call('remove', { name, force: true });
    },
  };
};

/** Many workers, each with a state of its own; a process of ours writes in their FIFOs what they would. */
const manySource = async (bed: Bed, workers: number): Promise<Source> => {
  await bed.startMany(workers);
  const runs = join(bed.home, 'run');
  const outlets = readdirSync(runs).filter((run) => run.startsWith('many-'));
  const down = openFifo(join(bed.directory, 'many.down'));
  const publisher = startPublisher(
    down,
    down,
    outlets.map((run) => join(runs, run, 'up')),
  );
  return {
    name: `workerd, ${workers} workers`,
    path: join(bed.home, 'workerd.sock'),
    greeting: watchRequest,
    tell: (order) => {
      writeSync(down, `${JSON.stringify({ message: order })}\n`);
    },
    dispose: async () => {
      publisher.kill('SIGKILL');
      closeSync(down);
    },
  };
};

/** Of each server once: whoever publishes there is heard by the same. */
const listen = async (sources: readonly Source[], count: number): Promise<Map<string, Program>> => {
  const listeners = new Map<string, Program>();
  for (const { path, greeting } of sources) {
    if (listeners.has(path)) continue;
    const subscribers = Program.start('subscribers');
    await subscribers.ask({ kind: 'connect', path, count, greeting });
    listeners.set(path, subscribers);
  }
  return listeners;
};

/** Tells the source, and waits until all that is to come has come. */
const publishAndCount = async (
  source: Source,
  subscribers: Program | undefined,
  order: string,
  isAll: (report: Report) => boolean,
): Promise<Report> => {
  if (subscribers === undefined) throw new Error(`nobody listens to ${source.name}`);
  await subscribers.ask({ kind: 'reset', ages: order.startsWith('pace') });
  await source.tell(order);
  for (let before = -1; ; ) {
    await sleep(100);
    const now = (await subscribers.ask({ kind: 'report' })) as Report;
    if (isAll(now) || (now.deliveries > 0 && now.deliveries === before)) return now;
    before = now.deliveries;
  }
};

const events = 40;
/** Apart by enough for the one before to have arrived everywhere. */
const paceMs = (count: number): number => 4 + Math.ceil(count / 40);

const latency = async (rounds: number, sources: readonly Source[], count: number): Promise<void> => {
  const tails = new Map<string, number[]>(sources.map(({ name }) => [name, []]));
  const listeners = await listen(sources, count);
  const cases: Record<string, () => Promise<number>> = {};
  for (const source of sources) {
    const subscribers = listeners.get(source.path);
    cases[source.name] = async () => {
      const { p50, p99 } = await publishAndCount(
        source,
        subscribers,
        `pace ${events} ${paceMs(count)}`,
        ({ deliveries }) => deliveries === events * count,
      );
      tails.get(source.name)?.push(p99);
      return p50;
    };
  }
  const results = await alternate(rounds, cases);
  for (const program of listeners.values()) await program[Symbol.asyncDispose]();
  const title = `publish → received, ${count} ${count === 1 ? 'watcher' : 'watchers'}`;
  report(`${title}, µs, median of each round`, results, { workerd: '≤ 1.5' });
  const p99s = Object.fromEntries([...tails].map(([name, samples]) => [name, summarize(samples.slice(1))]));
  report(`${title}, µs, p99 of each round`, p99s);
};

const floodMs = 1000;

/** Thousands of deliveries a second. */
const flood = async (rounds: number, sources: readonly Source[], count: number): Promise<Record<string, Summary>> => {
  const listeners = await listen(sources, count);
  const cases: Record<string, () => Promise<number>> = {};
  for (const source of sources) {
    const subscribers = listeners.get(source.path);
    cases[source.name] = async () => {
      const { deliveries, seconds } = await publishAndCount(source, subscribers, `flood ${floodMs}`, () => false);
      return deliveries / seconds / 1000;
    };
  }
  const results = await alternate(rounds, cases);
  for (const program of listeners.values()) await program[Symbol.asyncDispose]();
  return results;
};

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  const relay = await bareSource(bed, 'bare, two hops', 'relay');
  const push = await bareSource(bed, 'bare, one hop', 'own');
  const three = await bareSource(bed, 'bare, three hops', 'relay', 3);
  const one = await ownSource(bed);
  for (const count of [1, 100, 1000]) await latency(Math.ceil(rounds / 2), [relay, push, three, one], count);
  for (const source of [push, three]) await source.dispose();

  const coalescing = await bareSource(bed, 'bare, two hops, coalescing', 'coalesce');
  const many = await manySource(bed, 100);
  // State is latest-wins: of what one worker publishes at full speed most is replaced by newer. What arrives is counted.
  // Many workers publish every 5 ms each, which is more than can be delivered to 1,000.
  const goals = { [many.name]: '≥ 1000' };
  for (const count of [1, 100, 1000]) {
    const results = await flood(Math.ceil(rounds / 8), [relay, coalescing, one, many], count);
    const title = `published at full speed, ${count} ${count === 1 ? 'watcher' : 'watchers'}`;
    report(`${title}: thousands of deliveries a second`, results, count === 1 ? {} : goals);
  }
  for (const source of [relay, coalescing, one, many]) await source.dispose();
};
