/** What `publish` answers: that it has happened. */
import { expect, test } from 'vitest';
import { Sandbox } from '../helpers/sandbox.ts';

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
