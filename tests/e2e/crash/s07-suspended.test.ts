/**
 * S07: everything is stopped for a while and goes on, as when the lid of a laptop is closed: daemon, shim and workers.
 * Nobody is taken for dead, nothing is restarted, nothing is lost, and no burst of starts follows. S07 is 120 s; here
 * it is 10 s, which is longer than the run that counts as a stable one and than every bound on an answer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { hasCode } from '../../../src/shared/log-file.ts';
import { command, part, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const suspendedMs = 10_000;
const steady = 6;

/** Those that live for 50 ms may be gone since they were looked for. */
const signalIfThere = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
};

test('S07: all under SIGSTOP: no false endings, no burst of restarts, nothing lost', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  const restart = { policy: 'always' as const };
  for (let n = 0; n < steady; n += 1) {
    await client.call('start', { name: `steady${n}`, spec: { ...command('sleep', '1000'), restart } });
  }
  await client.call('start', { name: 'thread', spec: { ...part('thread', 'counts'), restart } });
  await client.call('start', { name: 'process', spec: { ...part('process', 'counts'), restart } });
  const counts = shell('n=0; while :; do n=$((n + 1)); echo $n; sleep 0.05; done');
  await client.call('start', { name: 'counts', spec: counts });
  // In the middle of its row of short runs.
  await client.call('start', { name: 'short', spec: { ...shell('sleep 0.2; exit 1'), restart } });
  await eventually(async () => (await box.status('short')).generation === 3);
  const before = (await client.call('status', {})).workers;
  const shim = box.shimPid;
  const pids = box.processes().map(({ pid }) => pid);
  const lines = async () =>
    (await client.call('logs', { name: 'counts', tail: 100_000 })).entries.map(({ line }) => line);
  try {
    for (const pid of pids) signalIfThere(pid, 'SIGSTOP');
    await sleep(suspendedMs);
  } finally {
    for (const pid of pids) signalIfThere(pid, 'SIGCONT');
  }
  const woken = (await lines()).length;
  await eventually(async () => (await lines()).length > woken + 20, { what: 'lines after waking' });
  const all = await lines();
  expect(all).toEqual(all.map((_, index) => String(index + 1)));
  const after = (await client.call('status', {})).workers;
  for (const worker of before.filter(({ name }) => name !== 'short')) {
    const { pid, generation, startedAt } = worker;
    const same = { pid, generation, startedAt, phase: 'running', restarts: 0 };
    expect(
      after.find(({ name }) => name === worker.name),
      worker.name,
    ).toMatchObject(same);
  }
  // It slept in its row: the next delays are those that follow, and no run is made up for.
  const { runs } = await client.call('history', { name: 'short' });
  expect(runs.length).toBeLessThanOrEqual(5);
  for (const { exit, reason } of runs.filter((run) => run.endedAt !== null)) {
    expect([exit, reason]).toEqual([{ kind: 'code', code: 1 }, null]);
  }
  expect([box.shimPid, daemon.child.exitCode, daemon.child.signalCode]).toEqual([shim, null, null]);
  expect(box.said()).not.toMatch(/lost|is gone|does not answer|internal error/);
  await client.call('stop', { name: 'short' });
});
