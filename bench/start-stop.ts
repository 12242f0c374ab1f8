/** A command from `workerctl start` until it runs and until the CLI returns, and `stop` until the CLI returns. */
import { spawn } from 'node:child_process';
import { Bed, emptyNode } from './bed.ts';
import { alternate, report, type Summary, summarize } from './measure.ts';

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  const [returned, stopped]: [number[], number[]] = [[], []];
  let number = 0;
  const results = await alternate(rounds, {
    'node -e 0': emptyNode,
    'start: worker runs': async () => {
      const name = `w${number}`;
      number += 1;
      const began = performance.now();
      const word = bed.word();
      const done = bed.workerctl('start', '-n', name, '--', ...bed.sayer);
      const runs = (await word) - began;
      returned.push(await done);
      stopped.push(await bed.workerctl('stop', name));
      return runs;
    },
  });
  report(
    'start and stop of a command, ms',
    { ...results, 'start: CLI returns': summarize(returned), 'stop: CLI returns': summarize(stopped) },
    { 'start: worker runs': '≤ 1.6', 'stop: CLI returns': '≤ 1.6' },
  );
  report('start and stop over one open connection, ms', await overConnection(bed, rounds));
};

const overConnection = async (bed: Bed, rounds: number): Promise<Record<string, Summary>> => {
  const [command = '', ...args] = bed.sayer;
  const [runs, stops]: [number[], number[]] = [[], []];
  const floor = await alternate(rounds, {
    'bare spawn: runs': async () => {
      const began = performance.now();
      const word = bed.word();
      const child = spawn(command, args, { stdio: 'ignore' });
      const ms = (await word) - began;
      child.kill('SIGKILL');
      return ms;
    },
    start: async () => {
      const began = performance.now();
      const word = bed.word();
      const started = bed.client.call('start', { name: 'rpc', spec: { kind: 'command', command: [command, ...args] } });
      runs.push((await word) - began);
      await started;
      const ms = performance.now() - began;
      const asked = performance.now();
      await bed.client.call('stop', { name: 'rpc' });
      stops.push(performance.now() - asked);
      return ms;
    },
  });
  return {
    'bare spawn: runs': floor['bare spawn: runs'],
    'start: worker runs': summarize(runs),
    'start: answered': floor.start,
    'stop: answered': summarize(stops),
  };
};
