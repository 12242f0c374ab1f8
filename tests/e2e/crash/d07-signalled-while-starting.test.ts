/** D07: the daemon is ended 0-100 ms after its start, by each signal: the next one starts at once, nothing stale is in its way. */
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { rounds } from '../../helpers/rounds.ts';

const tries = rounds(12, 50);
const longestMs = 100;

const socketsOf = (pid: number): number =>
  readdirSync(`/proc/${pid}/fd`).filter((descriptor) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${descriptor}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;

test.concurrent.each(['SIGTERM', 'SIGINT', 'SIGKILL'] as const)('D07: %s', async (signal) => {
  await using box = new CrashBox();
  for (let number = 0; number < tries; number += 1) {
    const delayMs = Math.round((longestMs * number) / Math.max(1, tries - 1));
    const what = `${signal} after ${delayMs} ms`;
    const cut = box.launch();
    // The moment of the fault: what is waited for is time itself.
    await pause(delayMs);
    const how = await cut.kill(signal);
    // In good order, or before it could say what order is.
    expect(signal === 'SIGKILL' ? ['SIGKILL'] : [0, signal], what).toContain(how);
    if (how === 0) await eventually(() => box.processes().length === 0, { what: `${what}: nothing stays` });
    const next = await box.daemon();
    const client = await box.client();
    expect((await client.call('daemon.info', {})).pid, what).toBe(next.pid);
    const { worker } = await client.call('start', { name: 'w', spec: command('sleep', '1000'), ifRunning: 'replace' });
    expect(box.livingRuns('w'), what).toEqual([worker.pid]);
    client.close();
    expect(
      box.processes().filter(({ command: words }) => words.includes('shim.cjs --home')),
      what,
    ).toHaveLength(1);
    await next.kill(number % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
    if (number % 2 === 1) await eventually(() => box.processes().length === 0, { what: `${what}: all is gone` });
  }
}, 600_000);

test.concurrent('D07: one that finds another, which is long in saying its pid, is ended by Ctrl-C at once', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  process.kill(first.pid, 'SIGSTOP');
  const second = box.launch();
  // One it was given, and one that it asks the first by.
  await eventually(() => socketsOf(second.pid) >= 2, { what: 'it has found the first' });
  const how = await second.kill('SIGINT');
  process.kill(first.pid, 'SIGCONT');
  expect(how).toBe('SIGINT');
});
