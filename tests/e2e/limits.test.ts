/** The soft resource limits of whoever defined a worker hold for it, whatever those of the daemon are. */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../../src/shared/client.ts';
import { boundsOf } from '../../src/shared/resource-limits.ts';
import { eventually } from '../helpers/eventually.ts';
import { dist, fixtures, Sandbox } from '../helpers/sandbox.ts';

const isRoot = process.getuid?.() === 0;
const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0;

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

/** In a shell that sets its limits, and becomes workerctl: the program itself, as a user runs it. */
const under = (limits: string, args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', `${limits}; exec "$@"`, 'sh', join(dist, 'workerctl.cjs'), ...args],
    {
      env: box.env({ PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` }),
      cwd: box.directory,
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  return { code: status, stdout, stderr };
};
const show = 'ulimit -S -n; ulimit -S -t; ulimit -S -s; env | grep OPEN_FILES || :';
const linesOf = async (name: string, generation: number): Promise<readonly string[]> =>
  eventually(async () => {
    const { entries } = await client.call('logs', { name, generation });
    return entries.length >= 3 && entries.map(({ line }) => line);
  });
const spec = { kind: 'command', command: ['sh', '-c', show] } as const;

describe.runIf(hasPrlimit)('of a command', () => {
  test('run: those of the shell that called, however it called', () => {
    const limits = 'ulimit -S -n 321; ulimit -S -t 7000; ulimit -S -s 4096';
    expect(under(limits, ['run', '--rm', '--', 'sh', '-c', show])).toEqual({
      code: 0,
      stdout: '321\n7000\n4096\n',
      stderr: '',
    });
  });

  test('start: each worker has those of its own definition; a redefinition by another caller has that one’s', async () => {
    const start = (limits: string) =>
      under(limits, ['start', '-n', 'defined', '--restart', 'no', '--', 'sh', '-c', show]).code;
    expect(start('ulimit -S -n 322; ulimit -S -t 7001')).toBe(0);
    expect((await linesOf('defined', 1)).slice(0, 2)).toEqual(['322', '7001']);
    // By name: the definition is as it was, whoever asks.
    expect(under('ulimit -S -n 400', ['restart', 'defined']).code).toBe(0);
    expect((await linesOf('defined', 2)).slice(0, 2)).toEqual(['322', '7001']);
    await client.call('wait', { name: 'defined', for: 'exit' });
    expect(start('ulimit -S -n 323')).toBe(0);
    const [files, cpu] = await linesOf('defined', 3);
    expect(files).toBe('323');
    expect(cpu).not.toBe('7001');
  });

  test('over RPC: what is named holds, as far as the hard limits allow', async () => {
    const caller = { env: { PATH: '/usr/bin:/bin' }, cwd: '/', umask: 0o22 };
    const limits = { nofile: 2 ** 40, cpu: 7002, stack: 4096 * 1024 };
    await client.call('start', { name: 'over-rpc', spec, caller: { ...caller, limits } });
    const [files, ...rest] = await linesOf('over-rpc', 1);
    const hard = spawnSync('sh', ['-c', 'ulimit -H -n'], { encoding: 'utf8' }).stdout.trim();
    expect([files, ...rest]).toEqual([hard, '7002', '4096']);
  });

  test('nobody named any: those that the daemon was started with', async () => {
    await client.call('start', { name: 'unnamed', spec: { ...spec, inheritEnv: false } });
    const plain = spawnSync('sh', ['-c', show], { encoding: 'utf8' }).stdout.trim().split('\n');
    expect((await linesOf('unnamed', 1)).slice(1)).toEqual(plain.slice(1));
  });

  test.runIf(isRoot)('--user: they hold for that user, too', () => {
    const { code, stdout } = under('ulimit -S -n 324', [
      ...['run', '--rm', '--user', 'nobody', '-C', '/', '--', 'sh', '-c', 'ulimit -S -n; id -un'],
    ]);
    expect([code, stdout]).toEqual([0, '324\nnobody\n']);
  });

  test('they outlive the daemon, and a module as a process has them', async () => {
    const module = join(fixtures, 'waits-for-the-signal.mjs#sleeping');
    expect(under('ulimit -S -t 7003', ['start', module, '-n', 'module', '--process']).code).toBe(0);
    const pid = (await client.call('status', { names: ['module'] })).workers[0]?.pid ?? 0;
    expect(boundsOf(pid).cpu?.soft).toBe(7003);
    under('ulimit -S -n 325', ['start', '-n', 'outlives', '--', 'sh', '-c', show]);
    await client.call('wait', { name: 'outlives', for: 'exit' });
    expect((await box.workerd(['restart'])).code).toBe(0);
    await client.call('restart', { name: 'outlives' });
    expect((await linesOf('outlives', 2))[0]).toBe('325');
  });
});

test.each<[string, unknown, string]>([
  ['no object', 5, 'an object of limits, such as nofile'],
  ['a limit that there is not', { files: 5 }, 'files'],
  ['no number', { nofile: 'many' }, 'caller.limits.nofile: must be a whole number, at least 0 or null'],
  ['less than none', { nofile: -1 }, 'caller.limits.nofile: must be a whole number, at least 0 or null'],
])('refused in words: %s', async (_what, limits, words) => {
  const caller = { env: {}, cwd: '/', umask: 0, limits };
  const started = client.call('start', { name: 'refused', spec, caller } as never);
  await expect(started).rejects.toThrow(words);
});
