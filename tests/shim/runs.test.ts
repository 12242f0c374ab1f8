/** The shim with real processes: how runs start, speak and end. */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Connection, eventually, fixtures, ShimHome } from './helper.ts';

let home: ShimHome;
let daemon: Connection;
beforeEach(async () => {
  home = new ShimHome();
  await home.start();
  daemon = await home.daemon();
});
afterEach(async () => {
  await home.remove();
});

const sh = (script: string): readonly string[] => ['/bin/sh', '-c', script];
const node = (file: string): readonly string[] => [process.execPath, join(fixtures, file)];

describe('endings', () => {
  test('are the code or the signal they were', async () => {
    for (const code of [0, 1, 77, 127, 128, 143, 255])
      await daemon.ask('spawn', home.order(`c${code}`, sh(`exit ${code}`)));
    for (const signal of ['SIGHUP', 'SIGTERM', 'SIGKILL', 'SIGSEGV'] as const) {
      await daemon.ask('spawn', home.order(signal, sh(`kill -${constants.signals[signal]} $$; sleep 5`)));
    }
    for (const code of [0, 1, 77, 127, 128, 143, 255]) {
      expect((await daemon.fact(`c${code}`, 'exited')).exit).toEqual({ kind: 'code', code });
    }
    for (const signal of ['SIGHUP', 'SIGTERM', 'SIGKILL', 'SIGSEGV']) {
      expect((await daemon.fact(signal, 'exited')).exit).toEqual({ kind: 'signal', signal });
    }
    expect(daemon.of('c77').map(({ kind }) => kind)).toEqual(['spawned', 'running', 'exited']);
    const seqs = daemon.facts.map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
  });

  test('come after everything that was written, byte for byte', async () => {
    const script = 'head -c 5000000 /dev/urandom | tee "$COPY"; echo \'{"state":{"last":1}}\' >&3; exit 9';
    const order = home.order('bytes', sh(script));
    const copy = join(home.home, 'copy');
    await daemon.ask('spawn', { ...order, env: { ...order.env, COPY: copy } });
    const exited = await daemon.fact('bytes', 'exited', 20_000);
    expect(exited).toMatchObject({
      exit: { kind: 'code', code: 9 },
      state: { last: 1 },
      stateRevision: 1,
      byShim: false,
    });
    const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(hash(home.log('bytes'))).toBe(hash(readFileSync(copy)));
  });

  test('do not wait for a grandchild that holds the pipes; what it writes later is logged', async () => {
    const go = join(home.home, 'go');
    const script = `(while [ ! -e '${go}' ]; do sleep 0.02; done; echo later; echo gone >&2) & exit 7`;
    await daemon.ask('spawn', home.order('leaky', sh(script)));
    expect((await daemon.fact('leaky', 'exited')).exit).toEqual({ kind: 'code', code: 7 });
    writeFileSync(go, '');
    await eventually('the late output', () => home.log('leaky').toString() === 'later\ngone\n');
    await daemon.ask('release', { run: 'leaky' });
    await eventually('its FIFOs to be gone', () => home.runDirectories().length === 0);
  });
});

describe('a start that fails', () => {
  test.each<[string, readonly string[], object, string, RegExp]>([
    ['program is missing', ['no-such-program'], {}, 'ENOENT', /^command not found: no-such-program$/],
    ['path is missing', ['/no/such/program'], {}, 'ENOENT', /\/no\/such\/program/],
    ['program is a directory', ['/etc'], {}, 'EACCES', /not a regular file/],
    ['cwd is missing', ['true'], { cwd: '/no/such/cwd' }, 'ENOENT', /\/no\/such\/cwd/],
    ['cwd is a file', ['true'], { cwd: '/etc/passwd' }, 'ENOTDIR', /\/etc\/passwd/],
    ['argument holds a NUL', ['true', 'a\0b'], {}, 'EINVAL', /NUL/],
    ['argument is too long', ['true', 'x'.repeat(200_000)], {}, 'E2BIG', /too long/],
    ['user is unknown', ['true'], { user: 'no-such-user-x' }, 'EINVAL', /no user no-such-user-x/],
    ['program is missing, with a limit', ['no-such-program'], { openFiles: 256 }, 'ENOENT', /no-such-program/],
  ])('says so: %s', async (_what, argv, more, errno, message) => {
    await daemon.ask('spawn', home.order('bad', argv, more));
    const { exit } = await daemon.fact('bad', 'exited');
    expect(exit).toMatchObject({ kind: 'spawn-failed', errno, message: expect.stringMatching(message) });
    expect(daemon.of('bad')).toHaveLength(1);
    await daemon.ask('spawn', home.order('good', ['true']));
    expect((await daemon.fact('good', 'exited')).exit).toEqual({ kind: 'code', code: 0 });
  });

  test('names a file that may not be executed, and an interpreter that is missing', async () => {
    const plain = join(home.home, 'plain');
    const script = join(home.home, 'script');
    writeFileSync(plain, 'true\n', { mode: 0o600 });
    writeFileSync(script, '#!/no/such/interpreter -x\n');
    chmodSync(script, 0o700);
    await daemon.ask('spawn', home.order('plain', [plain]));
    await daemon.ask('spawn', home.order('script', ['./script'], { cwd: home.home, openFiles: 256 }));
    expect((await daemon.fact('plain', 'exited')).exit).toMatchObject({
      errno: 'EACCES',
      message: expect.stringContaining(plain),
    });
    expect((await daemon.fact('script', 'exited')).exit).toMatchObject({
      errno: 'ENOENT',
      message: expect.stringContaining('/no/such/interpreter'),
    });
  });
});

describe('surroundings', () => {
  test('are the ones ordered, and nothing of the shim', async () => {
    const show =
      'umask; pwd; ulimit -n; for f in /proc/$$/fd/*; do [ -L $f ] && printf "%s " $(basename $f); done; cat; echo; /usr/bin/env; echo > /dev/stdout';
    const order = home.order('w', sh(show), { cwd: '/tmp', umask: 0o027, openFiles: 200 });
    await daemon.ask('spawn', { ...order, env: { ...order.env, 'odd.name-x': 'kept' } });
    await daemon.fact('w', 'exited');
    const [umask, cwd, openFiles, descriptors, ...env] = home.log('w').toString().split('\n');
    expect([umask, cwd, openFiles]).toEqual(['0027', '/tmp', '200']);
    expect(descriptors?.trim().split(' ')).toEqual(['0', '1', '2', '3', '4']);
    expect(env).toContain('WORKERD_RUN=w');
    expect(env.join('\n')).not.toMatch(/NODE_|LISTEN_|NOTIFY/);
  });

  test('keep variables that a shell would drop', async () => {
    const order = home.order('w', ['/usr/bin/env'], { openFiles: 200 });
    await daemon.ask('spawn', { ...order, env: { 'odd.name-x': 'kept', PATH: '/bin' } });
    await daemon.fact('w', 'exited');
    expect(home.log('w').toString().split('\n').filter(Boolean).sort()).toEqual(['PATH=/bin', 'odd.name-x=kept']);
  });

  test.runIf(process.geteuid?.() === 0)('as another user, with its groups, and /dev/stdout', async () => {
    await daemon.ask(
      'spawn',
      home.order('w', sh('id -u; id -g; id -G; echo opened > /dev/stdout'), { user: 'nobody' }),
    );
    expect((await daemon.fact('w', 'exited')).exit).toEqual({ kind: 'code', code: 0 });
    const [uid, gid, groups, opened] = home.log('w').toString().split('\n');
    expect([uid, groups, opened]).toEqual(['65534', gid, 'opened']);
    const hidden = join(home.home, 'hidden');
    mkdirSync(hidden, { mode: 0o700 });
    writeFileSync(join(hidden, 'program'), '#!/bin/sh\n', { mode: 0o700 });
    await daemon.ask('spawn', home.order('x', [join(hidden, 'program')], { user: 'nobody' }));
    expect((await daemon.fact('x', 'exited')).exit).toMatchObject({ kind: 'spawn-failed', errno: 'EACCES' });
  });

  test('stdin is at its end, or a pipe that is asked for', async () => {
    await daemon.ask('spawn', home.order('none', sh('cat; echo end')));
    await daemon.fact('none', 'exited');
    expect(home.log('none').toString()).toBe('end\n');
    await daemon.ask('spawn', home.order('some', sh('read a; read b; echo "$b $a"'), { stdin: true }));
    await daemon.fact('some', 'running');
    expect(await daemon.ask('input', { run: 'some', text: 'one\n' })).toEqual({ delivered: true });
    await daemon.ask('input', { run: 'some', text: 'two\n' });
    await daemon.fact('some', 'exited');
    expect(home.log('some').toString()).toBe('two one\n');
  });
});

describe('the control channel', () => {
  test('carries state, progress and readiness from a shell, and survives rubbish', async () => {
    const say = [
      '{"state":{"a":1,"b":null,"__proto__":{"polluted":1}}}',
      'rubbish',
      '{"unknown":1}',
      '{"state":[1]}',
      '{"progress":{"done":3,"total":10}}',
      '{"progress":{"done":"x"}}',
      '{"ready":true}',
      '{"ready":true}',
      '{"exit":{"kind":"returned"}}',
      '{"state":{"a":2}}',
    ];
    const script = `${say.map((line) => `echo '${line}' >&3`).join('\n')}\nprintf '{"state":{"c":3}}' >&3`;
    await daemon.ask('spawn', home.order('w', sh(script)));
    const exited = await daemon.fact('w', 'exited');
    expect(exited.exit).toEqual({ kind: 'code', code: 0 });
    expect(JSON.stringify(exited.state)).toBe(
      '{"a":2,"b":null,"__proto__":{"polluted":1},"progress":{"done":3,"total":10,"unit":null},"c":3}',
    );
    expect(exited.stateRevision).toBe(4);
    expect(daemon.of('w').map(({ kind }) => kind)).toEqual(['spawned', 'running', 'ready', 'exited']);
    await eventually('the remark', () => daemon.remarks.length > 0);
    expect(daemon.remarks).toHaveLength(1);
    expect((await daemon.ask('list', {})).runs[0]).toMatchObject({ run: 'w', exited: true, stateRevision: 4 });
  });

  test('refuses a state that is too large, in words the worker sees; patches from outside reach it', async () => {
    const big = `{"state":{"big":"${'x'.repeat(70_000)}"}}`;
    writeFileSync(join(home.home, 'big'), `${big}\n`);
    await daemon.ask(
      'spawn',
      home.order('w', sh(`cat ${join(home.home, 'big')} >&3; read e <&4; echo "$e"; read p <&4; echo "$p"`)),
    );
    await eventually('the refusal', () => home.log('w').toString().includes('at most 65536'));
    expect(await daemon.ask('publish', { run: 'w', patch: { x: 1 } })).toEqual({ state: { x: 1 }, revision: 1 });
    const exited = await daemon.fact('w', 'exited');
    expect(exited.state).toEqual({ x: 1 });
    expect(home.log('w').toString()).toContain('{"state":{"x":1}}\n');
    await expect(daemon.ask('publish', { run: 'w', patch: { y: 1 } })).rejects.toMatchObject({
      code: 'worker.not-running',
    });
  });

  test('floods cost nobody else anything, and the latest state arrives', async () => {
    await daemon.ask(
      'spawn',
      home.order(
        'flood',
        sh('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "{\\"state\\":{\\"n\\":$i}}" >&3; done; read x <&4'),
      ),
    );
    await eventually('the last one', () => daemon.states.at(-1)?.state['n'] === 20_000, 20_000);
    expect(daemon.states.length).toBeLessThan(20_000);
    await daemon.ask('down', { run: 'flood', message: { message: 'end' } });
    expect((await daemon.fact('flood', 'exited')).stateRevision).toBe(20_000);
  });

  test('what nobody reads is refused at last, and hurts nobody', async () => {
    await daemon.ask('spawn', home.order('deaf', sh('read x < /dev/null; sleep 30')));
    await daemon.fact('deaf', 'running');
    const message = { message: 'x'.repeat(500_000) };
    const answers: boolean[] = [];
    for (let index = 0; index < 4; index += 1)
      answers.push((await daemon.ask('down', { run: 'deaf', message })).delivered);
    expect(answers[0]).toBe(true);
    expect(answers.at(-1)).toBe(false);
    expect(await daemon.ask('signal', { run: 'deaf', signal: 'SIGTERM', to: 'group' })).toEqual({ delivered: true });
    expect((await daemon.fact('deaf', 'exited')).exit).toEqual({ kind: 'signal', signal: 'SIGTERM' });
    expect(await daemon.ask('signal', { run: 'deaf', signal: 'SIGTERM', to: 'group' })).toEqual({ delivered: false });
  });

  test("a module's own ending counts where its process ended well", async () => {
    const host = (end: string) => sh(`echo '{"ready":true}' >&3; echo '{"running":true}' >&3; ${end}`);
    const said = `echo '{"exit":{"kind":"returned"},"result":{"n":1}}' >&3`;
    const threw = `echo '{"exit":{"kind":"error","name":"TypeError","message":"no","stack":null}}' >&3`;
    await daemon.ask('spawn', home.order('returned', host(said), { kind: 'module' }));
    await daemon.ask('spawn', home.order('threw', host(`${threw}; exit 1`), { kind: 'module' }));
    await daemon.ask('spawn', home.order('then-died', host(`${said}; exit 5`), { kind: 'module' }));
    expect(await daemon.fact('returned', 'exited')).toMatchObject({ exit: { kind: 'returned' }, result: { n: 1 } });
    expect((await daemon.fact('threw', 'exited')).exit).toEqual({
      kind: 'error',
      name: 'TypeError',
      message: 'no',
      stack: null,
    });
    expect(await daemon.fact('then-died', 'exited')).toMatchObject({ exit: { kind: 'code', code: 5 }, result: null });
    expect(daemon.of('returned').map(({ kind }) => kind)).toEqual(['spawned', 'running', 'ready', 'exited']);
  });
});

describe('threads', () => {
  const thread = (run: string, launch: object) =>
    home.order(run, [], { kind: 'thread', host: 'host', launch: launch as never });

  test('that end in one breath of their host have each its own end, whatever they had still to say', async () => {
    await daemon.ask('spawn', home.order('host', node('speaks-host-protocol.mjs'), { kind: 'host' }));
    const runs = Array.from({ length: 8 }, (_, index) => `t${index}`);
    for (const run of runs.slice(1)) await daemon.ask('spawn', thread(run, {}));
    const [when, done] = [join(home.home, 'when'), join(home.home, 'done')];
    const exit = { kind: 'code', code: 7 };
    await daemon.ask('spawn', thread('t0', { allExit: { exit, when, done } }));
    for (const run of runs) await daemon.fact(run, 'running');
    // Stopped, the shim finds all of it there at once, the host's lines first.
    process.kill(home.pid, 'SIGSTOP');
    writeFileSync(when, '');
    await eventually('the host has written it all', () => existsSync(done));
    process.kill(home.pid, 'SIGCONT');
    for (const run of runs) expect((await daemon.fact(run, 'exited')).exit).toEqual(exit);
    for (const run of runs) expect(home.log(run).length).toBe(10_000);
  });

  test('live in their host: their output, state and ending are theirs, and its death is told of each', async () => {
    await daemon.ask('spawn', home.order('host', node('speaks-host-protocol.mjs'), { kind: 'host' }));
    const lines = Array.from({ length: 200 }, (_, index) => `line ${index}`);
    const exit = { kind: 'error', name: 'Error', message: 'boom', stack: null };
    await daemon.ask('spawn', thread('t1', { say: lines, up: { state: { n: 1 } }, exit }));
    await daemon.ask('spawn', thread('t2', { say: ['lives'] }));
    await daemon.ask('spawn', thread('t3', { up: { exit: { kind: 'returned' }, result: 3 } }));
    const ended = await daemon.fact('t1', 'exited');
    expect(ended).toMatchObject({ exit, state: { n: 1 } });
    expect(home.log('t1').toString()).toBe(`${lines.join('\n')}\n`);
    const { pid } = await daemon.fact('host', 'spawned');
    expect(await daemon.fact('t2', 'spawned')).toMatchObject({ pid });
    expect(await daemon.fact('t2', 'running')).toMatchObject({ threadId: 2 });
    await daemon.fact('t3', 'running');
    expect(await daemon.ask('signal', { run: 't2', signal: 'SIGKILL', to: 'group' })).toEqual({ delivered: false });
    await daemon.ask('signal', { run: 'host', signal: 'SIGKILL', to: 'group' });
    await daemon.fact('host', 'exited');
    expect((await daemon.fact('t2', 'exited')).exit).toEqual({ kind: 'lost', reason: 'thread host died' });
    expect(await daemon.fact('t3', 'exited')).toMatchObject({ exit: { kind: 'returned' }, result: 3 });
    expect(daemon.facts.at(-1)).toMatchObject({ run: 'host', kind: 'exited' });
    await daemon.ask('spawn', thread('t4', {}));
    expect((await daemon.fact('t4', 'exited')).exit).toEqual({ kind: 'lost', reason: 'thread host died' });
  });
});

test('nothing is left of a hundred runs: no descriptor, no FIFO, no directory', async () => {
  await daemon.ask('spawn', home.order('first', ['true']));
  await daemon.fact('first', 'exited');
  await daemon.ask('release', { run: 'first' });
  await eventually('quiet', () => home.runDirectories().length === 0);
  const before = home.descriptors().length;
  const runs = Array.from({ length: 100 }, (_, index) => `r${index}`);
  await Promise.all(runs.map((run) => daemon.ask('spawn', home.order(run, sh(`echo ${run}`), { stdin: true }))));
  for (const run of runs) expect((await daemon.fact(run, 'exited', 20_000)).exit).toEqual({ kind: 'code', code: 0 });
  for (const run of runs) expect(home.log(run).toString()).toBe(`${run}\n`);
  await Promise.all(runs.map((run) => daemon.ask('release', { run })));
  await eventually(
    'everything to be gone',
    () => home.runDirectories().length === 0 && home.descriptors().length === before,
  );
  expect((await daemon.ask('list', {})).runs).toEqual([]);
});

test('a worker that closes its outputs lives, and costs nothing', async () => {
  await daemon.ask('spawn', home.order('closed', sh('exec >&- 2>&- 3>&- 4>&-; sleep 30 < /dev/null')));
  await daemon.fact('closed', 'running');
  const cpu = () => readFileSync(`/proc/${home.pid}/stat`, 'latin1').split(' ').slice(13, 15).map(Number);
  const before = cpu();
  // The span it is measured over, not a wait for something.
  await new Promise((next) => setTimeout(next, 500));
  const spent = cpu().reduce((sum, ticks, index) => sum + ticks - (before[index] ?? 0), 0);
  expect(spent).toBeLessThan(10);
  await daemon.ask('signal', { run: 'closed', signal: 'SIGKILL', to: 'group' });
  expect((await daemon.fact('closed', 'exited')).exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
});
