/** A Peer behind a real Unix socket with methods of a test's own, and clients that send bytes as they are told. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Gate, type GateOptions } from '../../src/shared/gate.ts';
import { Peer } from '../../src/shared/peer.ts';
import { eventually } from './eventually.ts';

export interface Answer {
  readonly jsonrpc: string;
  readonly id: unknown;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: { readonly code?: string } };
}

/** Sends raw bytes, keeps the lines that come back. */
export class RawClient {
  readonly socket: Socket;
  readonly #received: Buffer[] = [];
  /** The far end sent FIN, or the connection broke. */
  ended = false;

  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', (chunk: Buffer) => this.#received.push(chunk));
    this.socket.on('error', () => {
      this.ended = true;
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('close', () => {
      this.ended = true;
    });
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  ask(...requests: readonly object[]): void {
    this.send(requests.map((request) => `${JSON.stringify(request)}\n`).join(''));
  }

  /** Whole lines so far. */
  lines(): readonly string[] {
    return Buffer.concat(this.#received).toString('utf8').split('\n').slice(0, -1);
  }

  /** All of them parsed; a batch's answer is an array. */
  answers(): readonly unknown[] {
    return this.lines().map((line) => JSON.parse(line) as unknown);
  }

  async received(count: number): Promise<readonly unknown[]> {
    return eventually(() => (this.lines().length >= count ? this.answers() : null), { what: `${count} answers` });
  }

  /** What comes back for one message; a call after it shows that nothing else did. */
  async reply(line: string | Uint8Array): Promise<readonly unknown[]> {
    const before = this.lines().length;
    this.send(line);
    this.send(`\n${this.fence()}\n`);
    const isFence = (answer: unknown) => (answer as Answer).id === 'fence';
    const answers = await eventually(() => {
      const all = this.answers().slice(before);
      return all.some(isFence) ? all : null;
    });
    return answers.filter((answer) => !isFence(answer));
  }

  /** A request with the id `fence`, answered after all that was sent before it. */
  fence(): string {
    return '{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":"fence"}';
  }

  async one(line: string | Uint8Array): Promise<Answer> {
    const answers = await this.reply(line);
    if (answers.length !== 1) throw new Error(`one answer was wanted: ${JSON.stringify(answers)}`);
    return answers[0] as Answer;
  }

  async untilEnded(): Promise<void> {
    await eventually(() => this.ended, { what: 'the connection has ended' });
  }
}

export class FakeServer {
  readonly peers: Peer<null>[] = [];
  readonly whys: string[] = [];
  readonly faults: unknown[] = [];
  readonly #directory = mkdtempSync(join(tmpdir(), 'wd-gate-'));
  readonly #server: Server;
  readonly #clients: RawClient[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(options: Pick<GateOptions<null>, 'methods' | 'isHeld'>) {
    const onFault = (_method: string, error: unknown) => {
      this.faults.push(error);
      return 'log-1';
    };
    const gate = new Gate<null>({ ...options, onFault });
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      this.peers.push(new Peer<null>({ socket, gate, session: null, onClose: (why) => this.whys.push(why) }));
    });
  }

  get path(): string {
    return join(this.#directory, 's');
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(this.path, resolve);
    });
    return this;
  }

  client(): RawClient {
    const client = new RawClient(this.path);
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** The methods of the specification's examples. */
export const specMethods = {
  subtract: (params: unknown) => {
    if (Array.isArray(params)) return Number(params[0]) - Number(params[1]);
    const { minuend, subtrahend } = params as { minuend: number; subtrahend: number };
    return minuend - subtrahend;
  },
  sum: (params: unknown) => (Array.isArray(params) ? params.reduce((sum: number, each) => sum + Number(each), 0) : 0),
  update: () => null,
  notify_hello: () => null,
  get_data: () => ['hello', 5],
  echo: (params: unknown) => params ?? null,
};
