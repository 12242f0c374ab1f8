/** JSON-RPC 2.0, case by case (the table of faults.md, H01), over a real socket. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WorkerdError } from '../../src/shared/errors.ts';
import { Gate } from '../../src/shared/gate.ts';
import { type Answer, FakeServer, type RawClient, specMethods } from '../helpers/fake-server.ts';

let server: FakeServer;
let client: RawClient;
beforeAll(async () => {
  server = await new FakeServer({ methods: specMethods }).listen();
  client = server.client();
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const call = (method: unknown, rest: object = {}): string => JSON.stringify({ jsonrpc: '2.0', method, ...rest });
const errorOf = (code: number, id: unknown) => ({
  jsonrpc: '2.0',
  id,
  error: expect.objectContaining({ code, message: expect.any(String) }),
});

describe('requests', () => {
  it.each([
    [[42, 23], 1, 19],
    [[23, 42], 2, -19],
    [{ subtrahend: 23, minuend: 42 }, 3, 19],
    [{ minuend: 42, subtrahend: 23 }, 4, 19],
  ])('subtract %j', async (params, id, result) => {
    expect(await client.one(call('subtract', { params, id }))).toEqual({ jsonrpc: '2.0', result, id });
  });

  it.each([
    ['update with params', call('update', { params: [1, 2, 3] })],
    ['an unknown method', call('foobar')],
    ['with wrong params', call('subtract', { params: [] })],
  ])('a notification, %s: nothing', async (_what, line) => {
    expect(await client.reply(line)).toEqual([]);
  });

  it('an unknown method', async () => {
    expect(await client.one(call('foobar', { id: '1' }))).toEqual(errorOf(-32601, '1'));
  });

  it.each([
    'rpc.x',
    'constructor',
    '__proto__',
    'toString',
    'hasOwnProperty',
    'valueOf',
    '',
  ])('a name that objects have: %j', async (method) => {
    expect(await client.one(call(method, { id: 1 }))).toEqual(errorOf(-32601, 1));
  });

  it.each([[1], [null], [['x']], [undefined], [{}], [true]])('method %j', async (method) => {
    expect(await client.one(call(method, { id: 5 }))).toEqual(errorOf(-32600, 5));
  });

  it('method 1 without id', async () => {
    expect(await client.one('{"jsonrpc":"2.0","method":1,"params":"bar"}')).toEqual(errorOf(-32600, null));
  });

  it.each(['"1.0"', '2.0', '"2"', '"2.00"', 'null', '[2.0]'])('version %s', async (version) => {
    expect(await client.one(`{"jsonrpc":${version},"method":"sum","id":1}`)).toEqual(errorOf(-32600, 1));
  });

  it('no version', async () => expect(await client.one('{"method":"sum","id":1}')).toEqual(errorOf(-32600, 1)));

  it.each(['s', 5, true, null])('params %j', async (params) => {
    expect(await client.one(call('echo', { params, id: 1 }))).toEqual(errorOf(-32600, 1));
  });

  it('unknown members are ignored, of duplicate keys one holds: one answer', async () => {
    expect(await client.one(call('sum', { params: [1], id: 1, extra: { a: 1 } }))).toMatchObject({ result: 1 });
    expect(await client.one('{"jsonrpc":"2.0","method":"sum","id":1,"id":2,"params":[4]}')).toMatchObject({
      result: 4,
    });
  });

  it('a response sent to the server starts no loop', async () => {
    const answer = await client.one('{"jsonrpc":"2.0","result":1,"id":36}');
    expect(answer).toEqual(errorOf(-32600, 36));
  });

  it('H06: __proto__ and constructor in params pollute nothing', async () => {
    const line = '{"jsonrpc":"2.0","method":"echo","params":{"__proto__":{"x":1},"constructor":2},"id":1}';
    await client.one(line);
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
    expect(await client.one(call('sum', { params: [1, 1], id: 2 }))).toMatchObject({ result: 2 });
  });
});

describe('ids', () => {
  it.each([
    '',
    'x'.repeat(4096),
    '👩‍🚀',
    '\u2028',
    '"quoted"\\',
    0,
    -1,
    2 ** 53 - 1,
    -(2 ** 53 - 1),
  ])('%j comes back exactly', async (id) => expect((await client.one(call('sum', { params: [], id }))).id).toBe(id));

  it.each([
    '9007199254740993',
    '-9007199254740993',
    '1e400',
    '1.5',
    'true',
    '[1]',
    '{"a":1}',
  ])('%s is no id', async (id) => {
    expect(await client.one(`{"jsonrpc":"2.0","method":"sum","id":${id}}`)).toEqual(errorOf(-32600, null));
  });

  it('null is an id: the request is answered', async () => {
    const answer = await client.one(call('sum', { params: [2], id: null }));
    expect(answer).toEqual({ jsonrpc: '2.0', id: null, result: 2 });
  });
});

describe('batches', () => {
  it('the mixed one of the specification, in request order', async () => {
    const batch = [
      { jsonrpc: '2.0', method: 'sum', params: [1, 2, 4], id: '1' },
      { jsonrpc: '2.0', method: 'notify_hello', params: [7] },
      { jsonrpc: '2.0', method: 'subtract', params: [42, 23], id: '2' },
      { foo: 'boo' },
      { jsonrpc: '2.0', method: 'foo.get', params: { name: 'myself' }, id: '5' },
      { jsonrpc: '2.0', method: 'get_data', id: '9' },
    ];
    expect(await client.reply(JSON.stringify(batch))).toEqual([
      [
        { jsonrpc: '2.0', result: 7, id: '1' },
        { jsonrpc: '2.0', result: 19, id: '2' },
        errorOf(-32600, null),
        errorOf(-32601, '5'),
        { jsonrpc: '2.0', result: ['hello', 5], id: '9' },
      ],
    ]);
  });

  it('empty: one error, no array', async () => expect(await client.one('[]')).toEqual(errorOf(-32600, null)));
  it.each([
    ['[1]', 1],
    ['[1,2,3]', 3],
    ['[null,"x",[]]', 3],
    ['[[]]', 1],
  ])('%s: an array of %i errors', async (line, count) => {
    expect(await client.reply(line)).toEqual([Array.from({ length: count }, () => errorOf(-32600, null))]);
  });

  it('broken JSON: one parse error', async () => {
    const line = '[{"jsonrpc":"2.0","method":"sum","params":[1,2,4],"id":"1"},{"jsonrpc":"2.0","method"]';
    expect(await client.one(line)).toEqual(errorOf(-32700, null));
  });

  it('of notifications only, failing ones too: nothing at all', async () => {
    expect(await client.reply(`[${call('update')},${call('foobar')},${call('subtract', { params: [] })}]`)).toEqual([]);
  });

  it('of one: an array of one; of the same id twice: two answers', async () => {
    const one = call('sum', { params: [1], id: 1 });
    expect(await client.reply(`[${one}]`)).toEqual([[{ jsonrpc: '2.0', id: 1, result: 1 }]]);
    expect((await client.reply(`[${one},${one}]`)).flat()).toHaveLength(2);
  });

  it.each([2, 64, 65, 100])('of %i: what comes with it and is known at once is answered after it', async (count) => {
    const batch = Array.from({ length: count }, (_, id) => call('sum', { id }));
    const before = client.lines().length;
    client.send(`[${batch.join(',')}]\n${call('sum', { id: 'after' })}\n[${batch.join(',')}]\n`);
    const answers = (await client.received(before + 3)).slice(before);
    expect(answers.map((answer) => (Array.isArray(answer) ? answer.length : (answer as Answer).id))).toEqual([
      count,
      'after',
      count,
    ]);
  });

  it('one that waits holds up nothing that comes after it', async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    await using own = await new FakeServer({ methods: { ...specMethods, late: () => promise } }).listen();
    const asker = own.client();
    asker.send(`[${call('late', { id: 1 })},${call('sum', { id: 2 })}]\n${call('sum', { id: 'after' })}\n`);
    expect(await asker.received(1)).toMatchObject([{ id: 'after' }]);
    resolve(5);
    expect((await asker.received(2))[1]).toMatchObject([
      { id: 1, result: 5 },
      { id: 2, result: 0 },
    ]);
  });

  it('of 100: 100 answers; of 101: one error and nothing is done; 900 KB of {}: no more than 4 times back', async () => {
    const batchOf = (count: number) => `[${Array.from({ length: count }, (_, id) => call('sum', { id })).join(',')}]`;
    const hundred = (await client.reply(batchOf(100)))[0] as Answer[];
    expect(hundred.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, id) => id));
    expect(await client.one(batchOf(101))).toEqual(errorOf(-32600, null));
    const flood = `[${Array.from({ length: 300_000 }, () => '{}').join(',')}]`;
    expect(JSON.stringify(await client.reply(flood)).length).toBeLessThan(4 * flood.length);
  });
});

describe('no JSON, or none that is a request', () => {
  it.each(['1', '"x"', 'null', 'true'])('%s', async (line) => {
    expect(await client.one(line)).toEqual(errorOf(-32600, null));
  });

  it.each([
    '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
    'NaN',
    '{"jsonrpc":"2.0"} // comment',
    '[1,]',
    '{a:1}',
    '{} {}',
    '\0',
    '"\u0001"',
    '01',
    '{"jsonrpc":"2.0","method":"sum"',
  ])('%j: a parse error, and the connection stays usable', async (line) => {
    expect(await client.one(line)).toEqual(errorOf(-32700, null));
  });

  it('blank lines mean nothing', async () => expect(await client.reply('\n\r\n \t \n')).toEqual([]));

  it('invalid UTF-8 is a parse error; a byte order mark at most that', async () => {
    expect(await client.one(Buffer.from([0x7b, 0xff, 0x7d]))).toEqual(errorOf(-32700, null));
    const marked = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(call('sum', { id: 1, params: [] }))]);
    const answer = await client.one(marked);
    expect(answer.error === undefined || answer.error.code === -32700).toBe(true);
  });

  it('a lone surrogate survives, and what comes back is valid UTF-8', async () => {
    const answer = await client.one('{"jsonrpc":"2.0","method":"echo","params":["\\ud800"],"id":"\\udc00"}');
    expect(answer).toMatchObject({ id: '\udc00', result: ['\ud800'] });
    expect(await client.one('{"jsonrpc":"2.0","method":"\\ud800","id":1}')).toEqual(errorOf(-32601, 1));
  });

  it('too deep is refused: in params, in the id, at the top', async () => {
    const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    expect(await client.one(`{"jsonrpc":"2.0","method":"echo","params":${deep(63)},"id":1}`)).toHaveProperty('result');
    for (const levels of [64, 5000, 500_000]) {
      for (const line of [
        `{"jsonrpc":"2.0","method":"echo","params":${deep(levels)},"id":1}`,
        `{"jsonrpc":"2.0","method":"echo","id":${deep(levels)}}`,
        deep(levels + 1),
      ]) {
        expect((await client.one(line)).error?.code).toBe(-32700);
      }
    }
  });
});

describe('what a handler knows at once', () => {
  const faults: unknown[] = [];
  const gate = new Gate<undefined>({
    methods: {
      now: () => 1,
      later: async () => 2,
      refused: () => {
        throw new WorkerdError('usage', 'not so');
      },
      broken: () => {
        throw new Error('a bug');
      },
    },
    onFault: (method, error) => `${method}-${faults.push(error)}`,
  });
  const admitted = (method: string, rest: object = { id: 7 }) => {
    const [element] = gate.admit({ jsonrpc: '2.0', method, ...rest }).elements;
    if (element?.kind !== 'call') throw new Error(`${method} is not admitted`);
    return gate.call(element.request, undefined);
  };

  it('is answered at once, a refusal too; what it waits for is answered later', async () => {
    expect(admitted('now')).toEqual({ jsonrpc: '2.0', id: 7, result: 1 });
    expect(admitted('refused')).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: { code: -32602, message: 'not so', data: { code: 'usage', retry: false } },
    });
    const later = admitted('later');
    expect(later).toBeInstanceOf(Promise);
    expect(await later).toEqual({ jsonrpc: '2.0', id: 7, result: 2 });
  });

  it('a bug is told of by the name under which it is in the log, and to no notification', () => {
    expect(admitted('broken')).toMatchObject({ id: 7, error: { code: -32603, data: { logId: 'broken-1' } } });
    expect(admitted('broken', {})).toBeNull();
    expect(admitted('now', {})).toBeNull();
    expect(faults).toHaveLength(2);
  });
});
