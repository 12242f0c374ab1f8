/** The shim itself: who may speak to it, what it keeps for a daemon that is away, how it dies and how it ends. */
import { closeSync, constants, existsSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readLines } from '../../src/shared/log-blocks.ts';
import { readChunks } from '../../src/shared/log-reader.ts';
import { eventually, fixtures, ShimHome } from './helper.ts';

let home: ShimHome;
beforeEach(async () => {
  home = new ShimHome();
  await home.start();
});
afterEach(async () => {
  await home.remove();
});

const sh = (script: string): readonly string[] => ['/bin/sh', '-c', script];
const socketPath = () => join(home.home, 'shim.sock');
const ended = () => eventually('the shim to end', () => home.process?.exitCode !== null && home.process, 10_000);

describe('the socket', () => {
  test('is private, and there is one shim for a home', async () => {
    expect(statSync(socketPath()).mode & 0o777).toBe(0o600);
    const { pid } = home;
    await expect(home.start()).rejects.toThrow(/another shim answers on .*shim\.sock/);
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    expect(existsSync(socketPath())).toBe(true);
    expect(home.pid).toBe(pid);
  });

  test('refuses a wrong token and whoever does not greet; garbage costs only its own connection', async () => {
    const daemon = await home.daemon();
    const wrong = await home.connect();
    await expect(wrong.ask('hello', { protocol: 1, token: 'f'.repeat(64) })).rejects.toThrow(/token differs/);
    const rude = await home.connect();
    await expect(rude.ask('list', {})).rejects.toThrow(/say hello first/);
    const future = await home.connect();
    await expect(future.ask('hello', { protocol: 2, token: home.token })).rejects.toThrow(/speaks protocol 1/);
    const garbage = await Promise.all(
      ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02', '\0\0\0\0\n', '{"half\n', 'Content-Length: 3\r\n\r\n{}'].map(
        async (bytes) => {
          const connection = await home.connect();
          connection.socket.write(bytes);
          return connection;
        },
      ),
    );
    for (const one of [wrong, rude, future, ...garbage]) await eventually('it to be cut', () => one.closed);
    expect((await daemon.ask('list', {})).runs).toEqual([]);
    daemon.socket.write('garbage\n');
    await eventually('it to be cut', () => daemon.closed);
    expect((await (await home.daemon()).ask('list', {})).runs).toEqual([]);
  });

  test('is put back when it vanishes', async () => {
    const daemon = await home.daemon();
    rmSync(socketPath());
    await eventually('the socket to be back', () => existsSync(socketPath()), 2000);
    expect((await (await home.daemon()).ask('list', {})).runs).toEqual([]);
    expect((await daemon.ask('list', {})).runs).toEqual([]);
  });

  test('params are checked by name', async () => {
    const daemon = await home.daemon();
    const order = home.order('w', ['true']);
    await expect(daemon.ask('spawn', { ...order, run: '../w' })).rejects.toThrow(/run must be/);
    await expect(daemon.ask('spawn', { ...order, argv: [1] as never })).rejects.toThrow(/argv must be/);
    await expect(daemon.ask('signal', { run: 'none', signal: 'SIGTERM', to: 'group' })).rejects.toMatchObject({
      code: 'worker.not-found',
    });
    await expect(daemon.ask('signal', { run: 'none', signal: 'SIGNONE', to: 'group' })).rejects.toThrow(
      /signal must be/,
    );
  });
});

describe('facts', () => {
  test('are kept until acknowledged, and told again to whoever asks', async () => {
    const first = await home.daemon();
    await first.ask('spawn', home.order('w', sh('echo \'{"state":{"n":1}}\' >&3; exit 5')));
    await first.fact('w', 'exited');
    const last = first.facts.at(-1)?.seq ?? 0;
    first.socket.destroy();
    const second = await home.daemon();
    await second.fact('w', 'exited');
    expect(second.facts).toEqual(first.facts);
    await second.ask('ack', { upTo: last - 1 });
    const third = await home.daemon();
    await third.fact('w', 'exited');
    expect(third.facts).toEqual(first.facts.slice(-1));
    expect((await home.daemon(last)).facts).toEqual([]);
    await third.ask('ack', { upTo: last });
    const fourth = await home.daemon();
    await fourth.ask('spawn', home.order('v', ['true']));
    await fourth.fact('v', 'exited');
    expect(fourth.facts.every(({ run, seq }) => run === 'v' && seq > last)).toBe(true);
    // Known already: nothing is started again.
    await fourth.ask('spawn', home.order('v', ['true']));
    expect(fourth.of('v').filter(({ kind }) => kind === 'spawned')).toHaveLength(1);
  });

  test('not taken at the orderly end are told by the next shim', async () => {
    const daemon = await home.daemon();
    await daemon.ask('spawn', home.order('w', sh('exit 6')));
    await daemon.fact('w', 'exited');
    daemon.socket.destroy();
    process.kill(home.pid, 'SIGTERM');
    expect((await ended()).exitCode).toBe(0);
    expect(statSync(join(home.home, 'shim.facts')).mode & 0o777).toBe(0o600);
    await home.start();
    const next = await home.daemon();
    expect(await next.fact('w', 'exited')).toMatchObject({ exit: { kind: 'code', code: 6 } });
    expect(next.facts).toEqual(daemon.facts);
    const { seq } = await next.ask('list', {});
    expect(seq).toBeGreaterThan(daemon.facts.at(-1)?.seq ?? 0);
    await next.ask('ack', { upTo: seq });
    expect(existsSync(join(home.home, 'shim.facts'))).toBe(false);
  });

  test('of a reader that is slow wait for it; the newest states come to a new one', async () => {
    const daemon = await home.daemon();
    await daemon.ask('spawn', home.order('w', sh('echo \'{"state":{"n":7}}\' >&3; sleep 30')));
    await eventually('the state', () => daemon.states.length > 0);
    const other = await home.daemon();
    await eventually('the state', () => other.states.at(-1)?.state['n'] === 7);
  });
});

describe('death', () => {
  const numbers = (count: number): Buffer =>
    Buffer.from(Array.from({ length: count }, (_, index) => `n ${index + 1}\n`).join(''));

  test('harms no worker: what it writes without a shim is read by the next, to the last byte', async () => {
    const first = await home.daemon();
    const go = join(home.home, 'go');
    const order = home.order('w', [join(fixtures, 'prints-numbers.sh'), '3000', go]);
    await first.ask('spawn', order);
    const { pid, startTime } = await first.fact('w', 'spawned');
    await eventually(
      'the first half',
      () => existsSync(join(home.logs('w'), '1.log')) && home.log('w').equals(numbers(3000)),
    );
    // As the daemon does: without any descriptor, what a worker leaves in its pipes at its end would vanish.
    const held = ['out', 'err', 'up'].map((name) => openSync(join(home.home, 'run', 'w', name), constants.O_RDWR));
    await home.kill();
    writeFileSync(go, '');
    await eventually('the worker to end', () => hasEnded(pid ?? 0));
    await home.start();
    const second = await home.daemon();
    const identity = { pid: pid ?? 0, startTime: startTime ?? 0, revision: 3 };
    await second.ask('adopt', { ...order, ...identity });
    await second.ask('adopt', { ...order, ...identity });
    await second.ask('conclude', { run: 'w', exit: { kind: 'lost', reason: 'nobody saw it' } });
    const exited = await second.fact('w', 'exited');
    expect(exited).toMatchObject({ exit: { kind: 'lost', reason: 'nobody saw it' }, stateRevision: 3 });
    expect(home.log('w').equals(numbers(6000))).toBe(true);
    expect([...readLines(home.logs('w'))]).toHaveLength(6000);
    for (const descriptor of held) closeSync(descriptor);
    await second.ask('release', { run: 'w' });
    await eventually('its FIFOs to be gone', () => home.runDirectories().length === 0);
  });

  test('in the middle of a stream costs at most the one piece that was read and not yet written', async () => {
    const first = await home.daemon();
    const order = home.order('w', [join(fixtures, 'prints-numbers.sh'), '60000']);
    await first.ask('spawn', order);
    const { pid, startTime } = await first.fact('w', 'spawned');
    await eventually('some output', () => existsSync(join(home.logs('w'), '1.log')) && home.log('w').length > 10_000);
    await home.kill();
    expect(hasEnded(pid ?? 0)).toBe(false);
    await home.start();
    const second = await home.daemon();
    await second.ask('adopt', { ...order, pid: pid ?? 0, startTime: startTime ?? 0, revision: 0 });
    await eventually('the worker to end', () => hasEnded(pid ?? 0), 20_000);
    await second.ask('conclude', { run: 'w', exit: { kind: 'lost', reason: 'nobody saw it' } });
    await second.fact('w', 'exited');
    const wanted = numbers(60_000);
    const found = home.log('w');
    let same = 0;
    while (same < found.length && found[same] === wanted[same]) same += 1;
    expect(wanted.subarray(wanted.length - (found.length - same)).equals(found.subarray(same))).toBe(true);
    expect(wanted.length - found.length).toBeLessThanOrEqual(64 * 1024);
    const indexed = [...readChunks(home.logs('w'), 1)].map(({ bytes }) => bytes);
    expect(Buffer.concat(indexed).equals(found)).toBe(true);
  });

  test('an adopted run is signalled only while its pid is proven', async () => {
    const first = await home.daemon();
    const order = home.order('w', sh('sleep 30'));
    await first.ask('spawn', order);
    const { pid, startTime } = await first.fact('w', 'spawned');
    await home.kill();
    await home.start();
    const second = await home.daemon();
    await second.ask('adopt', {
      ...order,
      run: 'imposter',
      pid: pid ?? 0,
      startTime: (startTime ?? 0) - 1,
      revision: 0,
    });
    await second.ask('adopt', { ...order, pid: pid ?? 0, startTime: startTime ?? 0, revision: 0 });
    expect(await second.ask('signal', { run: 'imposter', signal: 'SIGTERM', to: 'group' })).toEqual({
      delivered: false,
    });
    expect(await second.ask('signal', { run: 'w', signal: 'SIGTERM', to: 'group' })).toEqual({ delivered: true });
    await eventually('the worker to end', () => hasEnded(pid ?? 0));
  });

  test('does not come by signals, and no debugger opens', async () => {
    const daemon = await home.daemon();
    for (const signal of [
      'SIGHUP',
      'SIGUSR1',
      'SIGUSR2',
      'SIGPIPE',
      'SIGALRM',
      'SIGWINCH',
      'SIGTSTP',
      'SIGCONT',
    ] as const) {
      process.kill(home.pid, signal);
      expect((await daemon.ask('list', {})).runs).toEqual([]);
    }
    expect(home.stderr).not.toContain('Debugger');
  });
});

describe('the orderly end', () => {
  test('asks, waits its grace, ends by force, and leaves nothing', async () => {
    const daemon = await home.daemon();
    const grace = (graceMs: number) => ({ stop: { signal: 'SIGTERM', graceMs } });
    await daemon.ask(
      'spawn',
      home.order('polite', sh('trap "exit 3" TERM; echo up; while :; do sleep 0.05; done'), grace(5000)),
    );
    await daemon.ask(
      'spawn',
      home.order('stubborn', sh('trap "" TERM; sleep 30 & echo up; while :; do sleep 0.05; done'), grace(300)),
    );
    await daemon.ask('spawn', home.order('stopped', sh('echo up; kill -STOP $$; sleep 30'), grace(5000)));
    const leavesOne = 'trap "exit 0" TERM; setsid sh -c "echo up; sleep 30" & while :; do sleep 0.05; done';
    await daemon.ask('spawn', home.order('escapee', sh(leavesOne), grace(5000)));
    const module = `echo '{"running":true}' >&3; echo up; while ! read stop <&4; do sleep 0.02; done; echo "$stop"; echo '{"exit":{"kind":"returned"},"result":2}' >&3`;
    await daemon.ask('spawn', home.order('module', sh(module), { kind: 'module', ...grace(5000) }));
    const host = [process.execPath, join(fixtures, 'speaks-host-protocol.mjs')];
    await daemon.ask('spawn', home.order('host', host, { kind: 'host' }));
    await daemon.ask(
      'spawn',
      home.order('thread', [], { kind: 'thread', host: 'host', launch: { say: ['up'] }, ...grace(200) }),
    );
    for (const run of ['polite', 'stubborn', 'stopped', 'escapee', 'module', 'thread']) {
      await eventually(
        `${run} to be up`,
        () => existsSync(join(home.logs(run), '1.log')) && home.log(run).includes('up'),
      );
    }
    expect(await daemon.ask('shutdown', {})).toEqual({ pid: home.pid });
    await expect(daemon.ask('spawn', home.order('late', ['true']))).rejects.toMatchObject({ code: 'daemon.stopping' });
    const exits = new Map<string, unknown>();
    for (const run of ['polite', 'stubborn', 'stopped', 'escapee', 'module', 'thread', 'host']) {
      const fact = await daemon.fact(run, 'exited');
      expect(fact.byShim).toBe(true);
      exits.set(run, fact.exit);
    }
    expect(Object.fromEntries(exits)).toEqual({
      polite: { kind: 'code', code: 3 },
      stubborn: { kind: 'signal', signal: 'SIGKILL' },
      stopped: { kind: 'signal', signal: 'SIGTERM' },
      escapee: { kind: 'code', code: 0 },
      module: { kind: 'returned' },
      thread: { kind: 'terminated' },
      host: { kind: 'signal', signal: 'SIGTERM' },
    });
    await daemon.ask('ack', { upTo: daemon.facts.at(-1)?.seq ?? 0 });
    expect((await ended()).exitCode).toBe(0);
    expect(existsSync(socketPath())).toBe(false);
    expect(existsSync(join(home.home, 'shim.facts'))).toBe(false);
    expect(existsSync(join(home.home, 'run', 'pool'))).toBe(false);
    expect(home.runDirectories()).toEqual([]);
    expect(home.log('module').toString()).toMatch(
      /^up\n\{"stop":\{"reason":"shutdown","deadline":"[-0-9T:.]+Z","by":null\}\}\n$/,
    );
  });

  test('of an empty shim is at once, also with a daemon that is connected', async () => {
    await home.daemon();
    const before = performance.now();
    process.kill(home.pid, 'SIGTERM');
    expect((await ended()).exitCode).toBe(0);
    expect(performance.now() - before).toBeLessThan(5000);
  });
});

const hasEnded = (pid: number): boolean => {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return true;
  }
};
