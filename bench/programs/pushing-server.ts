/**
 * A bare counterpart of the daemon: pushes a line to every connection. `own`: it makes the line itself; `relay`: it
 * takes a worker's lines from descriptor 4 and wraps each as the daemon does, a write for every event and connection;
 * `coalesce`: those of one read leave in one write.
 *
 *   node pushing-server.ts SOCKET own|relay|coalesce      (a parent says `{pace: [COUNT, MS]}` to `own`)
 */
import { createServer, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { microseconds } from './clock.ts';

const [path = '', mode = 'own'] = process.argv.slice(2);
const connections = new Set<Socket>();
const pad = 'x'.repeat(100);
let count = 0;

const wrapped = (state: unknown): string => {
  count += 1;
  const params = {
    subscription: 's1',
    cursor: `0badcafe-${count}`,
    at: new Date().toISOString(),
    type: 'state',
    name: 'publisher-0',
    generation: 1,
    state,
    stateRevision: count,
  };
  return `${JSON.stringify({ jsonrpc: '2.0', method: 'event', params })}\n`;
};
const push = (text: string) => {
  const bytes = Buffer.from(text);
  for (const connection of connections) if (!connection.writableNeedDrain) connection.write(bytes);
};

createServer((connection) => {
  connections.add(connection);
  connection.on('error', () => {});
  connection.on('close', () => connections.delete(connection));
  connection.resume();
}).listen({ path, backlog: 4096 }, () => process.send?.('ready'));

if (mode === 'own') {
  process.on('message', ({ pace: [events, everyMs] }: { pace: [number, number] }) => {
    void (async () => {
      for (let done = 0; done < events; done += 1) {
        await sleep(everyMs);
        push(wrapped({ t: Math.round(microseconds()), pad }));
      }
    })();
  });
} else {
  let rest = '';
  const up = new Socket({ fd: 4, readable: true, writable: false });
  up.setEncoding('utf8');
  up.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    const events = lines.map((line) => wrapped((JSON.parse(line) as { state: unknown }).state));
    if (mode === 'coalesce') push(events.join(''));
    else for (const event of events) push(event);
  });
}
process.on('disconnect', () => process.exit(0));
