/** H01: the JSON-RPC table of faults.md against the real daemon: messages. Rows have the names that they have there. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTo, type DaemonClient } from '../helpers/daemon-client.ts';
import type { Answer } from '../helpers/fake-server.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const box = new Sandbox();
let client: DaemonClient;
beforeAll(async () => {
  await box.startDaemon();
  client = connectTo(box);
  await client.result('define', { name: 'a', spec: { kind: 'command', command: ['/bin/true'] } });
});
afterAll(async () => {
  client.socket.destroy();
  await box[Symbol.asyncDispose]();
});

const request = (method: string, rest: object = {}): string => JSON.stringify({ jsonrpc: '2.0', method, ...rest });
const error = (code: number, id: unknown) => ({
  jsonrpc: '2.0',
  id,
  error: expect.objectContaining({ code, message: expect.any(String) }),
});
const result = (id: unknown) => ({ jsonrpc: '2.0', id, result: expect.anything() });
const isEnabled = async (): Promise<boolean> =>
  (await client.result<{ workers: { enabled: boolean }[] }>('status', { names: ['a'] })).workers[0]?.enabled === true;

/** What is sent; what comes back for it, in all. */
type Row = readonly [sent: string, expected: readonly unknown[]];
const mixed = [
  { jsonrpc: '2.0', method: 'daemon.info', id: '1' },
  { jsonrpc: '2.0', method: 'hello', params: { client: 'x' } },
  { jsonrpc: '2.0', method: 'history', params: { name: 'a' }, id: '2' },
  { foo: 'boo' },
  { jsonrpc: '2.0', method: 'foo.get', params: { name: 'myself' }, id: '5' },
  { jsonrpc: '2.0', method: 'status', params: { names: ['a'] }, id: '9' },
];
const groups: Readonly<Record<string, readonly Row[]>> = {
  // Params go by name here, and the answer says so; none at all go either way.
  positional: [
    [request('history', { params: ['a'], id: 1 }), [error(-32602, 1)]],
    [request('daemon.info', { params: [], id: 2 }), [result(2)]],
    [request('history', { params: [], id: 3 }), [error(-32602, 3)]],
  ],
  named: [
    [request('history', { params: { name: 'a', limit: 1 }, id: 3 }), [{ ...result(3), result: { runs: [] } }]],
    [request('history', { params: { limit: 1, name: 'a' }, id: 4 }), [{ ...result(4), result: { runs: [] } }]],
  ],
  notification: [
    [request('hello', { params: { client: 'x' } }), []],
    [request('foobar'), []],
    [request('history', { params: { name: 'nobody' } }), []],
    [request('history', { params: [1] }), []],
  ],
  'unknown method': [[request('foobar', { id: '1' }), [error(-32601, '1')]]],
  'parse error': [['{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', [error(-32700, null)]]],
  'invalid request': [['{"jsonrpc":"2.0","method":1,"params":"bar"}', [error(-32600, null)]]],
  'batch, broken JSON': [
    [`[${request('daemon.info', { id: '1' })},{"jsonrpc": "2.0", "method"]`, [error(-32700, null)]],
  ],
  'batch empty': [['[]', [error(-32600, null)]]],
  'batch invalid': [
    ['[1]', [[error(-32600, null)]]],
    ['[1,2,3]', [[error(-32600, null), error(-32600, null), error(-32600, null)]]],
  ],
  "batch mixed (spec's 6)": [
    [JSON.stringify(mixed), [[result('1'), result('2'), error(-32600, null), error(-32601, '5'), result('9')]]],
  ],
  'batch of notifications': [
    [`[${request('hello')},${request('hello', { params: { client: 'x' } })}]`, []],
    [`[${request('foobar')},${request('history')},${request('stop', { params: { name: 'nobody' } })}]`, []],
  ],
  'batch more': [
    [`[${request('daemon.info', { id: 1 })}]`, [[result(1)]]],
    [`[${request('daemon.info', { id: 1 })},${request('daemon.info', { id: 1 })}]`, [[result(1), result(1)]]],
    [`[[${request('daemon.info', { id: 1 })}]]`, [[error(-32600, null)]]],
    ['[null,"x",[]]', [[error(-32600, null), error(-32600, null), error(-32600, null)]]],
  ],
  version: [
    ['{"method":"daemon.info","id":1}', [error(-32600, 1)]],
    ...['"1.0"', '2.0', '"2"', '"2.00"', 'null', '[2.0]'].map(
      (version): Row => [`{"jsonrpc":${version},"method":"daemon.info","id":1}`, [error(-32600, 1)]],
    ),
  ],
  method: [
    '{"jsonrpc":"2.0","id":5}',
    ...['null', '["daemon.info"]', '1', '{}', 'true'].map((method) => `{"jsonrpc":"2.0","method":${method},"id":5}`),
  ].map((sent): Row => [sent, [error(-32600, 5)]]),
  'reserved, prototype': [
    'rpc.x',
    'rpc.',
    'rpc',
    'constructor',
    '__proto__',
    'toString',
    'hasOwnProperty',
    'valueOf',
    '',
  ].map((method): Row => [request(method, { id: 1 }), [error(-32601, 1)]]),
  params: ['s', 5, true].map((params): Row => [request('daemon.info', { params, id: 1 }), [error(-32600, 1)]]),
  'params null / wrong shape': [
    [request('daemon.info', { params: null, id: 1 }), [error(-32600, 1)]],
    [request('history', { params: { name: 5 }, id: 1 }), [error(-32602, 1)]],
    [request('history', { params: {}, id: 1 }), [error(-32602, 1)]],
  ],
  'id string, safe integer': [
    '',
    'x'.repeat(4096),
    '👩‍🚀',
    '\u2028',
    '"quoted"\\',
    0,
    -1,
    2 ** 53 - 1,
    -(2 ** 53 - 1),
  ].map((id): Row => [request('daemon.info', { id }), [result(id)]]),
  'id odd': ['9007199254740993', '-9007199254740993', '1e400', '1.5'].map(
    (id): Row => [`{"jsonrpc":"2.0","method":"daemon.info","id":${id}}`, [error(-32600, null)]],
  ),
  'id null': [[request('daemon.info', { id: null }), [result(null)]]],
  'id bool, array, object': ['true', '[1]', '{"a":1}'].map(
    (id): Row => [`{"jsonrpc":"2.0","method":"daemon.info","id":${id}}`, [error(-32600, null)]],
  ),
  'unknown members; duplicate keys': [
    [request('daemon.info', { id: 1, extra: { a: 1 }, result: 1 }), [result(1)]],
    ['{"jsonrpc":"2.0","method":"daemon.info","id":1,"id":2}', [result(2)]],
  ],
  'a response sent to the server': [
    ['{"jsonrpc":"2.0","result":1,"id":36}', [error(-32600, 36)]],
    ['{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":null}', [error(-32600, null)]],
  ],
  '`__proto__`/`constructor` in params': [
    ['{"jsonrpc":"2.0","method":"history","params":{"name":"a","__proto__":{"x":1}},"id":1}', [error(-32602, 1)]],
    ['{"jsonrpc":"2.0","method":"history","params":{"name":"a","constructor":2},"id":1}', [error(-32602, 1)]],
    ['{"jsonrpc":"2.0","method":"history","params":{"__proto__":{"name":"a"}},"id":1}', [error(-32602, 1)]],
    ['{"jsonrpc":"2.0","method":"history","params":{"name":"a"},"id":1}', [result(1)]],
  ],
  scalars: ['1', '"x"', 'null', 'true'].map((sent): Row => [sent, [error(-32600, null)]]),
  'not JSON': [
    ...['NaN', '{"jsonrpc":"2.0"} // comment', '[1,]', '{a:1}', '{} {}', '\0', '"\u0001"', '01'],
    ...['{"jsonrpc":"2.0","method":"daemon.info"', "{'a':1}", '\u00a0', 'undefined', '}{'],
  ].map((sent): Row => [sent, [error(-32700, null)]]),
  'blank lines': [['\n\r\n \t \n', []]],
};

describe.each(Object.entries(groups))('%s', (_group, rows) => {
  it.each(rows)('%s', async (sent, expected) => {
    expect(await client.reply(sent)).toEqual(expected);
  });
});

it('notification: it is carried out all the same, also in a batch', async () => {
  await client.reply(request('enable', { params: { name: 'a' } }));
  expect(await isEnabled()).toBe(true);
  await client.reply(`[${request('disable', { params: { name: 'a' } })}]`);
  expect(await isEnabled()).toBe(false);
});

describe('batch limit', () => {
  const batchOf = (count: number, method = 'daemon.info', params: object = {}) =>
    `[${Array.from({ length: count }, (_, id) => request(method, { id, params })).join(',')}]`;

  it('100: 100 answers, in request order', async () => {
    const [answers] = (await client.reply(batchOf(100))) as [Answer[]];
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, id) => id));
  });

  it('101: one error, and nothing of it is carried out', async () => {
    expect(await client.reply(batchOf(101, 'enable', { name: 'a' }))).toEqual([error(-32600, null)]);
    expect(await isEnabled()).toBe(false);
  });

  it('900 KB of {}: at most 4 times as much back', async () => {
    const flood = `[${Array.from({ length: 300_000 }, () => '{}').join(',')}]`;
    expect(JSON.stringify(await client.reply(flood)).length).toBeLessThan(4 * flood.length);
  });
});

describe('encoding', () => {
  it('invalid UTF-8: a parse error', async () => {
    for (const bytes of [
      [0x7b, 0xff, 0x7d],
      [0x22, 0xc3, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
    ]) {
      expect(await client.reply(Buffer.from(bytes))).toEqual([error(-32700, null)]);
    }
  });

  it('BOM: served, or a parse error', async () => {
    const answer = await client.one(`\ufeff${request('daemon.info', { id: 1 })}`);
    expect([undefined, -32700]).toContain(answer.error?.code);
  });

  it('lone surrogate escape: survives, and what comes back is the same, as valid UTF-8', async () => {
    const answer = await client.one('{"jsonrpc":"2.0","method":"\\ud800","params":{"a":"\\udfff"},"id":"\\udc00"}');
    expect(answer).toEqual(error(-32601, '\udc00'));
    expect(client.lines().join('')).not.toContain('\ufffd');
  });
});

it('after all of that the connection is the same one, and serves', async () => {
  expect(client.ended).toBe(false);
  expect(await client.result('daemon.info')).toMatchObject({ home: box.home });
});
