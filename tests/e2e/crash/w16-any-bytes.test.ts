/**
 * W08, W16, W17, W18: whatever bytes a worker writes, however it writes them and whatever becomes of the daemon
 * meanwhile, `logs --raw --stdout` gives them back as they were, and the shim's memory stays what it was.
 */
import { spawn } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { rounds, roundsTimeoutMs } from '../../helpers/rounds.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';

const mib = 1024 * 1024;
const log = { maxBytes: 2048 * mib, files: 2 };

/** Of what a command writes to stdout, read as it comes: the sum of the whole, and how many bytes those were. */
const sumOf = async (box: Sandbox, args: readonly string[]): Promise<{ sum: string; bytes: number }> => {
  const child = spawn(process.execPath, [join(dist, 'workerctl.cjs'), ...args], {
    env: box.env(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of child.stdout) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { sum: hash.digest('hex'), bytes };
};

/** AES in counter mode: as good as random, quick, and the same for whoever has the key. */
const cipher = () => createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
const script = `
  const { createCipheriv } = require('node:crypto');
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
  const zeros = Buffer.alloc(65536);
  for (let left = Number(process.argv[1]); left > 0; ) {
    const bytes = cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
    for (let done = 0; done < bytes.length; ) done += require('node:fs').writeSync(1, bytes, done);
    left -= bytes.length;
  }`;
const randomBytes = (size: number): readonly [string, ...string[]] => [process.execPath, '-e', script, String(size)];
const sumOfRandom = (size: number): string => {
  const hash = createHash('sha256');
  const own = cipher();
  for (let left = size; left > 0; left -= mib) hash.update(own.update(Buffer.alloc(Math.min(left, mib))));
  return hash.digest('hex');
};

/** Whoever starts it carries the same words on its command line for a moment. */
const shimPid = (box: Sandbox): Promise<number> =>
  eventually(() => {
    const found = box.processes().filter(({ command: line }) => line.includes('shim.cjs --home'));
    return found.length === 1 && (found[0]?.pid ?? 0);
  });
const mostResident = (pid: number): number =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1024;

test(
  'W08: random bytes by a command that exits at once: all of them, in order, and its exit',
  async () => {
    const size = rounds(32, 100) * mib;
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: { ...command(...randomBytes(size)), log } });
    const { worker } = await client.call('wait', { name: 'w', for: 'exit', timeoutMs: 60_000 });
    expect(worker.exit).toEqual({ kind: 'code', code: 0 });
    const found = await sumOf(box, ['logs', 'w', '--raw', '--stdout', '-n', 'all']);
    expect(found).toEqual({ sum: sumOfRandom(size), bytes: size });
  },
  roundsTimeoutMs,
);

test(
  'W16: no newline at all: the shim does not grow, and readers get pieces that are marked',
  async () => {
    const size = rounds(128, 1024) * mib;
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    // What it takes once, for anything.
    await client.call('start', { name: 'first', spec: shell('head -c 4194304 /dev/zero | tr "\\0" y') });
    await client.call('wait', { name: 'first', for: 'exit' });
    const shim = await shimPid(box);
    const before = mostResident(shim);
    await client.call('start', { name: 'w', spec: { ...shell(`head -c ${size} /dev/zero | tr "\\0" x`), log } });
    await client.call('wait', { name: 'w', for: 'exit', timeoutMs: 60_000 });
    expect(mostResident(shim) - before).toBeLessThanOrEqual(16 * mib);
    expect((await sumOf(box, ['logs', 'w', '--raw', '-n', 'all'])).bytes).toBe(size);
    const last = await client.call('logs', { name: 'w', tail: 3 });
    expect(last.entries).toHaveLength(3);
    for (const { line, partial } of last.entries) expect([partial, /^x{1,65536}$/.test(line)]).toEqual([true, true]);
  },
  roundsTimeoutMs,
);

test('W17: a byte at a time, text and what is none: raw as it was, JSON valid, no character cut', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  const text = 'für 10 € 🙂 naïve\n';
  const script =
    'import os,sys\nfor b in bytes.fromhex(sys.argv[1]): os.write(1, bytes([b]))\nfor b in bytes(range(256)): os.write(2, bytes([b]))';
  const hex = Buffer.from(text.repeat(20)).toString('hex');
  await client.call('start', { name: 'w', spec: command('python3', '-c', script, hex) });
  await client.call('wait', { name: 'w', for: 'exit' });
  const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  const raw = (stream: string) => sumOf(box, ['logs', 'w', '--raw', `--${stream}`, '-n', 'all']);
  expect((await raw('stdout')).sum).toBe(sum(Buffer.from(text.repeat(20))));
  expect((await raw('stderr')).sum).toBe(sum(Buffer.from(Array.from({ length: 256 }, (_, index) => index))));
  const { stdout } = await box.workerctl(['logs', 'w', '--json', '--stdout']);
  const lines = stdout.trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { line: string }).line)).toEqual(Array(20).fill(text.trimEnd()));
  const invalid = await box.workerctl(['logs', 'w', '--json', '--stderr']);
  for (const line of invalid.stdout.trimEnd().split('\n')) {
    expect(Object.keys(JSON.parse(line) as object)).toEqual(['name', 'generation', 'at', 'stream', 'line', 'partial']);
    expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f]/);
  }
});

test(
  'W18: the daemon stands still: its workers write as quickly, and nothing is lost',
  async () => {
    const size = rounds(32, 200) * mib;
    await using box = new Sandbox();
    const daemon = await box.startDaemon();
    const client = await box.client();
    const writer = { ...command('sh', '-c', 'read go; exec "$@"', 'sh', ...randomBytes(size)), stdin: true, log };
    await client.call('start', { name: 'w', spec: writer });
    const { pid } = await box.status('w');
    await client.call('send', { name: 'w', text: 'go' });
    process.kill(daemon, 'SIGSTOP');
    try {
      await eventually(() => /\) Z|^$/.test(stateOf(pid ?? 0)), { withinMs: 60_000, what: 'the worker has ended' });
    } finally {
      process.kill(daemon, 'SIGCONT');
    }
    const { worker } = await client.call('wait', { name: 'w', for: 'exit' });
    expect(worker.exit).toEqual({ kind: 'code', code: 0 });
    const found = await sumOf(box, ['logs', 'w', '--raw', '--stdout', '-n', 'all']);
    expect(found).toEqual({ sum: sumOfRandom(size), bytes: size });
  },
  roundsTimeoutMs,
);

const stateOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return '';
  }
};
