/** C03: followers that are killed, by the dozen: what the daemon held for them is free again, and the worker did not notice. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { rounds, roundsTimeoutMs } from '../../helpers/rounds.ts';
import { Sandbox } from '../../helpers/sandbox.ts';

test(
  'C03: descriptors are back to what they were',
  async () => {
    const count = rounds(20, 100);
    await using box = new Sandbox();
    const daemon = await box.startDaemon();
    const client = await box.client();
    const script = 'n=0; while :; do n=$((n + 1)); echo "line $n"; sleep 0.01; done';
    await client.call('start', { name: 'w', spec: shell(script) });
    await eventually(async () => (await client.call('logs', { name: 'w' })).entries.length > 0);
    const descriptors = () => readdirSync(`/proc/${daemon}/fd`).length;
    const before = descriptors();
    const followers = Array.from({ length: count }, () =>
      box.spawn('workerctl', ['logs', '-f', 'w'], { withinMs: 100_000 }),
    );
    await eventually(() => followers.every(({ stdout }) => stdout().length > 100), { withinMs: 60_000 });
    expect(descriptors()).toBeGreaterThanOrEqual(before + count);
    for (const { child } of followers) child.kill('SIGKILL');
    await eventually(() => Math.abs(descriptors() - before) <= 2, {
      withinMs: 25_000,
      what: 'back to the start within 5 s (asserted: 25)',
    });
    const { worker } = await client.call('stop', { name: 'w' });
    const { entries } = await client.call('logs', { name: 'w', cursor: '1:0' });
    expect(entries.map(({ line }) => line)).toEqual(entries.map((_, index) => `line ${index + 1}`));
    expect(worker.generation).toBe(1);
  },
  roundsTimeoutMs,
);
