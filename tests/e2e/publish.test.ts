/** What `publish` answers: that it has happened. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixtures, Sandbox } from '../helpers/sandbox.ts';

test('its answer shows what was published, each time, and so does whoever asks next', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: { kind: 'command', command: ['sleep', '1000'] } });
  // The shim's answer and its note of the new state race to the daemon: one round would often go well by chance.
  for (let count = 1; count <= 100; count += 1) {
    const { worker } = await client.call('publish', { name: 'w', state: { count } });
    expect(worker).toMatchObject({ state: { count }, stateRevision: count });
    expect(worker.stateAt).not.toBeNull();
  }
  await client.call('publish', { name: 'w', state: { last: true } });
  const { worker } = await client.call('stop', { name: 'w' });
  expect(worker).toMatchObject({ state: { count: 100, last: true }, stateRevision: 101 });
});

test.each([
  'command',
  'process',
  'thread',
] as const)('what a %s published before it was ready is known when it is ready: its port, say', async (kind) => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  // In two writes, which the shim may or may not read as one: one round would sometimes go well by chance.
  const script = `echo '{"state":{"port":8080}}' >&3; echo '{"ready":true}' >&3; exec sleep 1000`;
  const does =
    kind === 'command'
      ? ({ kind, command: ['sh', '-c', script] } as const)
      : ({ kind, module: join(fixtures, 'is-ready-at-a-port.mjs') } as const);
  for (let round = 1; round <= 5; round += 1) {
    const started = await client.call('start', { name: 'w', spec: { ...does, ready: { by: 'worker' } } });
    expect(started.worker).toMatchObject({ ready: true, state: { port: 8080 } });
    const events: string[] = [];
    for await (const event of client.watch({ names: ['w'], types: ['snapshot', 'state', 'ready', 'phase'] })) {
      events.push(event.type);
      if (event.type === 'snapshot') void client.call('restart', { name: 'w' });
      if (event.type === 'ready') break;
    }
    expect(events.slice(-2)).toEqual(['state', 'ready']);
    await client.call('stop', { name: 'w', force: true });
  }
});
