/** One end of a connection over a real socket: cut and joined bytes, half-close, bounds, coalesced writes, rubbish. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { WorkerdError } from '../../src/shared/errors.ts';
import { Peer } from '../../src/shared/peer.ts';
import { eventually } from '../helpers/eventually.ts';
import { seeded } from '../helpers/fake-chance.ts';
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

describe('split and joined', () => {
  it('byte by byte, inside characters too', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    for (const byte of Buffer.from(`${JSON.stringify(request('echo', 'ü👩‍🚀', ['ü👩‍🚀']))}\n`)) {
      client.send(Uint8Array.of(byte));
      await turns(1);
    }
    expect(await client.received(1)).toEqual([{ jsonrpc: '2.0', id: 'ü👩‍🚀', result: ['ü👩‍🚀'] }]);
  });

  it('two in one write; CRLF', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    client.send(`${JSON.stringify(request('sum', 1, [1]))}\r\n${JSON.stringify(request('sum', 2, [2]))}\r\n`);
    expect((await client.received(2)).map((answer) => (answer as Answer).result)).toEqual([1, 2]);
  });

  it('500 pipelined: each gets its own answer, once', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    client.ask(...Array.from({ length: 500 }, (_, id) => request('sum', id, [id, 1000])));
    const answers = (await client.received(500)) as readonly Answer[];
    expect(new Map(answers.map(({ id, result }) => [id, result]))).toEqual(
      new Map(Array.from({ length: 500 }, (_, id) => [id, id + 1000])),
    );
    expect(answers).toHaveLength(500);
  });
});

describe('half-close', () => {
  it.each([
    ['a request: answered, then closed', `${JSON.stringify(request('sum', 1, [1]))}\n`, 1],
    ['a request without its newline: closed', JSON.stringify(request('sum', 1, [1])), 0],
    ['a notification: closed', '{"jsonrpc":"2.0","method":"update"}\n', 0],
    ['half a request: closed', '{"jsonrpc":', 0],
    ['nothing: closed', '', 0],
  ])('%s', async (_what, bytes, count) => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    client.socket.end(bytes);
    await client.untilEnded();
    expect(client.lines()).toHaveLength(count);
  });

  it('what takes its time, held or not, is answered after the far end’s FIN', async () => {
    for (const method of ['work', 'hold']) {
      const { open, methods, seen } = gated();
      await using server = await new FakeServer({ methods, isHeld }).listen();
      const client = server.client();
      client.socket.end(`${JSON.stringify(request(method, 1))}\n`);
      await eventually(() => seen.begun === 1);
      await turns();
      expect(client.ended).toBe(false);
      open();
      await client.untilEnded();
      expect(client.answers()).toEqual([{ jsonrpc: '2.0', id: 1, result: 'open' }]);
    }
  });

  it('several that end in the same turn are all answered after the FIN', async () => {
    for (const method of ['work', 'hold']) {
      const { open, methods, seen } = gated();
      await using server = await new FakeServer({ methods, isHeld }).listen();
      const client = server.client();
      client.socket.end([1, 2, 3].map((id) => `${JSON.stringify(request(method, id))}\n`).join(''));
      await eventually(() => seen.begun === 3);
      await turns();
      open();
      await client.untilEnded();
      expect((client.answers() as Answer[]).map(({ id }) => id)).toEqual([1, 2, 3]);
    }
  });

  it('a batch beside a single request: both are answered after the FIN', async () => {
    const { open, methods, seen } = gated();
    await using server = await new FakeServer({ methods, isHeld }).listen();
    const client = server.client();
    const batch = JSON.stringify([request('work', 2), request('work', 3)]);
    client.socket.end(`${JSON.stringify(request('work', 1))}\n${batch}\n`);
    await eventually(() => seen.begun === 3);
    await turns();
    open();
    await client.untilEnded();
    expect((client.answers() as Answer[]).flat().map(({ id }) => id)).toEqual([1, 2, 3]);
  });
});

describe('foreign protocols', () => {
  it.each([
    'GET / HTTP/1.1',
    'POST /rpc HTTP/1.0',
    'OPTIONS * HTTP/1.1',
  ])('%s: closed without a word, its body not carried out', async (line) => {
    const sum = vi.fn(specMethods.sum);
    await using server = await new FakeServer({ methods: { ...specMethods, sum } }).listen();
    const client = server.client();
    client.send(`${line}\r\nContent-Length: 60\r\n\r\n${JSON.stringify(request('sum', 1))}\n`);
    await client.untilEnded();
    expect(client.lines()).toEqual([]);
    expect(sum).not.toHaveBeenCalled();
  });

  it('LSP headers and a TLS hello survive with errors alone', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const hello = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1]), Buffer.alloc(60, 0xfc), Buffer.from('\n')]);
    for (const bytes of [Buffer.from('Content-Length: 5\r\n\r\n'), hello]) {
      expect((await server.client().one(bytes)).error?.code).toBe(-32700);
    }
  });
});

describe('writing', () => {
  it('all that is sent in one turn leaves in one write', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    const chunks: Buffer[] = [];
    client.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const [peer] = await eventually(() => (server.peers.length === 1 ? server.peers : null));
    for (let count = 0; count < 100; count += 1) peer?.notify('event', { count });
    await client.received(100);
    expect(chunks).toHaveLength(1);
  });

  it('what was encoded for many goes between other messages, in order and in the same write', async () => {
    await using server = await new FakeServer({ methods: specMethods }).listen();
    const client = server.client();
    const chunks: Buffer[] = [];
    client.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const [peer] = await eventually(() => (server.peers.length === 1 ? server.peers : null));
    peer?.notify('event', { count: 1 });
    peer?.notify('event', { count: 2 });
    peer?.sendLines(Buffer.from('{"count":3}\n{"count":4}\n'));
    peer?.sendLines(Buffer.alloc(0));
    peer?.notify('event', { count: 5 });
    await client.received(5);
    expect(chunks).toHaveLength(1);
    expect(String(chunks[0]).match(/(?<="count":)\d/g)).toEqual(['1', '2', '3', '4', '5']);
  });

  it('a fault of a method is -32603 with a log id to that caller alone, never its words (D17)', async () => {
    const bad = () => {
      throw new Error('secret words');
    };
    await using server = await new FakeServer({ methods: { ...specMethods, bad } }).listen();
    const client = server.client();
    client.ask(request('bad', 1), request('sum', 2, [1]));
    const answers = (await client.received(2)) as readonly Answer[];
    expect(answers.find(({ id }) => id === 1)?.error).toEqual({
      code: -32603,
      message: 'internal error',
      data: { code: 'internal', retry: false, logId: 'log-1' },
    });
    expect(answers.find(({ id }) => id === 2)?.result).toBe(1);
    expect(client.lines().join()).not.toContain('secret');
    expect(server.faults).toHaveLength(1);
  });
});

describe('asking', () => {
  it('an answer, an error of ours as what it was, and the end of the connection', async () => {
    const { methods } = gated();
    const refuse = () => {
      throw new WorkerdError('worker.not-found', 'no worker is named "x"', { name: 'x' });
    };
    await using server = await new FakeServer({ methods: { ...methods, refuse }, isHeld }).listen();
    const peer = new Peer({ socket: server.client().socket });
    expect(await peer.request('sum', [1, 2])).toBe(3);
    await expect(peer.request('refuse')).rejects.toMatchObject({ code: 'worker.not-found', data: { name: 'x' } });
    const waiting = Promise.allSettled([peer.request('hold'), peer.request('work')]);
    await turns();
    for (const each of server.peers) each.close('the daemon ends');
    for (const each of await waiting) {
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'daemon.unreachable' } });
    }
    await expect(peer.request('sum')).rejects.toMatchObject({ code: 'daemon.unreachable' });
  });
});

describe('rubbish', () => {
  it('random input is never answered with -32603, and every answer is a whole response', {
    timeout: 60_000,
  }, async () => {
    await using server = await new FakeServer({ methods: { ...specMethods, subtract: specMethods.sum } }).listen();
    const client = server.client();
    const word = fc.oneof(fc.constantFrom(...Object.keys(specMethods)), fc.string(), fc.jsonValue({ maxDepth: 3 }));
    const almost = fc.record(
      {
        jsonrpc: fc.oneof(fc.constant('2.0'), word),
        method: word,
        params: fc.jsonValue(),
        id: word,
        error: word,
        result: word,
      },
      { requiredKeys: [] },
    );
    const line = fc.oneof(
      almost.map((value) => JSON.stringify(value)),
      fc.array(almost, { maxLength: 5 }).map((value) => JSON.stringify(value)),
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.string({ unit: 'binary' }),
      fc.tuple(almost, fc.nat(50)).map(([value, cut]) => JSON.stringify(value).slice(0, cut)),
    );
    await fc.assert(
      fc.asyncProperty(line, async (text) => {
        for (const answer of (await client.reply(text.replaceAll('fence', ''))).flat() as Answer[]) {
          expect(answer).toMatchObject({ jsonrpc: '2.0' });
          expect(Object.hasOwn(answer, 'id')).toBe(true);
          expect(Object.hasOwn(answer, 'result')).not.toBe(Object.hasOwn(answer, 'error'));
          expect(answer.error?.code).not.toBe(-32603);
          if (answer.error !== undefined) expect(Number.isInteger(answer.error.code)).toBe(true);
        }
      }),
      seeded(500),
    );
    expect(server.faults).toEqual([]);
  });
});
