/**
 * Round trips a second over one connection, one after the other and pipelined, with schema validation on; beside a bare
 * server that parses a line and answers it. The same client for both: it parses the answers and gives each to who asked.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Bed } from './bed.ts';
import { alternate, type Case, report } from './measure.ts';
import { Program } from './program.ts';

const sequential = 2000;
const pipelined = 20_000;
const inOneWrite = 500;

const open = async (path: string): Promise<Socket> => {
  const socket = connect({ path });
  await once(socket, 'connect');
  return socket;
};

/** No more of a client than it takes: ids, and who waits for which. */
class Asker {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: unknown) => void>();
  #next = 0;
  #rest = '';
  #outbox = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) {
        const answer = JSON.parse(line) as { id: number };
        this.#waiting.get(answer.id)?.(answer);
        this.#waiting.delete(answer.id);
      }
    });
  }

  ask(method: string, params: object): Promise<unknown> {
    const id = this.#next;
    this.#next += 1;
    this.#outbox += `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  flush(): void {
    this.#socket.write(this.#outbox);
    this.#outbox = '';
  }
}

/** Asks `total` times, `window` at once; thousands of answers a second. */
const roundTrips = (asker: Asker, method: string, params: object, total: number, window: number): Case => {
  return async () => {
    const began = performance.now();
    for (let done = 0; done < total; done += window) {
      const answers = Array.from({ length: window }, () => asker.ask(method, params));
      asker.flush();
      await Promise.all(answers);
    }
    return total / (performance.now() - began);
  };
};

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  await bed.startMany(1);
  const barePath = join(bed.directory, 'echo.sock');
  await using server = Program.start('echo-server', [barePath]);
  await server.said();
  const bare = await open(barePath);
  const own = await open(join(bed.home, 'workerd.sock'));
  const [bareAsker, ownAsker] = [new Asker(bare), new Asker(own)];
  const hello = { client: 'bench', protocol: 1 };
  for (const [title, total, window, goal] of [
    ['one after the other', sequential, 1, '≥ 0.9'],
    [`pipelined, ${inOneWrite} in one write`, pipelined, inOneWrite, '≥ 0.7'],
  ] as const) {
    const results = await alternate(rounds, {
      'bare echo': roundTrips(bareAsker, 'hello', hello, total, window),
      'workerd: hello': roundTrips(ownAsker, 'hello', hello, total, window),
      'workerd: status': roundTrips(ownAsker, 'status', { names: ['many-0'] }, total / 4, Math.ceil(window / 4)),
    });
    report(`thousands of round trips a second, ${title}`, results, { 'workerd: hello': goal });
  }
  bare.destroy();
  own.destroy();
};
