import { describe, expect, it, vi } from 'vitest';
import { limits } from '../../src/shared/limits.ts';
import { eventually } from '../helpers/eventually.ts';
import { turns } from '../helpers/fake-clock.ts';
import { type Answer, FakeServer, specMethods } from '../helpers/fake-server.ts';

const request = (method: string, id: number | string, params: object = []) => ({ jsonrpc: '2.0', method, id, params });

/** Methods that end when the test opens the gate. */
const gated = () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const seen = { begun: 0 };
  const wait = () => {
    seen.begun += 1;
    return promise;
  };
  return { open: () => resolve('open'), seen, methods: { ...specMethods, work: wait, hold: wait } };
};
const isHeld = (method: string) => method === 'hold';

describe('bounds', () => {
  const padded = (bytes: number) => {
    const empty = JSON.stringify(request('echo', 1, ['']));
    return `${JSON.stringify(request('echo', 1, ['x'.repeat(bytes - empty.length)]))}\n`;
  };

  it('a frame just under the limit is served; its answer too', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    client.send(padded(limits.maxFrameBytes));
    const [answer] = (await client.received(1)) as readonly Answer[];
    expect(JSON.stringify(answer?.result).length).toBeGreaterThan(limits.maxFrameBytes - 200);
  });

  it.each([1, 4, 64])('%i × the limit and a byte: one error, closed, never carried out', async (times) => {
    const echo = vi.fn(specMethods.echo);
    await using server = await new FakeServer({ methods: { ...specMethods, echo } }).listen();
    const client = server.client();
    client.send(padded(times * limits.maxFrameBytes + 1));
    await client.untilEnded();
    expect(echo).not.toHaveBeenCalled();
    // Where the far end is still writing, the error may be lost with the connection.
    for (const answer of client.answers()) expect(answer).toMatchObject({ id: null, error: { code: -32600 } });
    if (times === 1) expect(client.lines()).toHaveLength(1);
  });

  it('a line without end is not collected beyond the limit', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    client.send(Buffer.alloc(limits.maxFrameBytes + 1, 0x20));
    await client.untilEnded();
    expect(client.answers()).toEqual([expect.objectContaining({ error: expect.objectContaining({ code: -32600 }) })]);
  });

  it('beyond 64 in work the connection is not read further, and goes on when one is done', async () => {
    const { open, methods, seen } = gated();
    await using server = await new FakeServer({ methods, isHeld }).listen();
    const client = server.client();
    client.ask(...Array.from({ length: 200 }, (_, id) => request('work', id)));
    await eventually(() => seen.begun >= limits.maxInFlight);
    await turns(50);
    expect(seen.begun).toBe(limits.maxInFlight);
    open();
    await client.received(200);
    expect(seen.begun).toBe(200);
  });

  it('held ones do not count: others are served beside them; the 1,025th is told its limit', async () => {
    const { open, methods, seen } = gated();
    await using server = await new FakeServer({ methods, isHeld }).listen();
    const client = server.client();
    client.ask(...Array.from({ length: limits.maxHeld }, (_, id) => request('hold', id)));
    await eventually(() => seen.begun === limits.maxHeld);
    client.ask(request('sum', 'beside', [1, 2]), request('hold', 'one more'));
    const answers = (await client.received(2)) as readonly Answer[];
    expect(answers).toContainEqual({ jsonrpc: '2.0', id: 'beside', result: 3 });
    expect(answers).toContainEqual(
      expect.objectContaining({
        id: 'one more',
        error: expect.objectContaining({ data: expect.objectContaining({ code: 'limit.exceeded' }) }),
      }),
    );
    open();
    await client.received(limits.maxHeld + 2);
  });

  it('a far end that never reads its answers is cut off, and others are served meanwhile', async () => {
    const big = 'x'.repeat(512 * 1024);
    await using server = await new FakeServer({ methods: { ...specMethods, big: () => big } }).listen();
    const client = server.client();
    client.socket.pause();
    const [peer] = await eventually(() => (server.peers.length === 1 ? server.peers : null));
    for (let sent = 0; sent < 40; sent += 1) {
      peer?.notify('event', { big });
      await turns(1);
    }
    expect(server.whys).toEqual(['it does not read its answers']);
    expect(peer?.closed).toBe(true);
    expect(await server.client().one(JSON.stringify(request('sum', 1, [1])))).toMatchObject({ result: 1 });
  });

  it('what a far end that does not read has asked for waits; once it reads it gets all, and is not cut off', async () => {
    const big = 'x'.repeat(64 * 1024);
    const made = vi.fn(() => big);
    await using server = await new FakeServer({ methods: { ...specMethods, big: made } }).listen();
    const client = server.client();
    client.socket.pause();
    for (let id = 0; id < 300; id += 1) {
      client.ask(request('big', id));
      await turns(1);
    }
    await turns(50);
    expect(made.mock.calls.length).toBeLessThan(100);
    client.socket.resume();
    await eventually(() => client.socket.bytesRead > 300 * big.length || client.ended, { what: 'all answers' });
    expect(server.whys).toEqual([]);
    expect(client.socket.bytesRead).toBeGreaterThan(300 * big.length);
  });

  it('who pipelines 300 small requests with large answers, and reads, gets them all', async () => {
    const big = 'x'.repeat(64 * 1024);
    await using server = await new FakeServer({ methods: { ...specMethods, big: () => big } }).listen();
    const client = server.client();
    client.ask(...Array.from({ length: 300 }, (_, id) => request('big', id)));
    await eventually(() => client.socket.bytesRead > 300 * big.length || client.ended, { what: 'all answers' });
    expect(server.whys).toEqual([]);
    expect(client.socket.bytesRead).toBeGreaterThan(300 * big.length);
  });

  it('C04, H02: an unfinished line is cut off 10 s after its beginning, also where it drips', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      await using server = await new FakeServer({ methods: specMethods }).listen();
      const client = server.client();
      const drip = async () => {
        const { bytesRead } = client.socket;
        client.send(' ');
        for (let turn = 0; turn < 20; turn += 1) await turns(1);
        expect(client.socket.bytesRead).toBe(bytesRead);
      };
      await drip();
      vi.advanceTimersByTime(6000);
      await drip();
      expect(server.whys).toEqual([]);
      vi.advanceTimersByTime(limits.unfinishedFrameMs - 6000 + 1);
      await turns(20);
      expect(server.whys).toEqual([expect.stringContaining('begun and not ended')]);
    } finally {
      vi.useRealTimers();
    }
  });
});
