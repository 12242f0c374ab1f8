/** A shim is killed, and another takes over what it had spawned: what was on its way between them is not lost or done twice. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SpawnParams } from '../../src/daemon/shim/protocol.ts';
import { type Connection, eventually, ShimHome } from './helper.ts';

let home: ShimHome;
let daemon: Connection;
beforeEach(async () => {
  home = new ShimHome();
  await home.start();
  daemon = await home.daemon();
});
afterEach(() => home.remove());

const identityOf = async (run: string) => {
  const { pid, startTime } = await daemon.fact(run, 'spawned');
  return { pid: pid ?? 0, startTime: startTime ?? 0 };
};
const next = async (): Promise<Connection> => {
  await home.kill();
  await home.start();
  return home.connect().then(async (connection) => {
    await connection.ask('hello', { protocol: 1, token: home.token });
    return connection;
  });
};
const known = { running: true, ready: false, state: null, stateAt: null, ranMs: 0 };
const linkOf = (pid: number, fd: string): string => {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
};
const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** A host as it is shipped, and a module that notes each of its runs and how it is to end. */
const realHost = async () => {
  const program = join(import.meta.dirname, '../../src/daemon/host/thread-host.ts');
  const host = home.order('host', [process.execPath, program], { kind: 'host' });
  await daemon.ask('spawn', host);
  const [notes, module, gate] = ['notes', 'module.mjs', 'gate'].map((name) => join(home.home, name));
  writeFileSync(
    module ?? '',
    `import { appendFileSync, existsSync } from 'node:fs';
     export default async (ctx) => {
       appendFileSync(${JSON.stringify(notes)}, ctx.name + ' ran\\n');
       ctx.publish({ once: 1 });
       while (!existsSync(${JSON.stringify(gate)})) await new Promise((next) => setTimeout(next, 5));
       process.exit(7);
     };`,
  );
  const order = (run: string): SpawnParams => {
    const launch = { name: run, generation: 1, module: module ?? '', export: 'default', params: null, env: {} };
    return home.order(run, [], { kind: 'thread', host: 'host', launch });
  };
  return { host, order, notes: () => read(notes ?? ''), end: () => writeFileSync(gate ?? '', '') };
};

test('a thread whose launch was on its way is not launched again: it goes on, and says again that it runs', async () => {
  const { host, order, notes, end } = await realHost();
  await daemon.ask('spawn', order('t'));
  await eventually('the thread to run', () => notes() === 't ran\n');
  const identity = await identityOf('host');
  const second = await next();
  await second.ask('adopt', { ...host, ...identity, revision: 0, known });
  // As a daemon does that has heard nothing of it.
  await second.ask('spawn', order('t'));
  await second.ask('facts', { after: 0 });
  await second.fact('t', 'running');
  await eventually('its state', () => second.states.some(({ run, state }) => run === 't' && state['once'] === 1));
  end();
  expect((await second.fact('t', 'exited')).exit).toEqual({ kind: 'code', code: 7 });
  expect(notes()).toBe('t ran\n');
});

test('a thread that ended after its launch was on its way ended as it did, and is not run a second time', async () => {
  const { host, order, notes, end } = await realHost();
  end();
  await daemon.ask('spawn', order('t'));
  await daemon.fact('t', 'exited');
  const identity = await identityOf('host');
  const second = await next();
  await second.ask('adopt', { ...host, ...identity, revision: 0, known });
  await second.ask('spawn', order('t'));
  await second.ask('facts', { after: 0 });
  expect((await second.fact('t', 'exited')).exit).toEqual({ kind: 'code', code: 7 });
  expect(notes()).toBe('t ran\n');
});

test('the end of a thread, told while no shim was there, counts once the thread is adopted after its host', async () => {
  const { host, order, end } = await realHost();
  await daemon.ask('spawn', order('t'));
  await daemon.fact('t', 'running');
  const identity = await identityOf('host');
  await home.kill();
  end();
  await eventually('the host to have said it', () => read(`/proc/${identity.pid}/task/${identity.pid}/stat`) !== '');
  await home.start();
  const second = await home.connect();
  await second.ask('hello', { protocol: 1, token: home.token });
  await second.ask('adopt', { ...host, ...identity, revision: 0, known });
  await second.ask('adopt', { ...order('t'), ...identity, revision: 0, known });
  await second.ask('facts', { after: 0 });
  expect((await second.fact('t', 'exited')).exit).toEqual({ kind: 'code', code: 7 });
});

test('state that is known is the base of what the pipe still holds, and is not told to the worker again', async () => {
  const says = `echo '{"state":{"a":1}}' >&3; read go < "$0"; echo '{"state":{"b":3}}' >&3; cat <&4`;
  const gate = join(home.home, 'go');
  writeFileSync(gate, '');
  const order = home.order('w', ['sh', '-c', says, gate], { kind: 'command' });
  await daemon.ask('spawn', order);
  const identity = await identityOf('w');
  await eventually('the first shim to have read it', () => daemon.states.some(({ state }) => state['a'] === 1));
  const second = await next();
  const state = { a: 2, b: 2 };
  await second.ask('adopt', { ...order, ...identity, revision: 5, known: { ...known, state, stateAt: 1 } });
  await second.ask('facts', { after: 0 });
  const { runs } = await second.ask('list', {});
  expect(runs).toMatchObject([{ run: 'w', running: true, adopted: true }]);
  expect(runs[0]?.state).toMatchObject({ a: 2 });
  expect(home.log('w').toString()).toBe('');
});

test('a command of which it was not heard that it runs is told of as running', async () => {
  const order = home.order('w', ['sleep', '1000']);
  await daemon.ask('spawn', order);
  const identity = await identityOf('w');
  const second = await next();
  await second.ask('adopt', { ...order, ...identity, revision: 0, known: { ...known, running: false } });
  await second.ask('facts', { after: 0 });
  await second.fact('w', 'running');
});

test('what a run wrote last, and said of its end, is read of one that is gone', async () => {
  const order = home.order('w', ['sh', '-c', 'read go < "$0"'], { kind: 'module' });
  const fifo = join(home.home, 'run', 'w');
  await daemon.ask('spawn', home.order('keeper', ['sh', '-c', `exec sleep 1000`]));
  await daemon.ask('spawn', { ...order, argv: ['sleep', '1000'] });
  const identity = await identityOf('w');
  await home.kill();
  // As the daemon holds them.
  const { openSync, writeSync, closeSync, constants } = await import('node:fs');
  const held = ['out', 'up'].map((name) => openSync(join(fifo, name), constants.O_RDWR | constants.O_NONBLOCK));
  writeSync(held[0] ?? 0, 'last words\n');
  writeSync(held[1] ?? 0, '{"state":{"last":1}}\n{"exit":{"kind":"returned"},"result":4}\n');
  process.kill(identity.pid, 'SIGKILL');
  await home.start();
  const second = await home.connect();
  await second.ask('hello', { protocol: 1, token: home.token });
  await second.ask('adopt', { ...order, ...identity, revision: 0, known });
  await second.ask('conclude', { run: 'w', exit: { kind: 'lost', reason: 'the shim died' } });
  await second.ask('facts', { after: 0 });
  expect(await second.fact('w', 'exited')).toMatchObject({ exit: { kind: 'returned' }, result: 4, state: { last: 1 } });
  expect(home.log('w').toString()).toBe('last words\n');
  for (const descriptor of held) closeSync(descriptor);
});

test.skipIf(spawnSync('prlimit', ['--version']).status !== 0)(
  'without descriptors for what it takes over, a shim reads on once it has them, and is sent to again',
  async () => {
    const prints = ['/bin/sh', '-c', 'n=0; while read go; do n=$((n + 1)); echo "$n $go"; done'];
    const order = home.order('w', prints, { stdin: true });
    await daemon.ask('spawn', order);
    const identity = await identityOf('w');
    await daemon.ask('input', { run: 'w', text: 'a\n' });
    await eventually('its first line', () => read(join(home.logs('w'), '1.log')) === '1 a\n');
    const second = await next();
    const limit = (most: number) => spawnSync('prlimit', [`--pid=${home.pid}`, `--nofile=${most}:`]);
    limit(Math.max(...home.descriptors().map(Number)) + 3);
    await second.ask('adopt', { ...order, ...identity, revision: 0, known });
    await eventually('its words', () => home.stderr.includes('cannot read on what w writes: no descriptors are left'));
    limit(1000);
    const inputOpen = () => home.descriptors().some((fd) => linkOf(home.pid, fd).endsWith('/w/in'));
    await eventually('its pipes to be opened', inputOpen);
    expect(await second.ask('input', { run: 'w', text: 'b\n' })).toEqual({ delivered: true });
    await eventually('its next line', () => read(join(home.logs('w'), '1.log')).startsWith('1 a\n2 b\n'));
    expect(await second.ask('signal', { run: 'w', signal: 'SIGKILL', to: 'group' })).toEqual({ delivered: true });
  },
);
