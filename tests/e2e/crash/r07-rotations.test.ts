/**
 * R07, L05: a log that rotates all the time is followed by three, one of whom is slow: each line once and in order, or it
 * is said what is missing. What lies on disk stays within size × files, over all runs of the worker.
 */
import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { command, shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { rounds, roundsTimeoutMs } from '../../helpers/rounds.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';

const mib = 1024 * 1024;
const bytesIn = (directory: string): number =>
  readdirSync(directory).reduce((sum, name) => {
    return sum + (statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0);
  }, 0);

/** Lines in bursts, so many a second about. */
const numbered = (lines: number): readonly [string, ...string[]] => [
  process.execPath,
  '-e',
  `let n = 0; const step = () => { let text = ''; for (let i = 0; i < 200 && n < ${lines}; i += 1) text += \`line \${++n} \${'x'.repeat(200)}\\n\`;
   require('node:fs').writeSync(1, text); if (n < ${lines}) setTimeout(step, 18); }; step();`,
];

test(
  'R07: every rotation is gone through, also by one that reads slowly',
  async () => {
    const lines = rounds(20_000, 100_000);
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    // So many rotations about, and none of the files is dropped.
    const rotations = rounds(250, 900);
    await client.call('define', {
      name: 'w',
      spec: { ...command(...numbered(lines)), log: { maxBytes: Math.ceil((lines * 216) / rotations), files: 1000 } },
    });
    const file = box.spawn('workerctl', ['logs', '-f', 'w', '--run', '1', '-n', 'all'], { withinMs: roundsTimeoutMs });
    const slow = spawn(process.execPath, [join(dist, 'workerctl.cjs'), 'logs', '-f', 'w', '--run', '1', '-n', 'all'], {
      env: box.env(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const byRpc: string[] = [];
    const reading = (async () => {
      for await (const { line } of client.logs({ name: 'w', generation: 1, cursor: '1:0', follow: true }))
        byRpc.push(line);
    })();
    reading.catch(() => {});
    await client.call('start', { name: 'w' });
    let slowly = '';
    for await (const chunk of slow.stdout) {
      slowly += String(chunk);
      await sleep(20);
    }
    const expected = Array.from({ length: lines }, (_, index) => `line ${index + 1} ${'x'.repeat(200)}`);
    expect((await file.finished).stdout.split('\n').slice(0, -1)).toEqual(expected);
    expect(slowly.split('\n').slice(0, -1)).toEqual(expected);
    await reading;
    expect(byRpc).toEqual(expected);
    expect(readdirSync(join(box.home, 'logs', 'w')).length).toBeGreaterThan(rotations * 1.9);
  },
  roundsTimeoutMs,
);

test('R07: one whose segments are dropped before it reads them is told how much it missed', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  const log = { maxBytes: 64 * 1024, files: 2 };
  const spec = { ...shell('echo first; read go; seq 2000000; echo last'), stdin: true, log };
  await client.call('start', { name: 'w', spec });
  // Raw: what is cut in the middle of a line is given as it is, not ended where the gap begins.
  const words = ['logs', '-f', 'w', '--run', '1', '-n', 'all', '--raw'];
  const child = spawn(process.execPath, [join(dist, 'workerctl.cjs'), ...words], {
    env: box.env(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const output = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let text = (await output.next()).value?.toString() ?? '';
  expect(text).toBe('first\n');
  child.kill('SIGSTOP');
  await client.call('send', { name: 'w', text: 'go' });
  await client.call('wait', { name: 'w', for: 'exit', timeoutMs: 60_000 });
  child.kill('SIGCONT');
  for (let next = await output.next(); next.done !== true; next = await output.next()) text += next.value.toString();
  await eventually(() => said !== '');
  const [, missing] = /^workerctl: w: (\d+) bytes of run 1 are missing here: rotated away/.exec(said) ?? [];
  const written =
    'first\n'.length +
    Array.from({ length: 7 }, (_, index) => index + 1).reduce((sum, digits) => {
      const numbers = Math.min(2_000_000, 10 ** digits - 1) - (10 ** (digits - 1) - 1);
      return sum + numbers * (digits + 1);
    }, 0) +
    'last\n'.length;
  expect(text.length + Number(missing)).toBe(written);
  expect(text.endsWith('\nlast\n')).toBe(true);
});

test('L05: what lies on disk keeps within size × files, during a flood and over many runs', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  const log = { maxBytes: 256 * 1024, files: 4 };
  const directory = join(box.home, 'logs', 'w');
  let most = 0;
  await client.call('start', { name: 'w', spec: { ...shell('seq 1500000 | sed s/^/some-words-/'), log } });
  const ended = client.call('wait', { name: 'w', for: 'exit', timeoutMs: 60_000 });
  let over = false;
  ended.finally(() => {
    over = true;
  });
  while (!over) {
    most = Math.max(most, bytesIn(directory));
    await sleep(5);
  }
  for (let run = 2; run <= 30; run += 1) {
    await client.call('start', { name: 'w', spec: { ...shell('seq 20000'), log } });
    await client.call('wait', { name: 'w', for: 'exit', timeoutMs: 60_000 });
    most = Math.max(most, bytesIn(directory));
  }
  expect(most).toBeLessThanOrEqual(mib * 1.1);
  expect(bytesIn(directory)).toBeLessThanOrEqual(mib);
  expect((await box.workerctl(['logs', 'w', '-n', '1'])).stdout).toBe('20000\n');
  expect((await box.workerctl(['logs', 'w', '-n', '1', '--run', '29'])).stdout).toBe('20000\n');
  const dropped = await box.workerctl(['logs', 'w', '--run', '1']);
  expect(dropped).toMatchObject({ code: 0, stdout: '' });
  expect(dropped.stderr).toMatch(/^workerctl: w's run 1 has no log/);
}, 60_000);
