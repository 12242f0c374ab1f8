/** H01, H02: the JSON-RPC table of faults.md against the real daemon: bytes. Cut, joined, half closed, foreign, too long, too deep. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/shared/limits.ts';
import { connectTo } from '../helpers/daemon-client.ts';
import type { Answer } from '../helpers/fake-server.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const box = new Sandbox();
beforeAll(() => box.startDaemon());
afterAll(() => box[Symbol.asyncDispose]());

const request = (method: string, id: unknown, params: object = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', method, params, id });
/** One that would leave a trace. */
const define = (name: string): string =>
  request('define', 1, { name, spec: { kind: 'command', command: ['/bin/true'] } });
const names = async (): Promise<readonly string[]> => {
  using client = connectTo(box);
  const { workers } = await client.result<{ workers: { name: string }[] }>('status');
  return workers.map(({ name }) => name);
};
/** What a fresh connection is answered, and how long that takes: 1 s is the bar, five times that are waited for. */
const canary = async (): Promise<void> => {
  using client = connectTo(box);
  const before = performance.now();
  await client.result('daemon.info');
  expect(performance.now() - before).toBeLessThan(5000);
};

describe('split and joined', () => {
  it('byte by byte, inside a character too', async () => {
    using client = connectTo(box);
    for (const byte of Buffer.from(`${request('daemon.info', 'ü👩‍🚀')}\n`)) {
      await new Promise((resolve) => client.socket.write(Uint8Array.of(byte), resolve));
    }
    expect(await client.answerTo('ü👩‍🚀')).toHaveProperty('result');
  });

  it('two in one write', async () => {
    using client = connectTo(box);
    client.send(`${request('daemon.info', 1)}\r\n${request('daemon.info', 2)}\n`);
    expect((await client.received(2)).map((answer) => (answer as Answer).id)).toEqual([1, 2]);
  });

  it('500 pipelined: each is answered once', async () => {
    using client = connectTo(box);
    const ids = Array.from({ length: 500 }, (_, id) => id);
    client.send(ids.map((id) => `${request(id % 2 === 0 ? 'daemon.info' : 'status', id)}\n`).join(''));
    const answers = (await client.received(500)) as readonly Answer[];
    expect(answers.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(ids);
  });
});

describe('half-close', () => {
  // A run that ends at once: its start and its end are often one commit, and are answered in the order they came.
  it.each([
    ['starts', '/bin/true', undefined],
    ['cannot start', '/nonexistent', -32003],
  ])('request + SHUT_WR: answered, then closed; those that are held too, of one that %s', async (_what, program, code) => {
    const spec = { kind: 'command', command: [program] };
    for (let round = 0; round < 10; round += 1) {
      using client = connectTo(box);
      const name = `half-${round}`;
      client.socket.end(`${request('start', 1, { name, spec })}\n${request('wait', 2, { name, for: 'exit' })}\n`);
      await client.untilEnded();
      expect((client.answers() as Answer[]).map(({ id, error }) => [id, error?.code])).toEqual([
        [1, code],
        [2, undefined],
      ]);
    }
  });

  it('notification + SHUT_WR: carried out and closed', async () => {
    using client = connectTo(box);
    const { id: _id, ...notification } = JSON.parse(define('noted')) as { id: number };
    client.socket.end(`${JSON.stringify(notification)}\n`);
    await client.untilEnded();
    expect(client.lines()).toEqual([]);
    expect(await names()).toContain('noted');
  });

  it('partial + SHUT_WR: closed, not carried out', async () => {
    for (const bytes of [define('partial'), define('partial').slice(0, 20), '']) {
      using client = connectTo(box);
      client.socket.end(bytes);
      await client.untilEnded();
      expect(client.lines()).toEqual([]);
    }
    expect(await names()).not.toContain('partial');
  });
});

describe('foreign protocols', () => {
  const tls = Buffer.concat([
    Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
    Buffer.alloc(300, 0x5a),
    Buffer.from('\n'),
  ]);
  it.each([
    ['LSP Content-Length', Buffer.from(`Content-Length: ${define('lsp').length}\r\n\r\n${define('lsp')}`), 1],
    ['HTTP POST, whose body must not run', Buffer.from(`POST / HTTP/1.1\r\nHost: x\r\n\r\n${define('http')}\n`), 0],
    ['HTTP GET', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 0],
    ['TLS hello', tls, 1],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n'), 1],
  ])('%s: no result, the daemon survives', async (_name, bytes, errors) => {
    using client = connectTo(box);
    client.socket.end(bytes);
    await client.untilEnded();
    expect((client.answers() as Answer[]).map(({ error }) => error?.code)).toEqual(Array(errors).fill(-32700));
    expect(await names()).not.toEqual(expect.arrayContaining([expect.stringMatching(/lsp|http/)]));
    await canary();
  });
});

describe('size', () => {
  /** Blanks between members mean nothing, and count. */
  const padded = (bytes: number, line: string) =>
    line.replace(/^\{/, (brace) => brace + ' '.repeat(bytes - Buffer.byteLength(line)));

  it('just under: served', async () => {
    using client = connectTo(box);
    client.send(`${padded(limits.maxFrameBytes, request('daemon.info', 'just under'))}\n`);
    expect(await client.answerTo('just under')).toHaveProperty('result');
  });

  it.each([
    1, 4, 64,
  ])('%i× the limit and a byte: an error or a close, never carried out; others are served', async (times) => {
    using client = connectTo(box);
    client.send(`${padded(times * limits.maxFrameBytes + 1, define('large'))}\n`);
    await canary();
    await client.untilEnded();
    for (const answer of client.answers()) expect(answer).toMatchObject({ id: null, error: { code: -32600 } });
    expect(await names()).not.toContain('large');
  });

  it('no newline: it is not collected beyond the limit', async () => {
    using client = connectTo(box);
    client.send(Buffer.alloc(limits.maxFrameBytes + 1, 0x20));
    await client.untilEnded();
    expect(client.answers()).toEqual([expect.objectContaining({ id: null })]);
    await canary();
  });
});

describe('depth', () => {
  const nested = (levels: number, open = '[', close = ']') => `${open.repeat(levels)}${close.repeat(levels)}`;
  const places: Readonly<Record<string, (levels: number) => string>> = {
    params: (levels) => `{"jsonrpc":"2.0","method":"daemon.info","params":${nested(levels)},"id":1}`,
    'params, objects': (levels) =>
      `{"jsonrpc":"2.0","method":"daemon.info","params":${'{"a":'.repeat(levels)}1${'}'.repeat(levels)},"id":1}`,
    id: (levels) => `{"jsonrpc":"2.0","method":"daemon.info","id":${nested(levels)}}`,
    'top level': (levels) => nested(levels + 1),
    'never closed': (levels) => '['.repeat(levels + 1),
  };
  describe.each(Object.entries(places))('in %s', (_place, line) => {
    it.each([
      limits.maxDepth,
      1000,
      10_000,
      500_000,
    ])('%i levels and one: refused, and the connection is usable', async (levels) => {
      using client = connectTo(box);
      // Longer than a frame it would be cut off for that.
      const text = line(levels);
      if (text.length > limits.maxFrameBytes) client.send(`${text}\n`);
      else expect((await client.one(text)).error?.code).toBe(-32700);
      await canary();
    });
  });

  it('up to the limit it is the params that are looked at', async () => {
    using client = connectTo(box);
    const text = request('publish', 1, { name: 'nobody', state: { a: 0 } });
    const deep = (levels: number) => text.replace('"a":0', `"a":${nested(levels)}`);
    expect((await client.one(deep(limits.maxDepth - 3))).error?.code).toBe(-32001);
    expect((await client.one(deep(limits.maxDepth - 2))).error?.code).toBe(-32700);
  });
});
