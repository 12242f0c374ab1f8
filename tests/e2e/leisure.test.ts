/** Daemon and shim give back what they no longer need, once nothing is asked for (shared/leisure.test.ts has the rest). */
import { expect, test } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';
import { peakBytes, residentBytes } from '../helpers/vitals.ts';

const givenBack = (pid: number): number => peakBytes(pid) - residentBytes(pid);

test('what their start has left behind', async () => {
  await using box = new Sandbox();
  const daemon = await box.startDaemon();
  const client = await box.client();
  const shim = (await client.call('daemon.info', {})).shim?.pid ?? 0;
  expect(shim).toBeGreaterThan(0);
  await eventually(() => givenBack(daemon) > 2 * 1024 * 1024, { what: 'the daemon to hold less' });
  await eventually(() => givenBack(shim) > 512 * 1024, { what: 'the shim to hold less' });
  // What the store did without is there when it is asked for.
  const spec = { kind: 'command', command: ['true'] } as const;
  await client.call('start', { name: 'after', spec });
  expect((await client.call('history', { name: 'after' })).runs).toHaveLength(1);
});
