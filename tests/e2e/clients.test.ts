/** Real clients, as they come, against the real daemon: the table "Real clients that must work" of faults.md. */
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import OpenRpcClient, {
  ContentLengthMessageFramer,
  NewlineDelimitedMessageFramer,
  RequestManager,
  StreamTransport,
} from '@open-rpc/client-js';
import jayson from 'jayson/promise/index.js';
import { JSONRPCClient } from 'json-rpc-2.0';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AbstractMessageReader,
  AbstractMessageWriter,
  createMessageConnection,
  type DataCallback,
  type Message,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-jsonrpc/node';
import type { OpenRpcDocument } from '../../src/daemon/openrpc.ts';
import { connectTo } from '../helpers/daemon-client.ts';
import { eventually } from '../helpers/eventually.ts';
import { documentValidator } from '../helpers/openrpc.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const box = new Sandbox();
const spec = { kind: 'command', command: ['/bin/true'] };
beforeAll(async () => {
  await box.startDaemon();
  await (await box.client()).call('define', { name: 'a', spec: { kind: 'command', command: ['/bin/true'] } });
});
afterAll(() => box[Symbol.asyncDispose]());

const exec = promisify(execFile);
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const unless = (program: string): string => (has(program) ? '' : ` (no ${program} on this machine)`);
const isEnabled = async (): Promise<boolean> => (await box.status('a')).enabled;
/** Whatever a client did: the daemon answers the next one. */
const daemonIsWell = async (): Promise<void> => {
  using client = connectTo(box);
  expect(await client.result('daemon.info')).toMatchObject({ home: box.home });
};
/** A socket that is gone with the test. */
const open = async (): Promise<Socket & Disposable> => {
  const socket = connect(box.socket);
  await once(socket, 'connect');
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() });
};

describe('jayson', () => {
  // Its types know TCP alone, and no request without an id (null) or that is not sent yet (false).
  const client = jayson.client.tcp({ path: box.socket } as never);

  it('a call, and one that fails', async () => {
    expect(await client.request('daemon.info', {})).toMatchObject({ jsonrpc: '2.0', result: { home: box.home } });
    expect(await client.request('stop', { name: 'nobody' })).toMatchObject({ error: { code: -32001 } });
  });

  it('a notification, after which it only closes its side', async () => {
    await client.request('enable', { name: 'a' }, null as never);
    await eventually(isEnabled);
    await client.request('disable', { name: 'a' }, null as never);
    await eventually(async () => !(await isEnabled()));
  });

  it('a batch', async () => {
    const batch = [
      client.request('daemon.info', {}, undefined as never, false as never),
      client.request('nope', {}, undefined as never, false as never),
    ];
    const answers = (await client.request(batch as never)) as unknown as readonly { error?: { code: number } }[];
    expect(answers.map(({ error }) => error?.code)).toEqual([undefined, -32601]);
  });
});

describe('@open-rpc/client-js', () => {
  const clientOn = (socket: Socket, framer: ConstructorParameters<typeof StreamTransport>[0]['framer']) => {
    const { readable, writable } = Duplex.toWeb(socket);
    const transport = StreamTransport.fromStreams(
      readable as ReadableStream<Uint8Array>,
      writable as WritableStream<Uint8Array>,
      framer,
    );
    const client = new OpenRpcClient(new RequestManager([transport]));
    return Object.assign(client, { [Symbol.dispose]: () => client.close() });
  };

  it('calls, errors, a notification, a batch, events', async () => {
    using socket = await open();
    using client = clientOn(socket, new NewlineDelimitedMessageFramer());
    // Without params it sends an empty array.
    expect(await client.request({ method: 'daemon.info' })).toMatchObject({ home: box.home });
    await expect(client.request({ method: 'stop', params: { name: 'nobody' } })).rejects.toMatchObject({
      code: -32001,
    });
    await client.notify({ method: 'enable', params: { name: 'a' } });
    await eventually(isEnabled);
    client.startBatch();
    const both = [client.request({ method: 'history', params: { name: 'a' } }), client.request({ method: 'status' })];
    client.stopBatch();
    expect(await Promise.all(both)).toMatchObject([{ runs: [] }, { next: null }]);
    const events: unknown[] = [];
    client.onNotification((event) => events.push(event.params));
    await client.request({ method: 'watch', params: { names: ['a'] } });
    await client.request({ method: 'disable', params: { name: 'a' } });
    await eventually(() => events.length === 2);
    expect(events).toMatchObject([{ type: 'snapshot' }, { type: 'phase', worker: { enabled: false } }]);
  });

  it('rpc.discover gives it the document, by which what it then asks and hears is right', async () => {
    using socket = await open();
    using client = clientOn(socket, new NewlineDelimitedMessageFramer());
    const document = (await client.request({ method: 'rpc.discover', params: {} })) as OpenRpcDocument;
    expect(document.openrpc).toMatch(/^1\.3\./);
    const check = documentValidator(document);
    for (const [method, params] of [
      ['daemon.info', {}],
      ['status', { names: ['a'] }],
      ['rpc.discover', {}],
    ] as const) {
      expect(check.params(method, params)).toEqual([]);
      expect(check.result(method, await client.request({ method, params }))).toEqual([]);
    }
  });

  it('framed as LSP is it fails, without hurting the daemon', async () => {
    using socket = await open();
    using client = clientOn(socket, new ContentLengthMessageFramer());
    await expect(client.request({ method: 'define', params: { name: 'lsp', spec } }, 500)).rejects.toThrow();
    await daemonIsWell();
    expect((await (await box.client()).call('status', { names: ['lsp*'] })).workers).toEqual([]);
  });
});

describe('vscode-jsonrpc', () => {
  class LineReader extends AbstractMessageReader {
    readonly #socket: Socket;
    constructor(socket: Socket) {
      super();
      this.#socket = socket;
    }
    listen(callback: DataCallback) {
      const lines = createInterface({ input: this.#socket }).on('line', (line) =>
        callback(JSON.parse(line) as Message),
      );
      this.#socket.on('close', () => this.fireClose());
      return { dispose: () => lines.close() };
    }
  }
  class LineWriter extends AbstractMessageWriter {
    readonly #socket: Socket;
    constructor(socket: Socket) {
      super();
      this.#socket = socket;
    }
    async write(message: Message) {
      this.#socket.write(`${JSON.stringify(message)}\n`);
    }
    end() {
      this.#socket.end();
    }
  }

  it('with a reader and a writer of lines: calls, errors, a notification, events', async () => {
    using socket = await open();
    const connection = createMessageConnection(new LineReader(socket), new LineWriter(socket));
    const events: unknown[] = [];
    connection.onNotification('event', (event: unknown) => {
      events.push(event);
    });
    connection.listen();
    expect(await connection.sendRequest('daemon.info', {})).toMatchObject({ home: box.home });
    const refused = connection.sendRequest('stop', { name: 'nobody' });
    await expect(refused).rejects.toBeInstanceOf(ResponseError);
    await expect(refused).rejects.toMatchObject({ code: -32001, data: { code: 'worker.not-found' } });
    await connection.sendRequest('watch', { names: ['a'] });
    await connection.sendNotification('enable', { name: 'a' });
    await eventually(() => events.length === 2);
    await connection.sendNotification('disable', { name: 'a' });
    await eventually(() => events.length === 3);
    // It says that there are no params in its own way.
    expect(await connection.sendRequest('status')).toMatchObject({ next: null });
    connection.dispose();
  });

  it('as it comes, framed as LSP is, it fails, without hurting the daemon', async () => {
    using socket = await open();
    const connection = createMessageConnection(new StreamMessageReader(socket), new StreamMessageWriter(socket));
    let heard = '';
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('utf8');
    });
    connection.onError(() => {});
    connection.listen();
    const asked = connection.sendRequest('define', { name: 'vscode', spec });
    asked.catch(() => {});
    await eventually(() => heard.includes('-32700'));
    connection.dispose();
    socket.end();
    await expect(asked).rejects.toThrow();
    await daemonIsWell();
    expect((await (await box.client()).call('status', { names: ['vscode*'] })).workers).toEqual([]);
  });
});

it('json-rpc-2.0: its own client, in three lines', async () => {
  using socket = await open();
  const client: JSONRPCClient = new JSONRPCClient((request) => void socket.write(`${JSON.stringify(request)}\n`));
  createInterface({ input: socket }).on('line', (line) => client.receive(JSON.parse(line)));
  expect(await client.request('daemon.info', {})).toMatchObject({ home: box.home });
  await expect(client.request('stop', { name: 'nobody' })).rejects.toMatchObject({ code: -32001 });
});

const line = '{"jsonrpc":"2.0","method":"daemon.info","id":1}';
const expected = { jsonrpc: '2.0', id: 1, result: { home: expect.any(String) } };

describe('programs', () => {
  it.skipIf(!has('python3'))(`Python, standard library only${unless('python3')}`, async () => {
    const script = [
      'import json, socket, sys',
      's = socket.socket(socket.AF_UNIX)',
      's.connect(sys.argv[1])',
      'f = s.makefile("rw", encoding="utf-8", newline="\\n")',
      'for id in (1, "ü", None):',
      '    f.write(json.dumps({"jsonrpc": "2.0", "id": id, "method": "daemon.info"}) + "\\n")',
      '    f.flush()',
      '    answer = json.loads(f.readline())',
      '    assert answer["id"] == id and answer["result"]["home"], answer',
      's.shutdown(socket.SHUT_WR)',
      'assert f.readline() == "", "not closed"',
      'print("well")',
    ].join('\n');
    expect((await exec('python3', ['-c', script, box.socket], { timeout: 20_000 })).stdout).toBe('well\n');
  });

  for (const [program, command] of [
    ['socat', `printf '%s\\n' '${line}' | socat -t 5 - "UNIX-CONNECT:$S"`],
    // Of the programs of this name only OpenBSD's knows Unix sockets.
    ['nc', `printf '%s\\n' '${line}' | nc -N -U "$S"`],
  ] as const) {
    const able =
      has(program) && (program !== 'nc' || spawnSync('sh', ['-c', 'nc -h 2>&1 | grep -q -e -U']).status === 0);
    it.skipIf(!able)(`${program}: half-close, answered, closed${unless(program)}`, async () => {
      const { stdout } = await exec('sh', ['-c', command], { env: { ...process.env, S: box.socket }, timeout: 20_000 });
      expect(stdout.split('\n')).toHaveLength(2);
      expect(JSON.parse(stdout)).toMatchObject(expected);
    });
  }

  it.skipIf(!has('curl'))(
    `curl --unix-socket: a clean close (52), the body not carried out${unless('curl')}`,
    async () => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'define', params: { name: 'curl', spec } });
      const asked = exec('curl', ['-sS', '--unix-socket', box.socket, '-d', `${body}\n`, 'http://localhost/'], {
        timeout: 20_000,
      });
      await expect(asked).rejects.toMatchObject({ code: 52 });
      await daemonIsWell();
      expect((await (await box.client()).call('status', { names: ['curl*'] })).workers).toEqual([]);
    },
  );
});
