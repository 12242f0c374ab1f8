/** C09, C08, C02: the CLI where its streams are closed, gone or strange, and where somebody types Ctrl-C. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../helpers/eventually.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';
import { hasPython, onTerminal } from '../../helpers/terminal.ts';
import { descriptorsAreBack, descriptorsOf } from '../../helpers/vitals.ts';

let box: Sandbox;
let daemon: number;
/** Descriptors of the daemon without a client. */
let idle: number;
beforeAll(async () => {
  box = new Sandbox();
  daemon = await box.startDaemon();
  await box.workerctl(['start', '-n', 'up', '--', 'sh', '-c', 'seq 1000; exec sleep 1000']);
  await box.workerctl(['run', '-n', 'over', '--', 'sh', '-c', 'echo ünïcode; exit 7']);
  await eventually(async () => {
    idle = descriptorsOf(daemon);
    await sleep(100);
    return descriptorsOf(daemon) === idle;
  });
  await box.workerctl(['publish', 'up', 'progress={"done":1,"total":3,"unit":"files"}', 'text=äöü']);
});
afterAll(() => box[Symbol.asyncDispose]());

const cli = [process.execPath, join(dist, 'workerctl.cjs')];
/** Run by a shell that closes what it is told to. */
const inShell = (redirections: string, args: readonly string[], env: Record<string, string> = {}) =>
  new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    const child = spawn('sh', ['-c', `exec "$@" ${redirections}`, 'sh', ...cli, ...args], {
      env: box.env(env),
      cwd: box.directory,
    });
    let stdout = '';
    let stderr = '';
    child.stdin.on('error', () => {});
    child.stdin.end();
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8');
    });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`not ended: ${args.join(' ')} ${redirections}\n${stdout}\n${stderr}`));
    }, 30_000);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });

const verbs: readonly (readonly [args: readonly string[], code: number])[] = [
  [['status'], 0],
  [['status', 'up'], 0],
  [['status', 'over'], 3],
  [['status', 'nobody'], 4],
  [['status', '--json'], 0],
  [['watch', 'over'], 0],
  [['watch', 'over', '--json'], 0],
  [['logs', 'up'], 0],
  [['logs', 'over', '--raw'], 0],
  [['start', 'up'], 0],
  [['stop', 'over'], 0],
  [['wait', 'over'], 7],
  [['wait', 'up', '--timeout', '1ms'], 124],
  [['history', 'over'], 0],
  [['no-such-verb'], 2],
  [['--help'], 0],
];
const everywhere = async (look: (args: readonly string[]) => Promise<{ code: number | null; text: string }>) => {
  const all = verbs.map(async ([args, code]) => {
    const seen = await look(args);
    expect({ args, code: seen.code, text: seen.code === code ? '' : seen.text }).toEqual({ args, code, text: '' });
    expect(seen.text, args.join(' ')).not.toMatch(/^\s+at .*:\d+:\d+|node:internal|a fault of workerctl/m);
  });
  await Promise.all(all);
};

describe('C09: the exit codes are the same, and nothing crashes', () => {
  it.each([
    '<&-',
    '>&-',
    '2>&-',
    '<&- >&- 2>&-',
    '>/dev/full',
    '</dev/null >/dev/null',
  ])('with %s', async (redirections) => {
    await everywhere(async (args) => {
      const { code, stdout, stderr } = await inShell(redirections, args);
      return {
        code: redirections === '>/dev/full' && code === 125 ? (verbs.find(([each]) => each === args)?.[1] ?? 0) : code,
        text: stdout + stderr,
      };
    });
  });

  it.each([
    [{ TERM: 'dumb' }],
    [{ LC_ALL: 'C' }],
    [{ TERM: '', LANG: '', COLUMNS: '1' }],
    [{ COLUMNS: 'x', LINES: '-1', NO_COLOR: '' }],
  ])('with %j', async (env) => {
    await everywhere(async (args) => {
      const { code, stdout, stderr } = await inShell('', args, env);
      return { code, text: stdout + stderr };
    });
  });

  const strange: readonly Record<string, string>[] = [
    { COLUMNS: '1' },
    { COLUMNS: '5', LC_ALL: 'C' },
    { TERM: 'dumb' },
    { PTY_COLUMNS: '0' },
  ];
  it.skipIf(!hasPython).each(strange)('on a terminal with %j', async (env) => {
    await everywhere(async (args) => {
      const { shown, finished } = onTerminal(box, args, env);
      const code = await finished;
      return { code, text: shown().toString('utf8') };
    });
  });

  it.skipIf(!hasPython)('a locale without Unicode gets plain signs', async () => {
    const { shown, finished } = onTerminal(box, ['status', 'up'], { LC_ALL: 'C' });
    await finished;
    const ours = shown().toString('utf8').replaceAll('äöü', '');
    expect(ours).toMatch(/^[\x00-\x7f]*$/);
  });
});

describe.skipIf(!hasPython)('C08: Ctrl-C', () => {
  it.each([
    [['watch'], 'up'],
    [['logs', '-f', 'up'], '1000'],
    [['wait', 'up'], null],
  ] as const)('in %j: 130, and the worker lives on', async (args, sign) => {
    const before = await box.status('up');
    await eventually(() => descriptorsOf(daemon) === idle, { what: 'nobody else is connected' });
    const descriptors = descriptorsOf(daemon);
    const { child, shown, finished } = onTerminal(box, args);
    if (sign === null) await eventually(() => descriptorsOf(daemon) > idle, { what: 'it is connected' });
    else await eventually(() => shown().includes(sign));
    child.kill('SIGINT');
    expect(await finished).toBe(130);
    expect(await box.status('up')).toMatchObject({ pid: before.pid, phase: 'running', generation: before.generation });
    await descriptorsAreBack(daemon, descriptors);
  });
});

it('C02: `logs -f w | head -1` ends with head, without a word, and leaves nothing in the daemon', async () => {
  const descriptors = descriptorsOf(daemon);
  await box.workerctl(['start', '-n', 'talks', '--', 'sh', '-c', 'while :; do echo tick; sleep 0.02; done']);
  const line = cli.map((word) => `'${word}'`).join(' ');
  for (const verb of ['logs -f talks', 'logs -f talks --raw', 'logs -f talks --json']) {
    const { stdout, stderr } = spawnSync('bash', ['-c', `set -o pipefail; ${line} ${verb} | head -1; echo "$?"`], {
      env: box.env(),
      encoding: 'utf8',
      timeout: 5000,
    });
    expect(stdout.trim().split('\n').at(-1)).toBe('0');
    expect(stderr).toBe('');
  }
  await box.workerctl(['rm', '--force', 'talks']);
  await descriptorsAreBack(daemon, descriptors);
});

it('C03: 100 followers and watchers that are killed take all that was theirs with them', async () => {
  // Of the client before it, one may be there still: counted with these, they would never be so many.
  await eventually(() => descriptorsOf(daemon) === idle, { what: 'nobody else is connected' });
  const descriptors = idle;
  const children = Array.from({ length: 100 }, (_, index) => {
    const verb = index % 2 === 0 ? ['rpc', 'wait', '{"name":"up","for":"exit"}'] : ['watch', '--forever', 'up'];
    return spawn(cli[0] ?? '', [cli[1] ?? '', ...verb], { env: box.env(), stdio: 'ignore' });
  });
  await eventually(() => descriptorsOf(daemon) >= descriptors + children.length, {
    withinMs: 50_000,
    what: 'all follow',
  });
  for (const child of children) child.kill('SIGKILL');
  await descriptorsAreBack(daemon, descriptors, 25_000);
});
