/** K09, A10, D08: rubbish on the shim's socket, and signals that it has no use for: it lives, and its workers are unhurt. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { Chance, seedFromEnvironment } from '../../soak/chance.ts';

const seed = seedFromEnvironment();
const kinds = ['command', 'process', 'thread'] as const;

const begin = async (box: CrashBox) => {
  const client = await box.client();
  for (const kind of kinds) await client.call('start', { name: kind, spec: part(kind, 'counts') });
  return client;
};
const goOn = async (box: CrashBox) => {
  for (const name of kinds) {
    const { stateRevision } = await box.status(name);
    await eventually(async () => (await box.status(name)).stateRevision > stateRevision, { what: `${name} goes on` });
  }
};
const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

/** What a stranger may send: bytes, halves of messages, foreign protocols, our own words without the token. */
const rubbish = (chance: Chance, token: string): readonly Buffer[] => {
  const bytes = Buffer.from(Array.from({ length: chance.between(1, 5000) }, () => chance.between(0, 255)));
  const line = (message: unknown) => Buffer.from(`${JSON.stringify(message)}\n`);
  const ask = (method: string, params: unknown) => line({ jsonrpc: '2.0', id: 1, method, params });
  const orders = ['list', 'shutdown', 'facts', 'ack', 'release', 'spawn', 'adopt', 'conclude', 'kept'];
  const wrong = `${token.startsWith('0') ? '1' : '0'}${token.slice(1)}`;
  return chance.pick([
    [bytes],
    [Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"hello",`), bytes],
    [ask('hello', { protocol: 1, token: wrong }), ask('shutdown', {})],
    [ask(chance.pick(orders), { run: 'command.1.x', upTo: 9e15, after: 0, exit: { kind: 'code', code: 0 } })],
    [Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
    [Buffer.from('['.repeat(chance.between(1, 100_000)))],
    [ask('hello', { protocol: 99, token })],
    [Buffer.alloc(chance.between(1, 3 * 1024 * 1024), '{')],
    [ask('hello', null), bytes],
  ]);
};

test(`K09: 300 connections with rubbish (seed ${seed}): each is cut, the shim lives, workers are unhurt`, async () => {
  await using box = new CrashBox();
  await box.daemon();
  await begin(box);
  const chance = new Chance(seed);
  const token = readFileSync(join(box.home, 'shim.token'), 'utf8').trim();
  const shim = box.shimPid;
  const before = { descriptors: descriptorsOf(shim), all: await Promise.all(kinds.map((name) => box.status(name))) };
  const one = (pieces: readonly Buffer[]) =>
    new Promise<void>((resolve) => {
      const socket = createConnection(join(box.home, 'shim.sock'));
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.resume();
      for (const piece of pieces) socket.write(piece);
      socket.end();
    });
  for (let round = 0; round < 30; round += 1) {
    await Promise.all(Array.from({ length: 10 }, () => one(rubbish(chance, token))));
  }
  expect(box.shimPid).toBe(shim);
  await eventually(() => descriptorsOf(shim) <= before.descriptors, { what: 'its descriptors are back' });
  for (const { name, pid, generation } of before.all) {
    expect(await box.status(name), name).toMatchObject({ phase: 'running', pid, generation });
  }
  await goOn(box);
  expect(box.said()).not.toContain('the shim is gone');
}, 120_000);

test('K09: whoever says nothing, or not who it is, is cut', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const silent = createConnection(join(box.home, 'shim.sock'));
  const nameless = createConnection(join(box.home, 'shim.sock'));
  const cut = [silent, nameless].map((socket) => new Promise<void>((resolve) => socket.on('close', () => resolve())));
  for (const socket of [silent, nameless]) socket.on('error', () => {}).resume();
  nameless.write('{"jsonrpc":"2.0","id":1,"method":"list","params":{}}\n');
  await Promise.all(cut);
}, 60_000);

test('A10: the socket of the shim and its FIFOs are private', async () => {
  await using box = new CrashBox();
  await box.daemon();
  await begin(box);
  const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);
  expect([modeOf(join(box.home, 'shim.sock')), modeOf(join(box.home, 'shim.token'))]).toEqual(['600', '600']);
  for (const run of readdirSync(join(box.home, 'run'))) {
    expect(modeOf(join(box.home, 'run', run)), run).toBe('700');
    for (const fifo of readdirSync(join(box.home, 'run', run))) {
      const path = join(box.home, 'run', run, fifo);
      expect([statSync(path).isFIFO(), modeOf(path)], path).toEqual([true, '600']);
    }
  }
});

test('D08: signals that mean nothing to the shim and the daemon leave both alive, and open no port', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  await begin(box);
  const shim = box.shimPid;
  const ports = (pid: number) => {
    const sockets = new Set(
      [
        ...readFileSync(`/proc/${pid}/net/tcp`, 'latin1').split('\n'),
        ...readFileSync(`/proc/${pid}/net/tcp6`, 'latin1').split('\n'),
      ]
        .filter((line) => / 0A /.test(line))
        .map((line) => line.trim().split(/\s+/)[9]),
    );
    return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
      try {
        const link = statSync(`/proc/${pid}/fd/${fd}`);
        return link.isSocket() && sockets.has(String(link.ino));
      } catch {
        return false;
      }
    });
  };
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGWINCH', 'SIGTSTP', 'SIGCONT'] as const) {
    for (const pid of [shim, daemon.pid]) process.kill(pid, signal);
    await goOn(box);
    expect([ports(shim), ports(daemon.pid)], signal).toEqual([[], []]);
  }
  process.kill(shim, 'SIGHUP');
  await goOn(box);
  // To the daemon it says: be replaced. Its pid stays.
  process.kill(daemon.pid, 'SIGHUP');
  await eventually(() => box.said().split('"ready"').length > 2, { what: 'it is replaced', withinMs: 20_000 });
  await goOn(box);
  expect([box.shimPid, daemon.child.exitCode, daemon.child.signalCode]).toEqual([shim, null, null]);
  for (const name of kinds) expect(await box.status(name), name).toMatchObject({ phase: 'running', generation: 1 });
}, 60_000);
