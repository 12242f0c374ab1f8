/**
 * 200 and 1,000 sleeping commands started at once over one connection until all of them run, beside as many bare spawns;
 * what each costs in memory, how soon all are stopped, and how long `status` takes meanwhile.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect } from '../src/shared/client.ts';
import { Bed } from './bed.ts';
import { alternate, report, type Summary, summarize } from './measure.ts';
import { pidsOf, proportionalKib } from './proc.ts';

const command = ['sleep', '100000'] as const;

const bareSpawns = async (count: number): Promise<number> => {
  const began = performance.now();
  const children: ChildProcess[] = [];
  const running: Promise<unknown>[] = [];
  for (let index = 0; index < count; index += 1) {
    const child = spawn(command[0], command.slice(1), { detached: true, stdio: 'ignore' });
    children.push(child);
    running.push(once(child, 'spawn'));
  }
  await Promise.all(running);
  const ms = performance.now() - began;
  const gone = children.map((child) => once(child, 'exit'));
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(gone);
  return ms;
};

/** Asks for one worker's status, over and over, until told to end; milliseconds each. */
const askForStatus = (client: Client): (() => Promise<number[]>) => {
  const took: number[] = [];
  let ended = false;
  const asking = (async () => {
    while (!ended) {
      const began = performance.now();
      await client.call('status', { names: ['canary'] });
      took.push(performance.now() - began);
      await sleep(2);
    }
    return took;
  })();
  return () => {
    ended = true;
    return asking;
  };
};

/** By then daemon and shim have given back what they no longer need (shared/leisure.ts). */
const atRestMs = 7000;

const p99 = (samples: readonly number[]): number => {
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
};

const one = async (bed: Bed, canary: Client, rounds: number, count: number): Promise<void> => {
  const stops: number[] = [];
  const [statusIdle, statusBusy, statusStopping]: number[][] = [[], [], []];
  /** Of the first round: after the last start, and at rest. */
  const memory: number[] = [];
  const pids = pidsOf(bed.home);
  const names = Array.from({ length: count }, (_, index) => `many-${index}`);
  const results = await alternate(rounds, {
    'bare spawns': () => bareSpawns(count),
    'start: all run': async () => {
      const idle = askForStatus(canary);
      await sleep(400);
      statusIdle?.push(p99(await idle()));
      const before = proportionalKib(pids);
      const busy = askForStatus(canary);
      const began = performance.now();
      await bed.startMany(count);
      const ms = performance.now() - began;
      statusBusy?.push(p99(await busy()));
      if (memory.length === 0) {
        memory.push((proportionalKib(pids) - before) / count);
        await sleep(atRestMs);
        memory.push((proportionalKib(pids) - before) / count);
      }
      const stopping = askForStatus(canary);
      const asked = performance.now();
      await Promise.all(names.map((name) => bed.client.call('stop', { name })));
      stops.push(performance.now() - asked);
      statusStopping?.push(p99(await stopping()));
      await Promise.all(names.map((name) => bed.client.call('remove', { name })));
      return ms;
    },
  });
  report(
    `${count} commands, ms`,
    { ...results, 'stop: all gone': summarize(stops) },
    { 'start: all run': '≤ 2', 'stop: all gone': '≤ 5000 ms' },
  );
  const rest: Record<string, Summary> = {
    'idle, ms': summarize(statusIdle ?? []),
    'while they start': summarize(statusBusy ?? []),
    'while they stop': summarize(statusStopping ?? []),
  };
  report(`p99 of status of one worker, ${count} commands`, rest);
  const [atOnce, atRest] = memory.map((kib) => kib.toFixed(1));
  console.log(
    `  KiB PSS a worker, daemon + shim, at rest: ${atRest}   (goal ≤ 40), right after the last start: ${atOnce}`,
  );
};

export const run = async (rounds: number): Promise<void> => {
  for (const count of [200, 1000]) {
    await using bed = await Bed.make();
    await bed.client.call('start', { name: 'canary', spec: { kind: 'command', command: [...command] } });
    const canary = await connect({ home: bed.home });
    await sleep(atRestMs);
    console.log(
      `\ndaemon + shim with one worker, at rest: ${(proportionalKib(pidsOf(bed.home)) / 1024).toFixed(1)} MiB PSS (goal ≤ 70)`,
    );
    await one(bed, canary, Math.max(2, Math.ceil((rounds * 50) / count / 2)), count);
    canary.close();
  }
};
