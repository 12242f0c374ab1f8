import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connect } from '../../src/shared/client.ts';
import { WorkerdError } from '../../src/shared/errors.ts';
import { startTimeOf, writeHandover } from '../../src/shared/handover.ts';
import type { WorkerEvent } from '../../src/shared/protocol.ts';
import { sinceBoot } from '../../src/shared/since-boot.ts';
import { cli } from './cli.ts';
import { makeHome, startFakeDaemon } from './fake-daemon.ts';
import { makeView } from './views.ts';

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});
const home = (): string => {
  const made = makeHome();
  cleanUp.push(made.remove);
  return made.home;
};
const listen = (server: Server, path: string): Promise<void> => {
  cleanUp.push(() => new Promise((resolve) => server.close(resolve)));
  return new Promise((resolve) => server.listen(path, resolve));
};
const serve = async (methods: Parameters<typeof startFakeDaemon>[0]) => {
  const daemon = await startFakeDaemon(methods);
  cleanUp.push(() => daemon.close());
  return daemon;
};
/** A socket that a daemon left behind. */
const leaveStale = async (path: string): Promise<void> => {
  const { spawnSync } = await import('node:child_process');
  const script = `require('net').createServer().listen(${JSON.stringify(path)},()=>process.kill(process.pid,'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(existsSync(path)).toBe(true);
};

describe('a daemon that cannot be reached is said the same way everywhere', () => {
  const expectUnreachable = async (place: string, reason: string, flags: readonly string[] = []) => {
    const path = join(place, 'workerd.sock');
    const message = `cannot reach the daemon at ${path} (${reason}). Start it with: workerd start --detach`;
    expect(await cli(['status', '--home', place, ...flags])).toEqual({
      code: 125,
      out: '',
      err: `workerctl: ${message}\n`,
    });
    const json = await cli(['status', '--home', place, '--json', ...flags]);
    expect(json.code).toBe(125);
    expect(JSON.parse(json.out)).toMatchObject({ error: { code: 'daemon.unreachable', message, data: { reason } } });
  };

  test('no socket, and none is started for status', () => expectUnreachable(home(), 'no socket'));

  test('a stale socket counts as none where nothing may be started', async () => {
    const place = home();
    await leaveStale(join(place, 'workerd.sock'));
    await expectUnreachable(place, 'no socket', ['--no-autostart']);
  });

  test('another protocol', async () => {
    const daemon = await serve({
      hello: () => ({ protocol: 7, version: '9', pid: 1 }),
      status: () => ({ workers: [], next: null }),
    });
    await expectUnreachable(daemon.home, 'protocol mismatch');
  });

  test.skipIf(process.getuid?.() === 0)('no permission', async () => {
    const daemon = await serve({});
    chmodSync(daemon.socket, 0);
    await expectUnreachable(daemon.home, 'permission denied');
  });

  test('no answer in 5 s', { timeout: 15_000 }, async () => {
    const place = home();
    await listen(
      createServer((socket) => cleanUp.push(() => socket.destroy())),
      join(place, 'workerd.sock'),
    );
    const { code, err } = await cli(['status', '--home', place]);
    expect(code).toBe(125);
    expect(err).toContain('(no answer in 5s)');
  });

  test('a path that is too long is a mistake of the caller', async () => {
    expect((await cli(['status', '--home', `/tmp/${'x'.repeat(120)}`])).code).toBe(2);
  });
});

test('params that are not JSON are a mistake of the caller, in words, and the connection goes on', async () => {
  const daemon = await serve({ status: () => ({ workers: [], next: null }) });
  await using client = await connect({ home: daemon.home });
  const circle: Record<string, unknown> = {};
  circle['circle'] = circle;
  for (const state of [circle, { big: 1n }]) {
    const refused = client.call('publish', { name: 'web', state: state as never });
    await expect(refused).rejects.toMatchObject({ code: 'usage', data: { member: 'params' } });
    await expect(refused).rejects.toThrow(/^the params of publish are not JSON: [^\n]+$/);
  }
  expect(await client.call('status', {})).toEqual({ workers: [], next: null });
});

describe('starting the daemon', () => {
  /** A workerd that notes how it was called, binds its socket, answers, and ends by itself. */
  const program = (place: string, body: string): string => {
    const path = join(place, 'workerd.cjs');
    writeFileSync(
      path,
      `const fs=require('fs'),net=require('net');
       const say=(line)=>{try{fs.writeSync(3,JSON.stringify(line)+'\\n')}catch{}};
       const at=process.argv[process.argv.indexOf('--socket')+1];
       fs.writeFileSync(${JSON.stringify(join(place, 'called.json'))},JSON.stringify({argv:process.argv.slice(2),env:Object.keys(process.env),cwd:process.cwd(),
         fds:fs.readdirSync('/proc/self/fd').length}));
       setTimeout(()=>process.exit(),5000).unref();
       const serve=(then)=>{try{fs.unlinkSync(at)}catch{};net.createServer(s=>{let b='';s.on('error',()=>{});s.on('data',d=>{b+=d;let i;while((i=b.indexOf('\\n'))>=0){const m=JSON.parse(b.slice(0,i));b=b.slice(i+1);
         s.write(JSON.stringify({jsonrpc:'2.0',id:m.id,result:m.method==='hello'?{protocol:1,version:'0',pid:process.pid}:m.method==='status'?{workers:[],next:null}:{outcome:'started',worker:${JSON.stringify(makeView())}}})+'\\n')}});s.on('end',()=>{s.end();setTimeout(()=>process.exit(),50)})}).listen(at,then)};
       ${body}`,
    );
    return path;
  };
  const called = (place: string) =>
    JSON.parse(readFileSync(join(place, 'called.json'), 'utf8')) as { argv: string[]; env: string[]; cwd: string };

  test('start does, with one line on standard error and nothing of the caller', async () => {
    const place = home();
    const daemonProgram = program(place, `serve(()=>say({ready:true,pid:process.pid}))`);
    const env = {
      NODE_OPTIONS: '--no-warnings',
      LD_PRELOAD: '',
      NODE_PATH: '/x',
      WORKERD_RUN: 'r',
      NOTIFY_SOCKET: '/n',
      SECRET: 'of whoever called',
      TZ: 'Etc/UTC',
    };
    const { code, out, err } = await cli(['start', 'web', '--home', place], { daemonProgram, env });
    expect({ code, out }).toEqual({ code: 0, out: 'web\n' });
    expect(err).toMatch(/^workerctl: started the daemon \(pid \d+\)\n$/);
    const { argv, env: given, cwd } = called(place);
    expect(argv.slice(0, 8)).toEqual([
      'start',
      '--background',
      '--home',
      place,
      '--socket',
      join(place, 'workerd.sock'),
      '--ready-fd',
      '3',
    ]);
    // What whoever called us had set, not what Node raised it to.
    expect(argv.slice(8)).toEqual(['--open-files', expect.stringMatching(/^\d+$/)]);
    expect(cwd).toBe('/');
    expect(given).toContain('TZ');
    for (const name of ['SECRET', 'NODE_OPTIONS', 'LD_PRELOAD', 'NODE_PATH', 'WORKERD_RUN', 'NOTIFY_SOCKET'])
      expect(given).not.toContain(name);
  });

  test('every verb does where a socket was left behind', async () => {
    const place = home();
    await leaveStale(join(place, 'workerd.sock'));
    const daemonProgram = program(place, `serve(()=>say({ready:true,pid:process.pid}))`);
    const { code, err } = await cli(['status', '--home', place], { daemonProgram });
    expect(code).toBe(0);
    expect(err).toContain('started the daemon');
  });

  test('one that another client started meanwhile is waited for', async () => {
    const place = home();
    const daemonProgram = program(place, `say({running:true});setTimeout(()=>serve(()=>{}),200)`);
    expect(await cli(['start', 'web', '--home', place], { daemonProgram })).toEqual({ code: 0, out: 'web\n', err: '' });
  });

  test('why it did not start is said', async () => {
    const place = home();
    const error = program(place, `say({error:'the home belongs to somebody else'})`);
    expect(await cli(['start', 'web', '--home', place], { daemonProgram: error })).toEqual({
      code: 125,
      out: '',
      err: 'workerctl: cannot start the daemon: the home belongs to somebody else. To see it in full: workerd start\n',
    });
    writeFileSync(join(place, 'workerd.log'), '{"msg":"first"}\n{"msg":"database is broken"}\n');
    const dies = program(place, 'process.exit(1)');
    const { code, err } = await cli(['start', 'web', '--home', place], { daemonProgram: dies });
    expect(code).toBe(125);
    expect(err).toContain('it ended at once: database is broken');
  });

  test.each([
    [['--no-autostart'], {}],
    [[], { WORKERD_AUTOSTART: '0' }],
  ])('not with %j %j', async (flags, env) => {
    const place = home();
    const daemonProgram = program(place, '');
    const { code, err } = await cli(['start', 'web', '--home', place, ...flags], { daemonProgram, env });
    expect(code).toBe(125);
    expect(err).toContain('(no socket)');
    expect(existsSync(join(place, 'called.json'))).toBe(false);
  });

  test('where a service manager runs it, it is waited for and none is started', async () => {
    const place = home();
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'service'), '');
    const daemonProgram = program(place, '');
    const result = cli(['start', 'web', '--home', place], { daemonProgram });
    const other = await serve({ start: () => ({ outcome: 'started', worker: makeView() }) });
    const { renameSync } = await import('node:fs');
    renameSync(other.socket, join(place, 'workerd.sock'));
    expect(await result).toMatchObject({ code: 0, out: 'web\n' });
    expect(existsSync(join(place, 'called.json'))).toBe(false);
  });
});

describe('the client', () => {
  test('asks a method that needs no params without them', async () => {
    const daemon = await serve({});
    await using client = await connect({ home: daemon.home });
    expect(await client.call('daemon.info')).toMatchObject({ home: daemon.home });
    expect(daemon.calls.at(-1)).toMatchObject({ method: 'daemon.info', params: {} });
  });

  test('events that come with the answer are not lost, and leaving the loop ends the subscription', async () => {
    const event = { subscription: 's', cursor: '1', at: 'now', name: 'web', generation: 1 };
    const daemon = await serve({
      watch: (_params, session) => {
        session.notify('event', { ...event, type: 'ready' });
        setTimeout(() => session.notify('event', { ...event, type: 'removed' }), 5);
        return { subscription: 's', cursor: '0' };
      },
    });
    await using client = await connect({ home: daemon.home });
    const seen: WorkerEvent['type'][] = [];
    for await (const { type } of client.watch({ names: ['web'] })) {
      seen.push(type);
      if (type === 'removed') break;
    }
    expect(seen).toEqual(['ready', 'removed']);
    await client.call('daemon.info', {});
    expect(daemon.calls.map(({ method }) => method)).toEqual(['watch', 'unwatch', 'daemon.info']);
  });

  test('a reader that does not keep up gets a gap and a new snapshot', async () => {
    let subscriptions = 0;
    const daemon = await serve({
      watch: ({ since }, session) => {
        subscriptions += 1;
        const subscription = String(subscriptions);
        const event = { subscription, cursor: '1', at: 'now', name: 'web', generation: 1 };
        if (subscriptions === 1)
          for (let n = 0; n < 10_100; n += 1) session.notify('event', { ...event, type: 'ready' });
        else if (since === 'none') {
          session.notify('event', { ...event, type: 'gap', dropped: 0, snapshots: 1 });
          session.notify('event', { ...event, type: 'snapshot', worker: makeView() });
        }
        return { subscription, cursor: '0' };
      },
    });
    await using client = await connect({ home: daemon.home });
    const seen: WorkerEvent[] = [];
    for await (const event of client.watch()) {
      seen.push(event);
      if (event.type === 'snapshot') break;
    }
    expect(seen.map(({ type }) => type)).toEqual(['gap', 'snapshot']);
  });

  test('a socket that was missing is looked for again where the next daemon has just said that it listens', async () => {
    const place = home();
    const path = join(place, 'workerd.sock');
    // Not there when it is looked for, and the note of the replacement says already that it is over.
    const now = sinceBoot();
    const us = { pid: process.pid, startTime: startTimeOf(process.pid) ?? 0 };
    writeHandover(path, { ...us, fromMono: now - 200, untilMono: now });
    const connecting = connect({ home: place });
    const server = createServer((socket) => cleanUp.push(() => socket.destroy()));
    setTimeout(() => void listen(server, path), 100);
    const client = await connecting;
    cleanUp.push(() => client.close());
    // Long over, it is as without it.
    const other = home();
    writeHandover(join(other, 'workerd.sock'), { ...us, fromMono: now - 9000, untilMono: now - 8000 });
    await expect(connect({ home: other })).rejects.toThrow('no socket');
  });

  describe('what may not be asked twice', () => {
    /** A daemon that hears one `send` and cuts the line, the first time. */
    const cutsOnce = async () => {
      let heard = 0;
      const daemon = await serve({
        send: () => {
          heard += 1;
          if (heard > 1) return { worker: makeView({ name: 'web' }) };
          daemon.cut();
          return new Promise(() => {});
        },
      });
      return daemon;
    };
    const note = (socket: string, from: number, to: number) => {
      const [fromMono, untilMono] = [sinceBoot() + from, sinceBoot() + to];
      writeHandover(socket, { pid: process.pid, startTime: startTimeOf(process.pid) ?? 0, fromMono, untilMono });
    };

    test('is asked again of the next daemon by who had reached one that was on its way out', async () => {
      const daemon = await cutsOnce();
      note(daemon.socket, -100, 15_000);
      await using client = await connect({ home: daemon.home });
      await client.call('send', { name: 'web', text: 'x' });
      expect(daemon.calls).toHaveLength(2);
    });

    test('is not asked again where the daemon had long been replaced when it was lost', async () => {
      const daemon = await cutsOnce();
      note(daemon.socket, -100, -1);
      await using client = await connect({ home: daemon.home });
      await expect(client.call('send', { name: 'web', text: 'x' })).rejects.toThrow('lost');
      expect(daemon.calls).toHaveLength(1);
    });
  });

  test('where it is not to be opened anew, a lost connection ends calls and watches with a WorkerdError', async () => {
    const daemon = await serve({
      wait: () => new Promise(() => {}),
      watch: () => ({ subscription: 's', cursor: '0' }),
    });
    const client = await connect({ home: daemon.home, reconnectMs: 0 });
    const call = client.call('wait', { name: 'web', for: 'exit' });
    const watch = client.watch().next();
    const failed = Promise.allSettled([call, watch]);
    await client.call('daemon.info', {});
    await daemon.close();
    cleanUp.length = 0;
    for (const result of await failed) {
      expect(result.status).toBe('rejected');
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(WorkerdError);
    }
    expect(client.closed).toBe(true);
  });

  test('an aborted call rejects with the reason of its signal', async () => {
    const daemon = await serve({ wait: () => new Promise(() => {}) });
    await using client = await connect({ home: daemon.home });
    const abort = new AbortController();
    const call = client.call('wait', { name: 'web', for: 'exit' }, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(call).rejects.toThrow('enough');
    await client.call('daemon.info', {});
  });
});
