/** A client whose daemon is being replaced: what that one has begun is answered by it, the rest by the next. */
import { expect, test } from 'vitest';
import { connectTo } from '../../src/shared/client.ts';
import { WorkerdError } from '../../src/shared/errors.ts';
import { FakeServer } from '../helpers/fake-server.ts';

test('one request that is refused takes no answer from another that is on its way', async () => {
  const removing = Promise.withResolvers<{ removed: true }>();
  const asked = { wait: 0, remove: 0 };
  await using server = await new FakeServer({
    methods: {
      hello: () => ({ protocol: 1, version: '1', pid: 1 }),
      remove: () => {
        asked.remove += 1;
        return removing.promise;
      },
      wait: () => {
        asked.wait += 1;
        if (asked.wait > 1) return { worker: { name: 'w' } };
        throw new WorkerdError('daemon.stopping', 'the daemon is being replaced; ask again', { restarting: true });
      },
    },
    isHeld: () => true,
  }).listen();
  await using client = await connectTo(server.path);
  const removed = client.call('remove', { name: 'gone' });
  expect(await client.call('wait', { name: 'w', for: 'exit' })).toEqual({ worker: { name: 'w' } });
  expect(server.peers).toHaveLength(2);
  removing.resolve({ removed: true });
  expect(await removed).toEqual({ removed: true });
  expect(asked).toEqual({ wait: 2, remove: 1 });
  client.close();
  await expect.poll(() => server.peers.map(({ closed }) => closed)).toEqual([true, true]);
});
