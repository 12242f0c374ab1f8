/**
 * Many connections of one process, which count the events they get and how old each is. The same for our daemon and for
 * bare servers, so it looks at bytes only: an event is a line, `"t":` in it says when it was published.
 */
import { connect, type Socket } from 'node:net';
import { microseconds } from './clock.ts';

export interface Report {
  readonly deliveries: number;
  /** Over all deliveries, in microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Between the first and the last delivery. */
  readonly seconds: number;
}
export type Order =
  | { readonly kind: 'connect'; readonly path: string; readonly count: number; readonly greeting: string | null }
  | { readonly kind: 'reset'; readonly ages: boolean }
  | { readonly kind: 'report' };

const mark = Buffer.from('"t":');
let ages: number[] = [];
let keepAges = true;
let deliveries = 0;
let [first, last] = [0, 0];

const received = (chunk: Buffer) => {
  last = microseconds();
  if (first === 0) first = last;
  if (keepAges) {
    for (let at = chunk.indexOf(mark); at !== -1; at = chunk.indexOf(mark, at + 1)) {
      deliveries += 1;
      ages.push(last - Number.parseInt(chunk.toString('latin1', at + 4, at + 24), 10));
    }
  } else for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, end + 1)) deliveries += 1;
};

const open = (path: string, greeting: string | null): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      if (greeting === null) {
        socket.on('data', received);
        resolve(socket);
        return;
      }
      socket.write(greeting);
      socket.once('data', () => {
        socket.on('data', received);
        resolve(socket);
      });
    });
  });

process.on('message', (order: Order) => {
  switch (order.kind) {
    case 'connect':
      void Promise.all(Array.from({ length: order.count }, () => open(order.path, order.greeting))).then(() =>
        process.send?.('connected'),
      );
      return;
    case 'reset':
      ages = [];
      keepAges = order.ages;
      deliveries = 0;
      first = 0;
      process.send?.('reset');
      return;
    case 'report': {
      const sorted = Float64Array.from(ages).sort();
      const at = (share: number) =>
        sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
      process.send?.({ deliveries, p50: at(0.5), p99: at(0.99), seconds: (last - first) / 1e6 } satisfies Report);
      return;
    }
    default:
      order satisfies never;
  }
});
process.on('disconnect', () => process.exit(0));
