/**
 * The exact barrier: what a run wrote before its end can be read when the end is announced, for every kind, also where a
 * grandchild holds the pipe; and stdout behaves like that of a shell pipe.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { SpecInput } from '../../src/shared/protocol.ts';
import { module, shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { rounds } from '../helpers/rounds.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const prints: Readonly<Record<string, (box: Sandbox) => SpecInput>> = {
  command: () => shell('seq 300; seq 300 >&2; printf end'),
  'command whose grandchild holds the pipe': () => shell('sleep 1000 & seq 300; seq 300 >&2; printf end'),
  process: (box) => module('process', fixture(box)),
  thread: (box) => module('thread', fixture(box)),
};
const fixture = (box: Sandbox): string => {
  const path = join(box.directory, 'prints.mjs');
  writeFileSync(
    path,
    `export default () => {
       for (let n = 1; n <= 300; n += 1) console.log(n);
       for (let n = 1; n <= 300; n += 1) console.error(n);
       process.stdout.write('end');
       process.exit(0);
     };`,
  );
  return path;
};

describe('nothing written before the end is missing when it is announced', () => {
  test.each(Object.keys(prints))('%s', async (kind) => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const spec = prints[kind]?.(box) as SpecInput;
    const numbers = Array.from({ length: 300 }, (_, index) => `${index + 1}`);
    const workers = Array.from({ length: 5 }, (_, index) => `w${index}`);
    const runOnce = async (name: string) => {
      await client.call('start', { name, spec, wait: 'none' });
      const { worker } = await client.call('wait', { name, for: 'exit', timeoutMs: 30_000 });
      // Asked for in the same turn: nothing that comes late counts.
      const { entries } = await client.call('logs', { name, tail: 1000 });
      const of = (wanted: string) => entries.filter(({ stream }) => stream === wanted).map(({ line }) => line);
      expect([name, worker.generation, of('stdout')]).toEqual([name, worker.generation, [...numbers, 'end']]);
      expect(of('stderr')).toEqual(numbers);
    };
    for (let round = 0; round < rounds(4, 20); round += 1) await Promise.all(workers.map(runOnce));
  }, 120_000);
});

test('what a grandchild writes later is logged, too, and held nothing up', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  const go = join(box.directory, 'go');
  await client.call('start', {
    name: 'w',
    spec: shell(`(while [ ! -e ${go} ]; do sleep 0.02; done; echo late) & echo early; exit 7`),
  });
  const { worker } = await client.call('wait', { name: 'w', for: 'exit' });
  expect(worker.exit).toEqual({ kind: 'code', code: 7 });
  expect((await client.call('logs', { name: 'w' })).entries.map(({ line }) => line)).toEqual(['early']);
  const following = box.spawn('workerctl', ['logs', '-f', 'w']);
  await eventually(() => following.stdout() === 'early\n');
  writeFileSync(go, '');
  await eventually(() => following.stdout() === 'early\nlate\n');
  following.child.kill('SIGINT');
});

describe('/dev/stdout and /proc/self/fd/1', () => {
  test('of a command, opened again and again, by it and by what it starts, also once its control channel is closed', async () => {
    await using box = new Sandbox();
    const script = `exec 3>&- 4<&-; echo a > /dev/stdout; echo b > /proc/self/fd/1; echo c >> /dev/stdout; echo e > /dev/stderr
      sh -c 'echo d > /dev/stdout'; (echo f > /dev/fd/1); echo h; exit 3`;
    const { code, stdout, stderr } = await box.workerctl(['run', '-n', 'w', '--', 'sh', '-c', script]);
    expect([code, stdout, stderr.replace(/^workerctl: started.*\n/, '')]).toEqual([3, 'a\nb\nc\nd\nf\nh\n', 'e\n']);
    expect((await box.workerctl(['logs', 'w', '--stdout'])).stdout).toBe('a\nb\nc\nd\nf\nh\n');
  });

  test('of a process module, and of what it starts', async () => {
    await using box = new Sandbox();
    const path = join(box.directory, 'module.mjs');
    writeFileSync(
      path,
      `import { appendFileSync, writeSync } from 'node:fs';
       import { spawnSync } from 'node:child_process';
       export default () => {
         appendFileSync('/dev/stdout', 'a\\n');
         appendFileSync('/proc/self/fd/1', 'b\\n');
         writeSync(1, 'c\\n');
         appendFileSync('/dev/stderr', 'e\\n');
         spawnSync('sh', ['-c', 'echo d; echo f > /dev/stdout'], { stdio: 'inherit' });
         console.log('g');
       };`,
    );
    const { code, stdout } = await box.workerctl(['run', '-n', 'w', '--process', path]);
    expect([code, stdout]).toEqual([0, 'a\nb\nc\nd\nf\ng\n']);
    expect((await box.workerctl(['logs', 'w', '--stderr'])).stdout).toBe('e\n');
  });
});
