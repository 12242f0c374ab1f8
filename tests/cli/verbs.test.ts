import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { WorkerdError } from '../../src/shared/errors.ts';
import { cli, eventually, startCli } from './cli.ts';
import { type Answer, type FakeDaemon, notFound, startFakeDaemon, statusOf } from './fake-daemon.ts';
import { makeView, stopped } from './views.ts';

let daemon: FakeDaemon | null = null;
const serve = async (methods: Readonly<Record<string, Answer>>): Promise<FakeDaemon> => {
  daemon = await startFakeDaemon(methods);
  return daemon;
};
afterEach(async () => {
  await daemon?.close();
  daemon = null;
});

const at = ({ home }: FakeDaemon) => ['--home', home];

/** A log as the shim writes it. */
const writeLog = (
  home: string,
  name: string,
  generation: number,
  pieces: readonly (readonly [number, 'o' | 'e', string])[],
) => {
  const directory = join(home, 'logs', name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${generation}.log`), pieces.map(([, , text]) => text).join(''));
  const index = pieces.map(([time, mark, text]) => `${time} ${mark} ${Buffer.byteLength(text)}\n`);
  writeFileSync(join(directory, `${generation}.idx`), `${pieces[0]?.[0] ?? 0} @ 0\n${index.join('')}`);
  return { files: [{ generation, path: join(directory, `${generation}.log`) }] };
};

describe('start', () => {
  const start: Answer = ({ name = 'sleep' }) => ({ outcome: 'started', worker: makeView({ name: String(name) }) });

  test('prints the name alone, and says who asked', async () => {
    const fake = await serve({ start });
    const result = await cli([
      'start',
      ...at(fake),
      '-n',
      'web',
      '--grace',
      '5s',
      '-e',
      'A=b=c',
      '--',
      'sleep',
      '-h',
      '--json',
    ]);
    expect(result).toEqual({ code: 0, out: 'web\n', err: '' });
    expect(fake.hellos[0]).toMatchObject({ client: 'workerctl', protocol: 1, via: 'workerctl start' });
    expect(fake.calls[0]?.params).toMatchObject({
      name: 'web',
      spec: { kind: 'command', command: ['sleep', '-h', '--json'], graceMs: 5000, env: { A: 'b=c' } },
      caller: { cwd: '/somewhere', umask: 0o022, limits: { nofile: 1024 } },
    });
  });

  test('hello and the first call leave in one write', async () => {
    const fake = await serve({ start });
    await cli(['start', 'web', ...at(fake)]);
    expect(fake.writes).toEqual([1]);
  });

  test('a variable that is named and never passed on is said', async () => {
    const fake = await serve({ start });
    const line = ['start', ...at(fake), '-n', 'web', '-e', 'LISTEN_ADDR=::1', '-e', 'WORKERD_RUN=x', '-e', 'A=b'];
    const { code, out, err } = await cli([...line, '--', 'sleep']);
    expect([code, out]).toEqual([0, 'web\n']);
    expect(err).toMatch(/^workerctl: LISTEN_ADDR, WORKERD_RUN: never passed on to a worker; .*\n$/);
    expect((await cli([...line, '-q', '--', 'sleep'])).err).toBe('');
  });

  test('a running one is replaced: by which run, and with --no-wait that it is on its way', async () => {
    const fake = await serve({
      start: ({ wait }) => ({
        outcome: 'replaced',
        worker: makeView(
          wait === 'none' ? { name: 'web', phase: 'stopping', generation: 4 } : { name: 'web', generation: 5 },
        ),
      }),
    });
    const replace = ['start', ...at(fake), '-n', 'web', '--if-running', 'replace'];
    expect((await cli([...replace, '--', 'sleep'])).err).toBe('workerctl: web was replaced by run 5\n');
    const { out, err } = await cli([...replace, '--no-wait', '--', 'sleep']);
    expect([out, err]).toEqual(['web\n', 'workerctl: web is being replaced: run 4 is ending\n']);
  });

  test('a module without a name leaves the name to the daemon', async () => {
    const fake = await serve({ start });
    await cli([
      'start',
      './a/counter.ts#main',
      '--thread',
      '-p',
      'n=1',
      '-p',
      's=x',
      '--params',
      '{"n":0,"k":[]}',
      ...at(fake),
    ]);
    const params = fake.calls[0]?.params ?? {};
    expect(params).not.toHaveProperty('name');
    expect(params['spec']).toMatchObject({
      kind: 'thread',
      module: '/somewhere/a/counter.ts',
      export: 'main',
      params: { n: 1, s: 'x', k: [] },
    });
  });

  test('a known name is sent without a definition; already running is said beside the name', async () => {
    const fake = await serve({ start: () => ({ outcome: 'already-running', worker: makeView() }) });
    const result = await cli(['start', 'web', ...at(fake)]);
    expect(result).toEqual({ code: 0, out: 'web\n', err: 'workerctl: web is already running (pid 4711)\n' });
    expect(fake.calls[0]?.params).toEqual({ name: 'web' });
  });

  test('with --json the result as it came', async () => {
    const fake = await serve({ start });
    const { out } = await cli(['start', 'web', '--json', ...at(fake)]);
    expect(JSON.parse(out)).toMatchObject({ outcome: 'started', worker: { name: 'web' } });
  });

  test('what only one process is meant to have is not passed on', async () => {
    const fake = await serve({ start });
    const env = {
      A: '1',
      NOTIFY_SOCKET: 'x',
      LISTEN_FDS: '3',
      WATCHDOG_USEC: '1',
      NODE_CHANNEL_FD: '3',
      WORKERD_RUN: 'r',
      WORKERD_NAME: 'me',
    };
    await cli(['start', ...at(fake), '--', 'true'], { env });
    const caller = fake.calls[0]?.params['caller'] as { env: Record<string, string> };
    expect(Object.keys(caller.env).sort()).toEqual(['A', 'PATH']);
  });

  test('a request too long for a message is refused here, with the member that fills it', async () => {
    const fake = await serve({ start });
    const { code, err } = await cli(['start', ...at(fake), '--', 'true'], { env: { BIG: 'x'.repeat(2_000_000) } });
    expect(code).toBe(2);
    expect(err).toContain('params.caller.env.BIG is too long');
  });

  test('a worker that fails to start is exit code 1, words or JSON', async () => {
    const fail = () => {
      throw new WorkerdError('worker.start-failed', 'web could not be started: exit code 3', { name: 'web' });
    };
    const fake = await serve({ start: fail });
    expect(await cli(['start', 'web', ...at(fake)])).toEqual({
      code: 1,
      out: '',
      err: 'workerctl: web could not be started: exit code 3\n',
    });
    const { out, code } = await cli(['start', 'web', '--json', ...at(fake)]);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      error: { code: 'worker.start-failed', data: { code: 'worker.start-failed', name: 'web' } },
    });
  });
});

describe('stop, restart, wait and their kin', () => {
  test('several names over one connection; the largest code counts', async () => {
    const stop: Answer = ({ name }) => {
      if (name === 'nope') throw notFound('nope');
      return name === 'db'
        ? { outcome: 'not-running', worker: stopped({ name: 'db' }) }
        : { outcome: 'stopped', worker: stopped({ name: String(name) }) };
    };
    const fake = await serve({ stop });
    const { code, out, err } = await cli(['stop', 'web', 'nope', 'db', ...at(fake)]);
    expect(code).toBe(4);
    expect(out).toBe('web: stopped (exit code 0, ran 59s)\ndb: not running\n');
    expect(err).toBe('workerctl: no worker named "nope"; did you mean "web"?\n');
    expect(fake.hellos).toHaveLength(1);
  });

  test('globs are what matches, and may match nothing', async () => {
    const status = statusOf(() => [makeView({ name: 'web-1' }), makeView({ name: 'web-2' }), makeView({ name: 'db' })]);
    const stop: Answer = ({ name }) => ({ outcome: 'stopped', worker: stopped({ name: String(name) }) });
    const fake = await serve({ status, stop });
    const { out } = await cli(['stop', 'web-*', '-q', '--force', ...at(fake)]);
    expect(out).toBe('web-1\nweb-2\n');
    expect(fake.calls.filter(({ method }) => method === 'stop').map(({ params }) => params)).toEqual([
      { name: 'web-1', force: true },
      { name: 'web-2', force: true },
    ]);
    expect(await cli(['stop', 'x-*', ...at(fake)])).toEqual({
      code: 0,
      out: '',
      err: 'workerctl: no worker matches\n',
    });
    for (const flag of ['-q', '--json']) {
      expect(await cli(['stop', 'x-*', flag, ...at(fake)])).toEqual({ code: 0, out: '', err: '' });
    }
  });

  test('more names than may wait on a connection are waited for in turn, for no longer in sum', async () => {
    const many = Array.from({ length: 2500 }, (_, index) => makeView({ name: `w${String(index).padStart(4, '0')}` }));
    const fake = await serve({
      status: ({ after }) => {
        const workers = many.filter(({ name }) => after === undefined || name > String(after)).slice(0, 500);
        return { workers, next: workers.length === 500 ? workers.at(-1)?.name : null };
      },
      wait: async ({ name, timeoutMs }) => {
        if (name === 'w0000') await new Promise((resolve) => setTimeout(resolve, 30));
        if (name === 'w2499') throw new WorkerdError('wait.timeout', `${name}: not ended within ${timeoutMs} ms`);
        return { worker: stopped({ name: String(name) }) };
      },
    });
    const { code, out, err } = await cli(['wait', 'w*', '-q', '--timeout', '50s', ...at(fake)]);
    expect(code).toBe(124);
    expect(out.trimEnd().split('\n')).toEqual(many.slice(0, -1).map(({ name }) => name));
    expect(err).not.toContain('may wait');
    const asked = fake.calls.filter(({ method }) => method === 'wait').map(({ params }) => Number(params['timeoutMs']));
    expect(asked.slice(0, 1000).every((timeoutMs) => timeoutMs === 50_000)).toBe(true);
    expect(Math.max(...asked.slice(1000))).toBeLessThanOrEqual(50_000);
    expect(asked.at(-1)).toBeLessThan(50_000);
  });

  test('a line of JSON per name', async () => {
    const fake = await serve({
      restart: ({ name }) => ({ outcome: 'restarted', worker: makeView({ name: String(name) }) }),
    });
    const { out } = await cli(['--json', 'restart', 'a', 'b', ...at(fake)]);
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { worker: { name: string } }).worker.name),
    ).toEqual(['a', 'b']);
  });

  test.each([
    [{ kind: 'code', code: 7 }, 7],
    [{ kind: 'signal', signal: 'SIGTERM' }, 143],
    [{ kind: 'spawn-failed', errno: 'ENOENT', message: 'no such program' }, 127],
    [{ kind: 'spawn-failed', errno: 'EACCES', message: 'not executable' }, 126],
    [{ kind: 'spawn-failed', errno: 'ENOENT', message: 'cannot start in /x: no such directory' }, 126],
    [{ kind: 'error', name: 'Error', message: 'x', stack: null }, 1],
    [{ kind: 'returned' }, 0],
    [{ kind: 'terminated' }, 137],
    [{ kind: 'lost', reason: 'shim died' }, 125],
  ] as const)('wait passes on %j as %i', async (exit, code) => {
    const fake = await serve({ wait: () => ({ worker: stopped({ phase: 'exited', exit }) }) });
    expect((await cli(['wait', 'web', ...at(fake)])).code).toBe(code);
    expect((await cli(['wait', 'web', '--for', 'stopped', ...at(fake)])).code).toBe(0);
  });

  test('the time given ran out: 124', async () => {
    const wait = () => {
      throw new WorkerdError('wait.timeout', 'web did not end within 10ms');
    };
    const fake = await serve({ wait });
    expect((await cli(['wait', 'web', '--timeout', '10ms', ...at(fake)])).code).toBe(124);
    expect(fake.calls[0]?.params).toEqual({ name: 'web', for: 'exit', timeoutMs: 10 });
  });

  test('what was waited for and is over by now is said as what it was', async () => {
    const exit = { kind: 'code', code: 3 } as const;
    const fake = await serve({ wait: () => ({ worker: stopped({ phase: 'failed', exit }) }) });
    const { code, out } = await cli(['wait', 'web', '--for', 'ready', ...at(fake)]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^web: was ready, then failed \(exit code 3, ran .*\)\n$/)]);
  });

  test.each([
    [['stop', 'x*'], 'no worker matches'],
    [['wait', 'x*'], 'no worker matches'],
    [['stop', '--all'], 'no worker runs'],
    [['rm', '--all'], 'there are no workers'],
  ])('%j with nothing to do: 0, said in words, and nothing with -q or --json', async (line, words) => {
    const fake = await serve({ status: statusOf(() => []) });
    expect(await cli([...line, ...at(fake)])).toEqual({ code: 0, out: '', err: `workerctl: ${words}\n` });
    for (const flag of ['-q', '--json']) {
      expect(await cli([...line, ...at(fake), flag])).toEqual({ code: 0, out: '', err: '' });
    }
  });

  test('stop --all means what others left over, too; restart --all only those that run', async () => {
    const leftovers = [{ pid: 5, command: 'sleep 60' }];
    const views = [
      makeView({ name: 'runs' }),
      makeView({ name: 'waits', phase: 'backoff' }),
      makeView({ name: 'left', phase: 'exited', leftovers }),
      makeView({ name: 'ended', phase: 'exited' }),
    ];
    const answer: Answer = ({ name }) => ({ outcome: 'stopped', worker: makeView({ name: String(name) }) });
    const fake = await serve({ status: () => ({ workers: views, next: null }), stop: answer, restart: answer });
    const asked = async (verb: string) => {
      expect((await cli([verb, '--all', ...at(fake)])).code).toBe(0);
      return fake.calls.filter(({ method }) => method === verb).map(({ params }) => params['name']);
    };
    expect(await asked('stop')).toEqual(['runs', 'waits', 'left']);
    expect(await asked('restart')).toEqual(['runs', 'waits']);
  });

  test('Ctrl-C while waiting: 130, and no word', async () => {
    const fake = await serve({ wait: () => new Promise(() => {}) });
    const running = startCli(['wait', 'web', ...at(fake)]);
    await eventually(() => fake.calls.length === 1);
    running.send('SIGINT');
    expect(await running.code).toBe(130);
    expect(running.err()).toBe('');
  });

  test('signal, send, publish, enable, rm, rpc', async () => {
    const worker: Answer = ({ name }) => ({ worker: makeView({ name: String(name) }) });
    const fake = await serve({
      signal: worker,
      send: worker,
      publish: worker,
      enable: worker,
      remove: () => ({ removed: true }),
      'daemon.info': () => ({ pid: 5 }),
    });
    expect((await cli(['signal', 'web', 'hup', ...at(fake)])).out).toBe('web: SIGHUP sent\n');
    expect((await cli(['send', 'web', '-x', ...at(fake)])).code).toBe(2);
    expect((await cli(['send', ...at(fake), '--', 'web', '-x'])).code).toBe(0);
    expect((await cli(['publish', 'a=1', 'b=x', ...at(fake)], { env: { WORKERD_NAME: 'me' } })).code).toBe(0);
    expect((await cli(['publish', 'a=1', ...at(fake)])).code).toBe(2);
    expect((await cli(['enable', 'web', ...at(fake)])).out).toBe('web: enabled; it starts with the daemon\n');
    expect((await cli(['rm', 'web', '--keep-logs', ...at(fake)])).out).toBe('web: removed\n');
    expect((await cli(['rpc', 'daemon.info', ...at(fake)])).out).toBe('{"pid":5}\n');
    expect(fake.calls.map(({ method, params }) => [method, params])).toEqual([
      ['signal', { name: 'web', signal: 'SIGHUP' }],
      ['send', { name: 'web', text: '-x' }],
      ['publish', { name: 'me', state: { a: 1, b: 'x' } }],
      ['enable', { name: 'web' }],
      ['remove', { name: 'web', keepLogs: true }],
      ['daemon.info', {}],
    ]);
  });
});

describe('status', () => {
  const workers = [stopped({ name: 'old' }), makeView({ name: 'web' })];

  test('all: 0, as a table, as names, as one line of JSON', async () => {
    const fake = await serve({ status: statusOf(() => workers) });
    expect((await cli(at(fake))).out).toMatch(/^NAME +PHASE .*\nold +stopped .*\nweb +running .*\n$/);
    expect((await cli(['ls', '-q', ...at(fake)])).out).toBe('old\nweb\n');
    expect(await cli(['ps', '--json', ...at(fake)])).toEqual({
      code: 0,
      out: `${JSON.stringify({ workers, next: null })}\n`,
      err: '',
    });
  });

  test('one that is not running: 3; an unknown one: 4; both: 4', async () => {
    const fake = await serve({ status: statusOf(() => workers) });
    expect((await cli(['status', 'web', ...at(fake)])).code).toBe(0);
    expect((await cli(['status', 'old', ...at(fake)])).code).toBe(3);
    expect((await cli(['status', 'nope', ...at(fake)])).code).toBe(4);
    const both = await cli(['status', 'nope', 'old', ...at(fake)]);
    expect(both.code).toBe(4);
    expect(both.out).toContain('old');
  });

  test('pages are joined', async () => {
    const status: Answer = ({ after }) =>
      after === 'old' ? { workers: [workers[1]], next: null } : { workers: [workers[0]], next: 'old' };
    const fake = await serve({ status });
    const { out } = await cli(['status', '--json', ...at(fake)]);
    expect(JSON.parse(out)).toEqual({ workers, next: null });
  });

  test('none: a hint on standard error', async () => {
    const fake = await serve({ status: statusOf(() => []) });
    const { out, err, code } = await cli(['status', ...at(fake)]);
    expect({ out, code }).toEqual({ out: '', code: 0 });
    expect(err).toContain('workerctl start');
  });

  test('one in full, with its last lines', async () => {
    const fake = await serve({ status: statusOf(() => workers), 'logs.locate': () => ({ files: [] }) });
    writeLog(fake.home, 'web', 1, [[1000, 'o', 'hello\nworld\n']]);
    const { out } = await cli(['status', 'web', ...at(fake)]);
    expect(out).toMatch(/^● web running since .*\n/);
    expect(out).toContain('hello\nworld\n');
  });
});

describe('logs', () => {
  const two = (): Answer => statusOf(() => [makeView({ name: 'a' }), makeView({ name: 'b' })]);

  test('plain, with times, by stream, as CRI, as JSON, raw', async () => {
    const fake = await serve({ status: two() });
    writeLog(fake.home, 'a', 1, [
      [1000, 'o', 'one\ntw'],
      [2000, 'e', 'bad\x1b[2J\n'],
      [3000, 'o', 'o\nend'],
    ]);
    const logs = async (...flags: string[]) => (await cli(['logs', 'a', ...flags, ...at(fake)])).out;
    expect(await logs()).toBe('one\nbad\\u{1b}[2J\ntwo\nend\n');
    expect(await logs('-n', '1')).toBe('end\n');
    expect(await logs('-t', '--stderr')).toBe('1970-01-01T00:00:02.000Z bad\\u{1b}[2J\n');
    expect(await logs('--grep', '^t')).toBe('two\n');
    expect(await logs('--since', '1970-01-01T00:00:02.500Z')).toContain('end\n');
    expect(await logs('--format', 'cri', '-n', '1')).toBe('1970-01-01T00:00:03.000000000Z stdout P end\n');
    expect(JSON.parse(await logs('--json', '-n', '1'))).toEqual({
      name: 'a',
      generation: 1,
      at: '1970-01-01T00:00:03.000Z',
      stream: 'stdout',
      line: 'end',
      partial: true,
    });
    expect(await logs('--raw', '-n', 'all')).toBe('one\ntwbad\x1b[2J\no\nend');
    expect((await cli(['logs', 'a', '--run', '9', ...at(fake)])).code).toBe(2);
    expect((await cli(['logs', 'a', '--grep', '(', ...at(fake)])).err).toContain('is not a regular expression');
  });

  test('of a run that has none: whether that is being started or gone', async () => {
    const fake = await serve({ status: statusOf(() => [makeView({ name: 'a', generation: 2, phase: 'starting' })]) });
    const logs = (...flags: string[]) => cli(['logs', 'a', ...flags, ...at(fake)]);
    expect(await logs()).toEqual({ code: 0, out: '', err: "workerctl: a's run 2 has no log: it is being started\n" });
    expect((await logs('--run', '1')).err).toMatch(
      /^workerctl: a's run 1 has no log: it did not start, or .*deleted\n$/,
    );
  });

  test('several by time, each with its name', async () => {
    const fake = await serve({ status: two() });
    writeLog(fake.home, 'a', 1, [
      [1000, 'o', '1\n'],
      [3000, 'o', '3\n'],
    ]);
    writeLog(fake.home, 'b', 1, [[2000, 'o', '2\n']]);
    expect((await cli(['logs', ...at(fake)])).out).toBe('a | 1\nb | 2\na | 3\n');
  });

  test('-f goes on through restarts until the worker is gone', async () => {
    let tell: (event: object) => void = () => {};
    const event = { subscription: 's', cursor: '1', at: '2026-01-02T03:04:05.678Z', name: 'a' };
    const watch: Answer = (_params, session) => {
      tell = (rest) => session.notify('event', { ...event, ...rest });
      tell({ type: 'snapshot', generation: 1, worker: makeView({ name: 'a' }) });
      return { subscription: 's', cursor: '0' };
    };
    const fake = await serve({ status: two(), watch });
    writeLog(fake.home, 'a', 1, [[1000, 'o', 'first\nun']]);
    const running = startCli(['logs', '-f', 'a', ...at(fake)]);
    await eventually(() => running.out() === 'first\n');
    writeLog(fake.home, 'a', 1, [
      [1000, 'o', 'first\nun'],
      [1500, 'o', 'finished\n'],
    ]);
    await eventually(() => running.out() === 'first\nunfinished\n');
    writeLog(fake.home, 'a', 2, [[2000, 'o', 'second\n']]);
    tell({ type: 'phase', generation: 2, worker: makeView({ name: 'a', generation: 2 }) });
    await eventually(() => running.out().endsWith('second\n'));
    expect(running.out()).toBe('first\nunfinished\nsecond\n');
    expect(running.err()).toBe('workerctl: a: run 2 started\n');
    tell({ type: 'removed', generation: 2 });
    expect(await running.code).toBe(0);
  });

  test('-f ends with 130 on Ctrl-C, quietly where its reader left', async () => {
    const watch: Answer = () => ({ subscription: 's', cursor: '0' });
    const fake = await serve({ status: two(), watch });
    writeLog(fake.home, 'a', 1, [[1000, 'o', '1\n2\n3\n']]);
    const running = startCli(['logs', '-f', 'a', ...at(fake)]);
    await eventually(() => running.out().endsWith('3\n'));
    running.send('SIGINT');
    expect(await running.code).toBe(130);
    expect(await cli(['logs', '-f', 'a', ...at(fake)], { brokenAfter: 0 })).toEqual({ code: 0, out: '', err: '' });
  });
});

describe('run', () => {
  const running = (ended: Promise<unknown>, extra: Readonly<Record<string, Answer>> = {}) =>
    serve({
      status: statusOf(() => []),
      start: () => ({ outcome: 'started', worker: makeView({ name: 'job', generation: 1 }) }),
      wait: () => ended,
      watch: () => ({ subscription: 's', cursor: '0' }),
      remove: () => ({ removed: true }),
      ...extra,
    });

  test('passes on both streams byte for byte, and the exit code; --rm forgets it', async () => {
    const end = Promise.withResolvers<unknown>();
    const fake = await running(end.promise);
    const process = startCli(['run', '--rm', ...at(fake), '--', 'make']);
    await eventually(() => fake.calls.some(({ method }) => method === 'wait'));
    writeLog(fake.home, 'job', 1, [
      [1, 'o', 'out\x1b[2J'],
      [2, 'e', 'err\n'],
      [3, 'o', '\n'],
    ]);
    await eventually(() => process.out() === 'out\x1b[2J\n');
    end.resolve({ worker: stopped({ name: 'job', phase: 'failed', exit: { kind: 'code', code: 9 } }) });
    expect(await process.code).toBe(9);
    expect(process.err()).toBe('err\n');
    expect(fake.calls.at(-1)).toEqual({ method: 'remove', params: { name: 'job' } });
    expect(fake.calls.find(({ method }) => method === 'start')?.params['wait']).toBe('none');
  });

  test('Ctrl-C stops, a second one kills, then 130', async () => {
    const end = Promise.withResolvers<unknown>();
    const fake = await running(end.promise, { stop: () => ({ outcome: 'stopped', worker: stopped() }) });
    const process = startCli(['run', ...at(fake), '--', 'make']);
    const stops = () => fake.calls.filter(({ method }) => method === 'stop').map(({ params }) => params);
    await eventually(() => fake.calls.some(({ method }) => method === 'wait'));
    process.send('SIGINT');
    await eventually(() => stops().length === 1);
    process.send('SIGINT');
    await eventually(() => stops().length === 2);
    expect(stops()).toEqual([
      { name: 'job', force: false },
      { name: 'job', force: true },
    ]);
    end.resolve({ worker: stopped({ name: 'job' }) });
    expect(await process.code).toBe(130);
  });

  test('on a terminal it says after a while what a second one does', async () => {
    const end = Promise.withResolvers<unknown>();
    const fake = await running(end.promise, { stop: () => new Promise(() => {}) });
    const process = startCli(['run', ...at(fake), '--', 'make'], { columns: 80 });
    await eventually(() => fake.calls.some(({ method }) => method === 'wait'));
    process.send('SIGINT');
    await eventually(() => process.err() === 'workerctl: job was asked to stop; Ctrl-C again kills it\n');
    end.resolve({ worker: stopped({ name: 'job' }) });
    expect(await process.code).toBe(130);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s while the start is on its way: what comes of it is stopped', async (signal, code) => {
    const begun = Promise.withResolvers<unknown>();
    const end = Promise.withResolvers<unknown>();
    const stop = () => {
      end.resolve({ worker: stopped({ name: 'job' }) });
      return { outcome: 'stopped', worker: stopped() };
    };
    const fake = await running(end.promise, { start: () => begun.promise, stop });
    const process = startCli(['run', ...at(fake), '--', 'make']);
    await eventually(() => fake.calls.some(({ method }) => method === 'start'));
    process.send(signal);
    begun.resolve({ outcome: 'started', worker: makeView({ name: 'job', generation: 1 }) });
    expect(await process.code).toBe(code);
    expect(fake.calls.filter(({ method }) => method === 'stop').map(({ params }) => params)).toEqual([
      { name: 'job', force: false },
    ]);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('a second %s before there is an answer gives up', async (signal, code) => {
    const fake = await running(new Promise(() => {}), { start: () => new Promise(() => {}) });
    const process = startCli(['run', ...at(fake), '--', 'make']);
    await eventually(() => fake.calls.some(({ method }) => method === 'start'));
    process.send(signal);
    process.send(signal);
    expect(await process.code).toBe(code);
  });

  test('a program that is missing: said, and 127', async () => {
    const exit = { kind: 'spawn-failed', errno: 'ENOENT', message: 'no such program: nope' } as const;
    const fake = await running(Promise.resolve({ worker: stopped({ name: 'job', phase: 'failed', exit }) }));
    const { code, err } = await cli(['run', ...at(fake), '--', 'nope']);
    expect(code).toBe(127);
    expect(err).toBe('workerctl: job: could not start: no such program: nope (ENOENT)\n');
  });
});

describe('watch', () => {
  const events = [
    { type: 'snapshot', generation: 1, worker: makeView() },
    { type: 'state', generation: 1, state: { n: 1 }, stateRevision: 1 },
    { type: 'phase', generation: 1, worker: stopped({ phase: 'exited', state: { n: 1 } }) },
  ];
  const watch: Answer = (_params, session) => {
    for (const event of events)
      session.notify('event', {
        subscription: 's',
        cursor: '1',
        at: '2026-01-02T03:04:05.678Z',
        name: 'web',
        ...event,
      });
    return { subscription: 's', cursor: '0' };
  };

  test('a line per change; ends with 0 when all that were named have ended', async () => {
    const fake = await serve({ watch, status: statusOf(() => [makeView()]) });
    const { code, out } = await cli(['watch', 'web', ...at(fake)]);
    expect(code).toBe(0);
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^\S+ +/, '')),
    ).toEqual([
      'web  running  pid 4711',
      'web  n=1',
      expect.stringMatching(/^web {2}exited {2}exit code 0, .* · n=1$/) as string,
    ]);
  });

  test('--json: the events as they came', async () => {
    const fake = await serve({ watch, status: statusOf(() => [makeView()]) });
    const { out } = await cli(['watch', 'web', '--json', ...at(fake)]);
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { type: string }).type),
    ).toEqual(['snapshot', 'state', 'phase']);
  });

  test('on a terminal: redrawn in place, and left as it was', async () => {
    const fake = await serve({ watch, status: statusOf(() => [makeView()]) });
    const { out } = await cli(['watch', 'web', ...at(fake)], { columns: 80 });
    expect(out.startsWith('\x1b[?25l\x1b[?7l')).toBe(true);
    expect(out.endsWith('\x1b[?7h\x1b[?25h')).toBe(true);
    expect(out).toContain('exited');
  });

  test('without names until Ctrl-C', async () => {
    const fake = await serve({ watch, status: statusOf(() => []) });
    const running = startCli(['watch', ...at(fake)]);
    await eventually(() => running.out().includes('exited'));
    running.send('SIGINT');
    expect(await running.code).toBe(130);
  });

  test('an unknown name: 4', async () => {
    const fake = await serve({ watch: () => ({ subscription: 's', cursor: '0' }), status: statusOf(() => []) });
    const { code, err } = await cli(['watch', 'nope', ...at(fake)]);
    expect(code).toBe(4);
    expect(err).toContain('no worker named "nope"');
  });
});
