/**
 * H06, H07, H08, H13: what a definition may carry: prototype's members, strange environments, arguments that a shell
 * would take apart, and too much of it. W21, W22, W15: what a worker finds around it, and does with its descriptors.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, WorkerdError } from '../../../src/shared/client.ts';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import { command, shell } from '../../fixtures/workers/behaviours.ts';
import { Canary } from '../../helpers/canary.ts';
import { eventually } from '../../helpers/eventually.ts';
import { type Answer, RawClient } from '../../helpers/fake-server.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';
import { noFaults } from '../../helpers/vitals.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(async () => {
  noFaults(box.home);
  await box[Symbol.asyncDispose]();
});

const outputOf = async (name: string, spec: SpecInput): Promise<string> => {
  await client.call('start', { name, spec, wait: 'running' });
  await client.call('wait', { name, for: 'exit' });
  const directory = join(box.home, 'logs', name);
  return readdirSync(directory)
    .filter((file) => file.endsWith('.log'))
    .map((file) => readFileSync(join(directory, file), 'utf8'))
    .join('');
};
const errorOf = async (answer: Promise<unknown>): Promise<WorkerdError> => {
  const error: unknown = await answer.then(
    () => new Error('there is no error'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof WorkerdError)) throw error;
  return error;
};
/** Kept from merging by hand: only text has such members. */
const withText = async (method: string, params: string): Promise<Answer> => {
  const raw = new RawClient(box.socket);
  raw.send(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}\n`);
  const [answer] = (await raw.received(1)) as readonly Answer[];
  raw.socket.destroy();
  return answer as Answer;
};

describe('H06: __proto__ and constructor', () => {
  const members = '"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}}';
  it('in params, env and state are members like any other or refused, and nothing is different afterwards', async () => {
    const canary = new Canary(box.socket);
    const spec = `{"kind":"command","command":["sh","-c","echo \\"$WORKERD_PARAMS\\"; exec sleep 1000"],"params":{${members}}}`;
    expect((await withText('start', `{"name":"p","spec":${spec}}`)).error).toMatchObject({
      code: -32602,
      data: { member: 'spec.params.__proto__' },
    });
    await client.call('start', { name: 'q', spec: command('sleep', '1000') });
    const published = await withText('publish', `{"name":"q","state":{${members},"own":1}}`);
    expect(published.error).toBeUndefined();
    const { state } = (published.result as { worker: { state: Record<string, unknown> } }).worker;
    expect(Object.keys(state).sort()).toEqual(['__proto__', 'constructor', 'own']);
    expect(Object.hasOwn(state, 'own') && state['polluted'] === undefined).toBe(true);
    const env = await withText(
      'define',
      `{"name":"e","spec":{"kind":"command","command":["true"],"env":{"__proto__":"x","constructor":"y"}}}`,
    );
    expect(env.error).toMatchObject({ code: -32602, data: { member: 'spec.env.__proto__' } });
    for (const text of [`{${members}}`, `{"name":"q",${members}}`]) {
      for (const method of ['status', 'stop', 'hello', 'watch', 'wait']) {
        expect((await withText(method, text)).error?.code ?? -32602).toBe(-32602);
      }
    }
    for (const name of ['polluted', 'constructor', 'toString', 'valueOf']) {
      expect((await errorOf(client.call('stop', { name }))).code).toBe('worker.not-found');
    }
    const calls = Array.from({ length: 1000 }, () => client.call('status', { names: ['q'] }));
    for (const { workers } of await Promise.all(calls)) {
      expect(workers).toMatchObject([{ name: 'q', phase: 'running', enabled: false, spec: { params: {}, env: {} } }]);
    }
    await canary.unhurt(250);
  });
});

describe('H07: environments', () => {
  it.each([
    ['a name with =', { 'A=B': 'x' }],
    ['an empty name', { '': 'x' }],
    ['a name with NUL', { 'A\0B': 'x' }],
    ['a value with NUL', { A: 'x\0y' }],
  ])('%s is refused, with its member', async (_what, env) => {
    for (const params of [
      { name: 'h07', spec: { ...command('true'), env } },
      { name: 'h07', spec: command('true'), caller: { env, cwd: '/', umask: 0o22 } },
    ]) {
      const error = await errorOf(client.call('define', params));
      expect(error).toMatchObject({ code: 'usage', rpcCode: -32602 });
      expect(String(error.data['member'])).toMatch(/^(spec|caller)\.env/);
    }
    expect((await client.call('status', { names: ['h07*'] })).workers).toEqual([]);
  });

  it('what steers Node or the loader reaches that worker, and nobody else', async () => {
    const spec = {
      ...shell('env; sleep 0.2'),
      env: { LD_PRELOAD: '/no/such.so', NODE_OPTIONS: '--no-such-option', NODE_PATH: '/evil' },
    };
    const own = await outputOf('steered', spec);
    expect(own).toContain('LD_PRELOAD=/no/such.so');
    expect(own).toContain('NODE_OPTIONS=--no-such-option');
    const other = await outputOf('unsteered', shell('env'));
    expect(other).not.toMatch(/LD_PRELOAD|NODE_OPTIONS|NODE_PATH/);
    // A process worker is Node: such an option is its own failure, and the daemon's restart is not touched by it.
    await box.workerd(['restart']);
    client = await box.client();
    expect((await client.call('daemon.info', {})).home).toBe(box.home);
  });
});

it('H08: argv arrives byte for byte', async () => {
  const words = [
    ';',
    '$(id)',
    '`id`',
    'a\nb',
    '*',
    '?',
    '[a-z]',
    '~',
    "'",
    '"',
    '\\',
    '',
    ' ',
    '--',
    '-n',
    '\t',
    '&&',
    '>x',
    'ü',
    '\x1b[31m',
    '$HOME',
    '{}',
    '%s',
    '!',
  ];
  const text = await outputOf('argv', command('sh', '-c', 'printf "%s\\0" "$0" "$@"', ...words));
  expect(text.split('\0').slice(0, -1)).toEqual(words);
  const viaCli = await box.workerctl(['run', '--rm', '--', 'sh', '-c', 'printf "%s\\0" "$0" "$@"', ...words]);
  expect(viaCli.stdout.split('\0').slice(0, -1)).toEqual(words);
  expect(readdirSync(box.directory)).not.toContain('x');
});

describe('H13: too much', () => {
  it('10,000 arguments are taken', async () => {
    const text = await outputOf(
      'many',
      command('sh', '-c', 'echo $#', 'sh', ...Array.from({ length: 10_000 }, () => 'x')),
    );
    expect(text).toBe('10000\n');
  });

  const long = 'x'.repeat(120 * 1024);
  const tooMuch: readonly (readonly [string, object])[] = [
    ['600 KiB of environment', { spec: { ...command('true'), env: { A: long, B: long, C: long, D: long, E: long } } }],
    ['600 KiB of arguments', { spec: command('true', long, long, long, long, long) }],
    [
      'each within its bound, in sum too much',
      { spec: { ...command('true', long, long, long), env: { A: long, B: long } } },
    ],
    [
      'with what the caller has',
      { spec: command('true', long, long, long), caller: { env: { A: long, B: long }, cwd: '/', umask: 0 } },
    ],
    [
      'params that double when they are put into text',
      {
        spec: {
          ...command('true', long, long, long),
          params: { a: '\\'.repeat(50_000) },
          env: { A: 'x'.repeat(60_000) },
        },
      },
    ],
    [
      'a thread’s, which is told twice',
      {
        spec: {
          kind: 'thread',
          module: '/no/such.mjs',
          env: { A: `${'\\'.repeat(100 * 1024)}`, B: `${'"'.repeat(100 * 1024)}`, C: `${'"'.repeat(100 * 1024)}` },
        },
      },
    ],
  ];
  it.each(tooMuch)('%s: refused with the limit, and the shim is never told', async (_what, params) => {
    const error = await errorOf(client.call('start', { name: 'h13', wait: 'running', ...params } as never));
    expect(error).toMatchObject({ code: 'usage', rpcCode: -32602 });
    expect(error.message).toContain('512 KiB');
    expect((await client.call('status', { names: ['h13*'] })).workers).toEqual([]);
  });

  it('a patch and a text that outgrow a frame on their way to the shim are refused, and cost nobody the shim', async () => {
    await client.call('start', { name: 'big', spec: { ...command('sleep', '1000'), stdin: true } });
    const before = readFileSync(join(box.home, 'workerd.log'), 'utf8');
    const numbers = `[${Array.from({ length: 150_000 }, () => '1e20').join(',')}]`;
    const patch = await withText('publish', `{"name":"big","state":{"a":${numbers}}}`);
    expect(patch.error?.data).toMatchObject({ code: 'limit.exceeded' });
    const text = await withText('send', `{"name":"big","text":"${'x'.repeat(1024 * 1024 - 80)}"}`);
    expect(text.error?.data).toMatchObject({ code: 'limit.exceeded' });
    expect((await client.call('publish', { name: 'big', state: { a: 1 } })).worker.state).toEqual({ a: 1 });
    expect(readFileSync(join(box.home, 'workerd.log'), 'utf8').slice(before.length)).not.toContain(
      'lost the connection',
    );
  });

  it('1 MB of environment around the CLI: exit code 2, with the member that is too long', async () => {
    const env = box.env(
      Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`BIG${index}`, 'x'.repeat(100_000)])),
    );
    const child = spawn(process.execPath, [join(dist, 'workerctl.cjs'), 'start', '-n', 'h13', '--', 'true'], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8');
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/caller\.env|512 KiB/) });
    expect(await box.workerctl(['start', '--clean-env', '-n', 'h13', '--', 'true'])).toMatchObject({ code: 0 });
  });
});

describe('what a worker finds', () => {
  const listing = "ls /proc/self/fd | sed 's/^/fd /'; env";
  it.each([
    'command',
    'process',
  ] as const)('W21: a %s has no more than descriptors 0 to 4, and nothing internal in its environment', async (kind) => {
    const env = {
      NOTIFY_SOCKET: '/x',
      LISTEN_FDS: '1',
      LISTEN_PID: '1',
      LISTEN_FDNAMES: 'x',
      WATCHDOG_USEC: '1',
      WATCHDOG_PID: '1',
      NODE_CHANNEL_FD: '3',
      NODE_CHANNEL_SERIALIZATION_MODE: 'json',
    };
    const name = `finds-${kind}`;
    const script = join(box.directory, 'finds.mjs');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(
      script,
      `import { spawnSync } from 'node:child_process'; import { readdirSync, readlinkSync } from 'node:fs';
export default () => { for (const fd of readdirSync('/proc/self/fd')) { let to = ''; try { to = readlinkSync('/proc/self/fd/' + fd); } catch {} if (/fifo|run\\/|\\/dev\\/null/.test(to)) console.log('fd ' + fd); if (/socket|workerd|registry|lock/.test(to)) console.log('strange ' + to); } for (const [key, value] of Object.entries(process.env)) console.log(key + '=' + value); };`,
    );
    const spec: SpecInput = kind === 'command' ? { ...shell(listing), env } : { kind, module: script, env };
    await client.call('start', {
      name,
      spec,
      wait: 'running',
      caller: { env: { PATH: process.env['PATH'] ?? '', ...env }, cwd: '/', umask: 0o22 },
    });
    await client.call('wait', { name, for: 'exit' });
    const text = await box.workerctl(['logs', name, '-n', 'all']);
    expect(text.stdout).not.toMatch(/^(NOTIFY_SOCKET|LISTEN_|WATCHDOG_|NODE_CHANNEL)/m);
    expect(text.stdout).not.toMatch(/^strange/m);
    const own = text.stdout
      .split('\n')
      .filter((line) => line.startsWith('WORKERD_'))
      .map((line) => line.split('=')[0]);
    // A module has its channel from its host, and need not know of it.
    const channel = kind === 'command' ? ['WORKERD_DOWN_FD', 'WORKERD_FD'] : [];
    const words = ['GENERATION', 'HOME', 'NAME', 'PARAMS', 'RUN', 'SOCKET'];
    expect(own.sort()).toEqual([...channel, ...words.map((word) => `WORKERD_${word}`)].sort());
    const fds = text.stdout
      .split('\n')
      .flatMap((line) => /^fd (\d+)$/.exec(line)?.[1] ?? [])
      .map(Number);
    // The one that lists them has the directory open; Node has more of its own, which lead nowhere of ours.
    if (kind === 'command') expect(fds.filter((fd) => fd > 4).length).toBeLessThanOrEqual(1);
    expect(fds.filter((fd) => fd <= 4).sort()).toEqual([0, 1, 2, 3, 4]);
  });

  it('W22: standard input is at its end at once, whatever started it', async () => {
    expect(await outputOf('reads', shell('cat; echo "end $?"'))).toBe('end 0\n');
    const viaCli = await box.workerctl(['run', '--rm', '--', 'sh', '-c', 'cat; echo end'], {
      input: 'not for the worker\n',
    });
    expect(viaCli.stdout).toBe('end\n');
  });

  it('W15: one that closes its stdout and stderr lives on, and costs the shim nothing', async () => {
    await client.call('start', { name: 'closed', spec: shell('exec >&- 2>&-; exec sleep 1000') });
    const shim = box.processes().find(({ command: line }) => line.includes('shim.cjs'))?.pid ?? 0;
    const ticks = () =>
      readFileSync(`/proc/${shim}/stat`, 'latin1')
        .split(') ')[1]
        ?.split(' ')
        .slice(11, 13)
        .reduce((sum, each) => sum + Number(each), 0) ?? 0;
    const canary = new Canary(box.socket);
    await eventually(async () => (await box.status('closed')).phase === 'running');
    await canary.heard(5);
    const before = ticks();
    const began = performance.now();
    await canary.heard(30);
    const share = ((ticks() - before) * 10) / (performance.now() - began);
    expect(share).toBeLessThan(0.05);
    expect(await box.status('closed')).toMatchObject({ phase: 'running', exit: null });
    await canary.unhurt(250);
  });
});
