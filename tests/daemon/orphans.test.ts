/** A run whose end nobody tells: gone only where that is proven. */
import { expect, test } from 'vitest';
import { Orphans } from '../../src/daemon/orphans.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { FakeProcessTable } from '../helpers/fake-process-table.ts';

test('unreadable is not gone; another start time is', async () => {
  const clock = new FakeClock();
  const processes = new FakeProcessTable();
  const gone: string[] = [];
  const orphans = new Orphans({ clock, processes, isEnding: () => false, onGone: (run) => gone.push(run) });
  for (const [pid, run] of [
    [1, 'unreadable'],
    [2, 'lives'],
    [3, 'reused'],
    [4, 'gone'],
  ] as const) {
    processes.put({ pid, startTime: 100 });
    orphans.watch(run, { pid, startTime: 100 });
  }
  processes.put({ pid: 1, startTime: 100, unreadable: true });
  processes.put({ pid: 3, startTime: 200 });
  processes.end(4);
  await clock.run(5000);
  expect(gone).toEqual(['reused', 'gone']);
  processes.end(1);
  await clock.run(1000);
  expect(gone).toEqual(['reused', 'gone', 'unreadable']);
  orphans.forgetAll();
  expect(clock.pending).toBe(0);
});
