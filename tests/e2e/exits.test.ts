/** Exits as they were: every code and signal, what could not start, what is refused at the gate. */

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, WorkerdError } from '../../src/shared/client.ts';
import type { SpecInput, StatusResult } from '../../src/shared/protocol.ts';
import type { Exit, Kind, WorkerView } from '../../src/shared/worker.ts';
import { command, module, part, shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { fixtures, Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const signalNames = Object.entries(constants.signals);
const nameOfSignal = (number: number): string =>
  signalNames.find(([name, each]) => each === number && name !== 'SIGIOT')?.[0] ?? `signal ${number}`;

interface Ending {
  readonly name: string;
  readonly text: string;
  readonly exit: Exit;
  readonly phase: WorkerView['phase'];
}
const endings: readonly Ending[] = [
  ...Array.from(
    { length: 256 },
    (_, code): Ending => ({
      name: `code-${code}`,
      text: `exit ${code}`,
      exit: { kind: 'code', code },
      phase: code === 0 ? 'exited' : 'failed',
    }),
  ),
  ...Array.from(
    { length: 15 },
    (_, index): Ending => ({
      name: `signal-${index + 1}`,
      text: `ulimit -c 0; kill -${index + 1} $$; sleep 60`,
      exit: { kind: 'signal', signal: nameOfSignal(index + 1) },
      phase: 'failed',
    }),
  ),
];

describe('W01: every exit code and every signal from 1 to 15', () => {
  const announced = new Map<string, Exit | null>();
  const waited = new Map<string, WorkerView>();
  beforeAll(async () => {
    const watcher = await box.client();
    const over = new AbortController();
    const watching = (async () => {
      for await (const event of watcher.watch({}, { signal: over.signal })) {
        if (event.type !== 'phase' || !['exited', 'failed'].includes(event.worker.phase)) continue;
        expect(announced.has(event.name)).toBe(false);
        announced.set(event.name, event.worker.exit);
        if (announced.size === endings.length) over.abort();
      }
    })();
    await Promise.all(
      endings.map(async ({ name, text }) => {
        await client.call('start', { name, spec: shell(text), wait: 'running', timeoutMs: 120_000 });
        waited.set(name, (await client.call('wait', { name, for: 'exit' })).worker);
      }),
    );
    await watching;
  }, 120_000);

  test('is what the wait is answered with', () => {
    for (const { name, exit, phase } of endings) {
      expect({ name, exit: waited.get(name)?.exit, phase: waited.get(name)?.phase }).toEqual({ name, exit, phase });
    }
  });

  test('is what the event said, once', () => {
    for (const { name, exit } of endings) expect({ name, exit: announced.get(name) }).toEqual({ name, exit });
  });

  test('is what status and history show', async () => {
    const seen = new Map<string, WorkerView>();
    for (let after: string | null = ''; after !== null; ) {
      const page: StatusResult = await client.call('status', after === '' ? {} : { after });
      for (const worker of page.workers) seen.set(worker.name, worker);
      after = page.next;
    }
    for (const { name, exit } of endings) {
      expect({ name, exit: seen.get(name)?.exit }).toEqual({ name, exit });
      const { runs } = await client.call('history', { name });
      expect(runs.map((run) => run.exit)).toEqual([exit]);
    }
  });

  test('is passed on by wait: the code, and 128+n for signal n', async () => {
    const asked = ['code-0', 'code-1', 'code-3', 'code-126', 'code-127', 'code-128', 'code-137', 'code-255'];
    for (const name of [...asked, 'signal-1', 'signal-2', 'signal-6', 'signal-9', 'signal-15']) {
      const number = Number(name.split('-')[1]);
      const { code } = await box.workerctl(['wait', name]);
      expect({ name, code }).toEqual({ name, code: name.startsWith('code') ? number : 128 + number });
    }
    expect((await box.workerctl(['wait', 'code-3', 'code-7', 'code-0'])).code).toBe(7);
  });
});

describe('run passes the exit on', () => {
  const ends: readonly (readonly [string, readonly string[], number])[] = [
    ['a code', ['--', 'sh', '-c', 'exit 42'], 42],
    ['255', ['--', 'sh', '-c', 'exit 255'], 255],
    ['a signal', ['--', 'sh', '-c', 'kill -KILL $$'], 137],
    ['a missing program', ['--', 'no-such-program-anywhere'], 127],
    ['a missing program by its path', ['--', '/no/such/program'], 127],
    ['a program that cannot be executed', ['--', '/etc/passwd'], 126],
    ['a missing directory', ['-C', '/no/such/directory', '--', 'true'], 126],
  ];
  test.each(ends)('of %s', async (_what, args, code) => {
    const { code: seen, stdout } = await box.workerctl(['run', '--rm', ...args]);
    expect(seen).toBe(code);
    expect(stdout).toBe('');
  });

  test.each(['thread', 'process'] as const)('of a module as a %s', async (kind) => {
    const run = (file: string, ...more: string[]) => box.workerctl(['run', '--rm', `--${kind}`, ...more, file]);
    const file = (spec: SpecInput) => ('module' in spec ? `${spec.module}#${spec.export}` : '');
    expect((await run(file(module(kind, 'fails-when-called.mjs', 'throws')))).code).toBe(1);
    expect((await run(file(module(kind, 'counts-and-returns.ts')))).code).toBe(0);
    expect((await run(file(part(kind, 'exits')), '-p', 'code=9')).code).toBe(9);
  });

  test('of a thread that was ended by force: 137, whoever waits', async () => {
    const file = join(fixtures, 'busy-for-ever.mjs');
    const running = box.spawn('workerctl', ['run', '--thread', '-n', 'terminated', file]);
    await eventually(() => client.call('wait', { name: 'terminated', for: 'running' }));
    const waiting = box.spawn('workerctl', ['wait', 'terminated']);
    await client.call('stop', { name: 'terminated', force: true });
    expect((await running.finished).code).toBe(137);
    expect((await waiting.finished).code).toBe(137);
  });

  test('of a thread that was lost with its host: 125', async () => {
    const { worker } = await client.call('start', { name: 'lost', spec: part('thread', 'counts') });
    const waiting = box.spawn('workerctl', ['wait', 'lost', '--json']);
    process.kill(worker.pid ?? 0, 'SIGKILL');
    const { code, stdout } = await waiting.finished;
    expect(code).toBe(125);
    const exit = { kind: 'lost', reason: 'thread host died' };
    expect(JSON.parse(stdout)).toMatchObject({ worker: { phase: 'failed', exit } });
  });
});

describe('W02: what cannot be started', () => {
  const canExecute = () => {
    const path = join(box.directory, 'not-executable');
    writeFileSync(path, 'echo never\n');
    chmodSync(path, 0o644);
    return path;
  };
  const cwd = '/no/such/directory';
  const counts = (kind: Kind) => () => ({ ...part(kind, 'counts'), cwd });
  const badInterpreter = () => {
    const path = join(box.directory, 'bad-interpreter');
    writeFileSync(path, '#!/no/such/interpreter\n', { mode: 0o755 });
    return path;
  };
  const cases: readonly (readonly [string, () => SpecInput, string, () => string])[] = [
    ['a script without its interpreter', () => command(badInterpreter()), 'ENOENT', () => 'bad-interpreter'],
    ['a process in a missing directory', counts('process'), 'ENOENT', () => cwd],
    ['a thread in a missing directory', counts('thread'), 'ENOENT', () => cwd],
    ['a missing program', () => command('/no/such/program', 'argument'), 'ENOENT', () => '/no/such/program'],
    ['a name that is not on PATH', () => command('no-such-program'), 'ENOENT', () => 'no-such-program'],
    ['a file that is not executable', () => command(canExecute()), 'EACCES', () => 'not-executable'],
    [
      'a missing directory',
      () => ({ ...command('true'), cwd: '/no/such/directory' }),
      'ENOENT',
      () => '/no/such/directory',
    ],
    ['a directory that is a file', () => ({ ...command('true'), cwd: '/etc/passwd' }), 'ENOTDIR', () => '/etc/passwd'],
  ];
  test.each(
    cases,
  )('%s: the error names errno and path, and nothing is listed as running', async (what, spec, errno, path) => {
    const name = what.replaceAll(' ', '-');
    const began = performance.now();
    const error: unknown = await client.call('start', { name, spec: spec() }).catch((reason: unknown) => reason);
    expect(performance.now() - began).toBeLessThan(5000);
    if (!(error instanceof WorkerdError)) throw new Error(`no error but ${String(error)}`);
    expect(error.code).toBe('worker.start-failed');
    expect(error.message).toContain(errno);
    expect(error.message).toContain(path());
    const [worker] = (await client.call('status', { names: [name] })).workers;
    expect(worker).toMatchObject({ phase: 'failed', pid: null, exit: { kind: 'spawn-failed', errno } });
    const started = await box.workerctl(['start', name]);
    expect(started.code).toBe(1);
    expect(started.stderr).toContain(errno);
    expect(started.stderr).toContain(path());
  });
});

test('W02: threads of several hosts that cannot be started all say why', async () => {
  const names = Array.from({ length: 6 }, (_, index) => `nowhere-${index}`);
  await Promise.allSettled(
    names.map((name, index) => {
      const spec = { ...part('thread', 'counts'), cwd: `/no/such/directory-${index % 3}` };
      return client.call('start', { name, spec });
    }),
  );
  for (const [index, name] of names.entries()) {
    const [worker] = (await client.call('status', { names: [name] })).workers;
    expect(worker).toMatchObject({ phase: 'failed', exit: { kind: 'spawn-failed', errno: 'ENOENT' } });
    expect(JSON.stringify(worker?.exit)).toContain(`/no/such/directory-${index % 3}`);
  }
});

describe('W02: strings that no program can be given', () => {
  const long = 'x'.repeat(128 * 1024);
  const base = { kind: 'command' as const, command: ['true'] };
  const module = { kind: 'process' as const, module: '/tmp/x.mjs' };
  const refused: readonly (readonly [string, SpecInput, string])[] = [
    ['NUL in an argument', { ...base, command: ['echo', 'a\0b'] }, 'spec.command.1'],
    ['NUL in a variable', { ...base, env: { KEY: 'a\0b' } }, 'spec.env.KEY'],
    ['NUL in the directory', { ...base, cwd: '/tmp\0' }, 'spec.cwd'],
    ['NUL in the path of a module', { ...module, module: '/tmp/\0.mjs' }, 'spec.module'],
    ['NUL in the name of an export', { ...module, export: 'a\0' }, 'spec.export'],
    ['an argument of 128 KiB', { ...base, command: ['echo', long] }, 'spec.command.1'],
    ['a variable of 128 KiB', { ...base, env: { KEY: long } }, 'spec.env.KEY'],
  ];
  test.each(
    refused,
  )('%s is refused with the name of the member, and nothing is recorded', async (what, spec, member) => {
    const name = what.replaceAll(' ', '-');
    const error: unknown = await client.call('start', { name, spec }).catch((reason: unknown) => reason);
    if (!(error instanceof WorkerdError)) throw new Error(`no error but ${String(error)}`);
    expect(error.rpcCode).toBe(-32602);
    expect(error.data['member']).toBe(member);
    expect(error.message).toContain(member);
    expect((await client.call('status', { names: [`${name}*`] })).workers).toEqual([]);
  });

  test('the same from the CLI is exit code 2', async () => {
    const directory = join(box.directory, 'env-files');
    mkdirSync(directory);
    for (const [name, value] of [
      ['nul', 'a\0b'],
      ['long', long],
    ] as const) {
      const file = join(directory, name);
      writeFileSync(file, `KEY=${value}\n`);
      const { code, stderr } = await box.workerctl(['start', '-n', name, '--env-file', file, '--', 'true']);
      expect({ name, code }).toEqual({ name, code: 2 });
      expect(stderr).toContain('KEY');
      expect((await box.workerctl(['status', name])).code).toBe(4);
    }
    const params = JSON.stringify({ name: 'nul', spec: { ...base, command: ['echo', 'a\0b'] } });
    const { code, stderr } = await box.workerctl(['rpc', 'start', params]);
    expect(code).toBe(2);
    expect(stderr).toContain('spec.command.1');
  });
});
