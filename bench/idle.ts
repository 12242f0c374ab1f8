/** What daemon and shim use in sum while 200 workers sleep and 20 watchers hear nothing: CPU time, and wake-ups. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bed, cli } from './bed.ts';
import { activityOf, pidsOf, proportionalKib } from './proc.ts';

export const run = async (_rounds: number, seconds: number): Promise<void> => {
  await using bed = await Bed.make();
  await bed.startMany(200);
  const watchers = Array.from({ length: 20 }, () =>
    spawn(process.execPath, [cli, 'watch', '--json'], { env: bed.env, stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  for (const watcher of watchers) {
    let lines = 0;
    for await (const chunk of watcher.stdout.iterator({ destroyOnReturn: false })) {
      lines += (chunk as Buffer).toString('latin1').split('\n').length - 1;
      if (lines >= 200) break;
    }
    watcher.stdout.resume();
  }
  const pids = pidsOf(bed.home);
  // What was begun meanwhile (states to disk, garbage collected at leisure) is not what is measured.
  await sleep(10_000);
  const before = activityOf(pids);
  await sleep(seconds * 1000);
  const after = activityOf(pids);
  const cpu = ((after.cpuMs - before.cpuMs) * 60) / seconds;
  const wakeUps = (after.wakeUps - before.wakeUps) / seconds;
  console.log(`\n200 idle workers, 20 watchers, ${seconds} s`);
  console.log(`  CPU of daemon + shim, ms a minute   ${cpu.toFixed(2).padStart(8)}   goal ≤ 5`);
  console.log(`  wake-ups of both a second           ${wakeUps.toFixed(2).padStart(8)}   goal ≤ 0.5`);
  console.log(`  memory of both, MiB PSS             ${(proportionalKib(pids) / 1024).toFixed(1).padStart(8)}`);
  for (const watcher of watchers) {
    const exit = once(watcher, 'exit');
    watcher.kill('SIGINT');
    await exit;
  }
};
