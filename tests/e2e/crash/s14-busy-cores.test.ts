/**
 * S14 and S15: every core is busy, and in S15 daemon and shim give way to everybody else (nice 19). They are slow and
 * answer all the same; no shim is taken for lost and none is started beside it, no worker is lost or restarted.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { command, part, shell } from '../../fixtures/workers/behaviours.ts';
import { Canary } from '../../helpers/canary.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const busyLoop = (): ChildProcess => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' });
/** The bar of S14 for an answer; S15 has none but that it comes. */
const p99Ms = 500;
const whenever = 6000;
const rounds = 10;

test.each([
  ['S14: busy loops on all cores', [], p99Ms],
  ['S15: the same, and daemon and shim at nice 19', ['nice', '-n', '19'], whenever],
] as const)(
  '%s',
  async (_, wrapper, bar) => {
    const loops = Array.from({ length: availableParallelism() }, busyLoop);
    try {
      await using box = new CrashBox().under(...wrapper);
      const daemon = await box.daemon();
      const client = await box.client();
      const restart = { policy: 'always' as const };
      await client.call('start', { name: 'steady', spec: { ...command('sleep', '1000'), restart } });
      await client.call('start', { name: 'thread', spec: { ...part('thread', 'counts'), restart } });
      const before = (await client.call('status', {})).workers;
      const shim = box.shimPid;
      // A shim that takes its time to come is told of at the start, and is no false alarm.
      const started = box.said().length;
      const canary = new Canary(box.socket);
      for (let round = 0; round < rounds; round += 1) {
        const name = `w${round}`;
        await client.call('start', {
          name,
          spec: shell('n=0; while [ $n -lt 200 ]; do n=$((n + 1)); echo $n; done; exit 7'),
        });
        const { worker } = await client.call('wait', { name, for: 'exit' });
        expect(worker.exit).toEqual({ kind: 'code', code: 7 });
      }
      await canary.heard(20);
      await canary.unhurt(bar);
      const after = (await client.call('status', { names: ['steady', 'thread'] })).workers;
      for (const worker of before) {
        const { pid, generation } = worker;
        const same = { pid, generation, phase: 'running', restarts: 0 };
        expect(after.find(({ name }) => name === worker.name)).toMatchObject(same);
      }
      expect(box.processes().filter(({ command: line }) => line.includes('shim.cjs'))).toHaveLength(1);
      expect(box.shimPid).toBe(shim);
      expect(box.said().slice(started)).not.toMatch(/lost|is gone|does not answer|internal error/);
      // And a new one, under the same load, where the old one is really gone.
      process.kill(shim, 'SIGKILL');
      await eventually(() => box.shimPid !== shim && box.shimPid !== 0, { withinMs: 30_000, what: 'a new shim' });
      await eventually(async () => (await box.status('steady')).phase === 'running', { withinMs: 30_000 });
      // Who starts it carries the same words on its command line for a moment.
      const shims = () => box.processes().filter(({ command: line }) => line.includes('shim.cjs'));
      await eventually(() => shims().length === 1, { what: 'one new shim' });
      expect(daemon.child.exitCode).toBeNull();
    } finally {
      for (const loop of loops) loop.kill('SIGKILL');
    }
  },
  120_000,
);
