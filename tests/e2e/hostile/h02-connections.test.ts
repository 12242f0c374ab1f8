/**
 * H02, C04, C05: connections that drip, stop half-way, never read, come in thousands, break off, or send what no frame
 * may hold. One daemon for all of it, a canary beside each: at the end it holds what it held at the start.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '../../../src/shared/client.ts';
import { limits } from '../../../src/shared/limits.ts';
import { shell } from '../../fixtures/workers/behaviours.ts';
import { Canary, ping } from '../../helpers/canary.ts';
import { eventually } from '../../helpers/eventually.ts';
import { type Answer, RawClient } from '../../helpers/fake-server.ts';
import { Sandbox } from '../../helpers/sandbox.ts';
import { descriptorsAreBack, descriptorsOf, noFaults, peakBytes, residentBytes } from '../../helpers/vitals.ts';

const MiB = 1024 * 1024;
/** Whatever somebody else sends, another is answered within a second. */
const heavyMs = 1000;
/** Everything here together: what one connection may hold, several times, and what V8 leaves lying about. */
const mostGrowth = 768 * MiB;

let box: Sandbox;
let daemon: number;
let client: Client;
let descriptors: number;
let resident: number;
const sockets: Socket[] = [];

beforeAll(async () => {
  box = new Sandbox();
  daemon = await box.startDaemon();
  client = await box.client();
  // 60 KiB of state each: an answer worth asking for.
  for (const name of ['w', ...Array.from({ length: 9 }, (_, index) => `w${index}`)]) {
    await client.call('start', { name, spec: shell('exec sleep 1000') });
    await client.call('publish', { name, state: { text: 'x'.repeat(60_000) } });
  }
  descriptors = descriptorsOf(daemon);
  resident = residentBytes(daemon);
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});
afterAll(async () => {
  try {
    await descriptorsAreBack(daemon, descriptors);
    expect(peakBytes(daemon) - resident).toBeLessThan(mostGrowth);
    noFaults(box.home);
  } finally {
    await box[Symbol.asyncDispose]();
  }
});

const open = (): Socket => {
  const socket = connect({ path: box.socket, allowHalfOpen: true });
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
};
const opened = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('connect', () => resolve()));
const line = (method: string, params: object = {}, id: number | string = 1) =>
  `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
const closed = (socket: Socket): Promise<void> =>
  socket.destroyed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()));

describe('frames that are none', () => {
  it('a line of 64 MiB, with and without an end: never carried out, the connection closed', async () => {
    const canary = new Canary(box.socket);
    for (const end of ['"},"id":1}\n', '']) {
      const client = new RawClient(box.socket);
      sockets.push(client.socket);
      client.send('{"jsonrpc":"2.0","method":"enable","params":{"name":"w","x":"');
      for (let sent = 0; sent < 64 && !client.ended; sent += 1) {
        client.send(Buffer.alloc(MiB, 0x78));
        await sleep(0);
      }
      client.send(end);
      await client.untilEnded();
      for (const answer of client.answers()) expect(answer).toMatchObject({ error: { code: -32600 } });
    }
    await canary.unhurt(heavyMs);
    expect(await box.status('w')).toMatchObject({ enabled: false });
  });

  it('nesting of 500,000 levels, invalid UTF-8, mutated requests: an error each, the connection goes on', async () => {
    const canary = new Canary(box.socket);
    const client = new RawClient(box.socket);
    sockets.push(client.socket);
    const deep = 500_000;
    client.send(`${'['.repeat(deep)}\n`);
    client.send(`${'['.repeat(deep)}${']'.repeat(deep)}\n`);
    client.send(
      `{"jsonrpc":"2.0","id":1,"method":"status","params":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}\n`,
    );
    client.send(
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0xc0, 0x80, 0xed, 0xa0]), Buffer.from('"}\n')]),
    );
    client.send(line('daemon.info', {}, 'after'));
    const answers = (await client.received(5)) as readonly Answer[];
    expect(answers.map(({ error }) => error?.code ?? 'result')).toEqual([-32700, -32700, -32700, -32700, 'result']);
    await canary.unhurt(heavyMs);
  });

  it('a flood of empty lines holds nobody up', async () => {
    const canary = new Canary(box.socket);
    await canary.heard(1);
    const flood = [open(), open()];
    for (const socket of flood) {
      socket.write(Buffer.alloc(4 * MiB, 0x0a));
      socket.write(line('daemon.info'));
    }
    await Promise.all(flood.map((socket) => new Promise((resolve) => socket.once('data', resolve))));
    await canary.heard();
    await canary.unhurt(heavyMs);
  });
});

describe('C04: lines that are begun and not ended', () => {
  it('100 half-written frames, some of which drip: all are cut off 10 s after they began, and told why', async () => {
    const canary = new Canary(box.socket);
    const clients = Array.from({ length: 100 }, () => new RawClient(box.socket));
    const began = performance.now();
    for (const each of clients) {
      sockets.push(each.socket);
      each.send('{"jsonrpc":"2.0",');
    }
    // These do not even read what they are told, or what they asked for before: they are gone 5 s later.
    const deaf = Array.from({ length: 20 }, open);
    for (const socket of deaf) {
      socket.pause();
      socket.write(`${line('status')}{"jsonrpc":`);
    }
    const drip = setInterval(() => {
      for (const each of clients.slice(0, 20)) if (!each.ended) each.send(' ');
    }, 200);
    try {
      await eventually(() => clients.every(({ ended }) => ended), { withinMs: 50_000, what: 'all are cut off' });
    } finally {
      clearInterval(drip);
    }
    expect(performance.now() - began).toBeGreaterThan(limits.unfinishedFrameMs - 1000);
    for (const each of clients) {
      expect(each.answers()).toMatchObject([
        { id: null, error: { code: -32600, message: expect.stringContaining('begun and not ended') } },
      ]);
      each.socket.destroy();
    }
    await canary.unhurt(200);
    await descriptorsAreBack(daemon, descriptors, 25_000);
  });

  it('200 of them with nearly 1 MiB each: those that hold most for longest go first, and hear why', async () => {
    const canary = new Canary(box.socket);
    const before = residentBytes(daemon);
    const clients = Array.from({ length: 200 }, () => new RawClient(box.socket));
    for (const client of clients) {
      sockets.push(client.socket);
      client.send(Buffer.alloc(MiB - 1000, 0x20));
    }
    const cut = await eventually(
      () => {
        const ended = clients.filter(({ ended: gone }) => gone);
        return ended.length >= 72 ? ended : null;
      },
      { withinMs: 30_000, what: 'what is over the budget is cut off' },
    );
    // Where one was still writing, the words may be lost with the connection.
    const told = cut.filter((each) => each.lines().length > 0);
    expect(told.length).toBeGreaterThan(0);
    for (const each of told) {
      expect(each.answers()).toMatchObject([{ error: { code: -32010, data: { code: 'limit.exceeded' } } }]);
    }
    // 128 MiB may be held; without that bound it were 200.
    expect(clients.filter(({ ended }) => !ended).length).toBeLessThanOrEqual(128);
    expect(residentBytes(daemon) - before).toBeLessThan(300 * MiB);
    await canary.unhurt(heavyMs);
  });
});

describe('far ends that do not read', () => {
  it('40 of them ask for large answers in hundreds, and in batches: no more is made than they fetch', async () => {
    const canary = new Canary(box.socket);
    const before = residentBytes(daemon);
    const clients = Array.from({ length: 40 }, open);
    await Promise.all(clients.map(opened));
    const asked = line('status', {}, 'x').repeat(300);
    const batch = `[${Array.from({ length: 100 }, () => line('status').trim()).join(',')}]\n`;
    for (const [index, socket] of clients.entries()) {
      socket.pause();
      socket.write(index % 2 === 0 ? asked : batch.repeat(10));
    }
    await canary.heard(10);
    expect(residentBytes(daemon) - before).toBeLessThan(300 * MiB);
    // Some 30,000 statuses are made meanwhile, and other tests have the cores: a ping has waited for 5.7 s.
    await canary.unhurt(3 * heavyMs);
  });

  it('a batch is answered in one frame, however long its answers are together', async () => {
    const client = new RawClient(box.socket);
    sockets.push(client.socket);
    client.send(`[${Array.from({ length: 100 }, (_, id) => line('status', {}, id).trim()).join(',')}]\n`);
    const [answers] = (await client.received(1)) as readonly (readonly Answer[])[];
    expect(Buffer.byteLength(client.lines()[0] ?? '')).toBeLessThanOrEqual(limits.maxFrameBytes);
    expect(answers?.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, id) => id));
    const results = answers?.filter(({ result }) => result !== undefined).length ?? 0;
    expect(results).toBe(1);
    for (const { error } of answers?.slice(results) ?? []) expect(error?.data?.code).toBe('limit.exceeded');
  });

  it('1,024 requests that wait are answered at once with 60 KB each, to one that does not read', async () => {
    await client.call('start', { name: 'awaited', spec: shell('sleep 1000') });
    await client.call('publish', { name: 'awaited', state: { text: 'y'.repeat(60_000) } });
    const canary = new Canary(box.socket);
    const before = residentBytes(daemon);
    const waiting = Array.from({ length: 4 }, open);
    await Promise.all(waiting.map(opened));
    for (const socket of waiting) {
      socket.pause();
      socket.write(
        Array.from({ length: 1024 }, (_, id) => line('wait', { name: 'awaited', for: 'exit' }, id)).join(''),
      );
    }
    await canary.heard(5);
    await client.call('stop', { name: 'awaited', force: true });
    await canary.heard(5);
    expect(residentBytes(daemon) - before).toBeLessThan(100 * MiB);
    // Whoever reads after all gets every answer.
    let lines = 0;
    waiting[0]?.on('data', (chunk: Buffer) => {
      for (const byte of chunk) if (byte === 0x0a) lines += 1;
    });
    waiting[0]?.resume();
    await eventually(() => lines === 1024, { withinMs: 30_000, what: 'all answers' });
    await client.call('remove', { name: 'awaited' });
    await canary.unhurt(heavyMs);
  });
});

describe('C05: many connections', () => {
  it('1,000 at once are all served', async () => {
    const clients = Array.from({ length: 1000 }, () => new RawClient(box.socket));
    for (const client of clients) {
      sockets.push(client.socket);
      client.send(line('daemon.info'));
    }
    await eventually(() => clients.every((client) => client.lines().length === 1), { withinMs: 30_000 });
    for (const client of clients) expect(client.answers()).toMatchObject([{ id: 1, result: { home: box.home } }]);
    for (const { socket } of clients) socket.destroy();
    await descriptorsAreBack(daemon, descriptors);
  });

  it('beyond 1,024 each is told so, in words that the CLI passes on; those that are there are served on', async () => {
    const clients = Array.from({ length: limits.maxConnections - 1 }, () => new RawClient(box.socket));
    sockets.push(...clients.map(({ socket }) => socket));
    // The client of the sandbox is the one that is missing.
    await eventually(() => descriptorsOf(daemon) >= descriptors + clients.length, { withinMs: 30_000 });
    for (let tried = 0; tried < 10; tried += 1) {
      const extra = new RawClient(box.socket);
      sockets.push(extra.socket);
      await extra.untilEnded();
      expect(extra.answers()).toMatchObject([
        {
          jsonrpc: '2.0',
          id: null,
          error: { code: -32010, message: expect.stringContaining('at most 1024 connections'), data: { retry: true } },
        },
      ]);
    }
    const refused = await box.workerctl(['status']);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain('at most 1024 connections');
    expect(refused.stderr.trim().split('\n')).toHaveLength(1);
    clients[0]?.send(line('daemon.info'));
    expect(await clients[0]?.received(1)).toMatchObject([{ result: { home: box.home } }]);
    for (const client of clients) expect(client.ended).toBe(false);
    for (const { socket } of clients) socket.destroy();
    await descriptorsAreBack(daemon, descriptors);
    expect((await box.workerctl(['status'])).code).toBe(0);
  });

  it('5,000 connect and leave, with and without a word, and by reset', async () => {
    const canary = new Canary(box.socket);
    const leave = async (number: number) => {
      const socket = connect({ path: box.socket, allowHalfOpen: true });
      socket.on('error', () => {});
      await opened(socket);
      if (number % 3 === 0) socket.write(line('status'));
      // What it has not read makes the kernel reset the connection.
      if (number % 2 === 0) socket.destroy();
      else socket.end();
      socket.resume();
      await closed(socket);
    };
    for (let number = 0; number < 5000; number += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => leave(number + index)));
    }
    await canary.unhurt(heavyMs);
    await descriptorsAreBack(daemon, descriptors);
  });
});

it('H02: subscriptions of clients that leave at once are gone with them, and foreign ones are not ended', async () => {
  const watcher = new RawClient(box.socket);
  sockets.push(watcher.socket);
  watcher.send(line('watch', { names: ['w'] }, 'mine'));
  const [answer] = (await watcher.received(1)) as readonly Answer[];
  const { subscription } = answer?.result as { subscription: string };
  const number = Number(subscription.slice(1));
  const other = new RawClient(box.socket);
  sockets.push(other.socket);
  other.send(line('unwatch', { subscription }));
  expect(await other.received(1)).toMatchObject([{ result: { removed: false } }]);
  // Asked and left in one breath; a change under way makes the daemon look for the client only later.
  for (let round = 0; round < 300; round += 1) {
    const socket = open();
    socket.resume();
    socket.end(line('enable', { name: 'w' }) + line('disable', { name: 'w' }) + line('watch', {}, 'left'));
    await closed(socket);
  }
  // 4,096 in all: were those kept, 64 connections with 60 each would not all be served.
  const full = Array.from({ length: 64 }, () => new RawClient(box.socket));
  for (const each of full) {
    sockets.push(each.socket);
    each.send(line('watch', { names: ['nothing-*'] }).repeat(60));
  }
  await eventually(() => full.every((each) => each.lines().length === 60), { withinMs: 30_000 });
  const answers = full.flatMap((each) => each.answers()) as readonly Answer[];
  expect(answers.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(number).toBeGreaterThan(0);
  const beyond = Array.from({ length: 5 }, () => new RawClient(box.socket));
  for (const each of beyond) {
    sockets.push(each.socket);
    each.send(line('watch', { names: ['nothing-*'] }).repeat(64));
  }
  await eventually(() => beyond.every((each) => each.lines().length === 64), { withinMs: 30_000 });
  const refused = (beyond.flatMap((each) => each.answers()) as readonly Answer[]).filter(
    ({ error }) => error !== undefined,
  );
  expect(refused.length).toBeGreaterThan(0);
  for (const { error } of refused)
    expect(error?.data).toMatchObject({ code: 'limit.exceeded', limit: 'maxSubscriptionsInAll' });
  // The one that somebody else tried to end still hears.
  await client.call('enable', { name: 'w' });
  await eventually(() => watcher.lines().some((text) => text.includes('"enabled":true')));
  await client.call('disable', { name: 'w' });
  expect(await ping(box.socket)).toBeLessThan(5000);
});
