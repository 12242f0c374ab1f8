/**
 * kill -9 of a worker with `--restart always` until its replacement runs; beside pm2, where it is installed
 * (`npm install --prefix bench/peers pm2`).
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bed, timeProgram } from './bed.ts';
import { alternate, type Case, report } from './measure.ts';

const pm2 = join(import.meta.dirname, 'peers', 'node_modules', 'pm2', 'bin', 'pm2');

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  const cases: Record<string, Case> = { 'workerd (shim and store)': killAndWait(bed) };
  const home = mkdtempSync(join(tmpdir(), 'pm2-bench-'));
  const env = { ...bed.env, PM2_HOME: home };
  const peer = (...args: string[]) => timeProgram([process.execPath, pm2, ...args], env);
  if (existsSync(pm2)) cases['pm2'] = pm2Case(bed, peer, env);
  else console.log('\n(pm2 is not installed: npm install --prefix bench/peers pm2)');
  const results = await alternate(rounds, cases);
  report('kill -9 until the replacement runs, ms', results, { 'workerd (shim and store)': "≤ pm2's" });
  if (existsSync(pm2)) await peer('kill');
  rmSync(home, { recursive: true, force: true });
};

/** A worker of its own each time: the second restart in a row would wait a second. */
const killAndWait = (bed: Bed): Case => {
  let number = 0;
  return async () => {
    const name = `crash-${number}`;
    number += 1;
    const word = bed.word();
    const spec = { kind: 'command' as const, command: [...bed.sayer], restart: { policy: 'always' as const } };
    const { worker } = await bed.client.call('start', { name, spec });
    await word;
    const again = bed.word();
    const began = performance.now();
    process.kill(worker.pid ?? 0, 'SIGKILL');
    const ms = (await again) - began;
    await bed.client.call('stop', { name });
    return ms;
  };
};

const pm2Case = (bed: Bed, peer: (...args: string[]) => Promise<number>, env: NodeJS.ProcessEnv): Case => {
  let number = 0;
  return async () => {
    const name = `crash-${number}`;
    number += 1;
    const word = bed.word();
    const [shell = '', ...args] = bed.sayer;
    await peer('start', shell, '--name', name, '--interpreter', 'none', '--', ...args);
    await word;
    const pid = Number(execFileSync(process.execPath, [pm2, 'pid', name], { env, encoding: 'utf8' }).trim());
    const again = bed.word();
    const began = performance.now();
    process.kill(pid, 'SIGKILL');
    const ms = (await again) - began;
    await peer('delete', name);
    return ms;
  };
};
