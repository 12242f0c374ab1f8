/**
 * What logging costs a worker that floods: its own time for 200 MB in writes of 64 KiB and 50 MB in writes of a line,
 * beside the file itself, a pipe to `cat`, and the peers; what it costs us; and what `status` costs meanwhile.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bed } from './bed.ts';
import { bareCat, bareFile, installedPeers, type Peer } from './log-peers.ts';
import { alternate, report, type Summary, summarize } from './measure.ts';
import { activityOf, forgetPeaks, peakKib, pidsOf, residentKib } from './proc.ts';

const writer = join(import.meta.dirname, 'programs', 'timed-writer.sh');
const line = `${'x'.repeat(99)}\n`;
const floods = [
  { megabytes: 200, write: 64 * 1024, title: '200 MB in writes of 64 KiB', base: '>file', goal: 1.25, cpuGoal: 1.2 },
  { megabytes: 50, write: 100, title: '50 MB in writes of 100 bytes', base: '| cat >file', goal: 1.15, cpuGoal: 6 },
] as const;

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  const peers = await installedPeers(bed.directory, bed.env);
  const ours = workerd(bed);
  for (const flood of floods) {
    const input = join(bed.directory, 'input');
    writeFileSync(input, line.repeat((flood.megabytes * 1e6) / line.length));
    const answer = join(bed.directory, 'answer');
    const cpu: number[] = [];
    const grown: number[] = [];
    const took = (peer: Peer) => async () => {
      rmSync(answer, { force: true });
      const pids = peer === ours ? pidsOf(bed.home) : [];
      forgetPeaks(pids);
      const [before, resident] = [activityOf(pids).cpuMs, residentKib(pids)];
      await peer.start([writer, input, `${flood.write}`, answer]);
      while (!existsSync(answer)) await sleep(20);
      // What is still in a pipe, and what belongs to its end, is not to be the next one's.
      await sleep(300);
      if (peer === ours) {
        cpu.push((activityOf(pids).cpuMs - before) / flood.megabytes);
        grown.push((peakKib(pids) - resident) / 1024);
      }
      return Number(readFileSync(answer, 'latin1')) / 1000;
    };
    const bare = [bareFile(bed.directory), bareCat(bed.directory)];
    const base = bare.filter(({ name }) => name === flood.base);
    const all = [...base, ...bare.filter((peer) => !base.includes(peer)), ours, ...peers];
    const results = await alternate(rounds, Object.fromEntries(all.map((peer) => [peer.name, took(peer)])));
    report(`${flood.title}, ms of the writer`, results, { workerd: `≤ ${flood.goal}` });
    const say = (what: string, { median, p95 }: Summary, goal: string) =>
      console.log(`  ${what.padEnd(44)} ${median.toFixed(2)} (p95 ${p95.toFixed(2)})   goal ≤ ${goal}`);
    say('workerd: CPU of daemon + shim, ms a MB', summarize(cpu), `${flood.cpuGoal}`);
    say('workerd: memory above idle at most, MiB', summarize(grown), '20');
  }
  for (const peer of peers) await peer.dispose();
  await statusMeanwhile(bed, rounds);
};

const workerd = (bed: Bed): Peer => {
  let number = 0;
  return {
    name: 'workerd',
    start: async (command) => {
      number += 1;
      await bed.client.call('start', { name: `writer-${number}`, spec: { kind: 'command', command: [...command] } });
    },
    dispose: async () => {},
  };
};

/** The same CLI, the same daemon: a flood that it logs, beside one that goes past it through a pipe. */
const statusMeanwhile = async (bed: Bed, rounds: number): Promise<void> => {
  const flood = `exec dd if=/dev/zero bs=64K status=none`;
  const samples: Record<string, number[]> = { idle: [], '| cat >file': [], workerd: [] };
  const ask = async (name: string, times: number) => {
    for (let count = 0; count < times; count += 1) samples[name]?.push(await bed.workerctl('status', 'asked'));
  };
  const times = 20;
  await bed.client.call('start', { name: 'asked', spec: { kind: 'command', command: ['sleep', '100000'] } });
  for (let round = 0; round < Math.max(5, rounds / 5); round += 1) {
    await ask('idle', times);
    // Rotated by hand: no disk is endless.
    const pipe = `dd if=/dev/zero bs=64K status=none | while head -c 50000000 > ${join(bed.directory, 'flood')}; do :; done`;
    const bare = spawn('/bin/sh', ['-c', pipe], { stdio: 'ignore', detached: true });
    await ask('| cat >file', times);
    process.kill(-(bare.pid ?? 0), 'SIGKILL');
    await bed.client.call('start', { name: 'flood', spec: { kind: 'command', command: ['sh', '-c', flood] } });
    await ask('workerd', times);
    await bed.client.call('stop', { name: 'flood', force: true });
  }
  const results = Object.fromEntries(Object.entries(samples).map(([name, taken]) => [name, summarize(taken)]));
  report('status of one worker (CLI) during a flood, ms', results);
  const p99 = (name: string) => {
    const sorted = [...(samples[name] ?? [])].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
  };
  const [bare, logged] = [p99('| cat >file'), p99('workerd')];
  console.log(
    `  p99: ${bare.toFixed(1)} beside | cat, ${logged.toFixed(1)} logged: ${(logged / bare).toFixed(2)}   goal ≤ 1.6`,
  );
};
