/** K06: a shim with 64 descriptors is asked for 100 starts: what it cannot hold fails by name, the rest is unhurt. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WorkerdError } from '../../../src/shared/client.ts';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const hasPrlimit = spawnSync('prlimit', ['--version']).error === undefined;

test.skipIf(!hasPrlimit)(
  'K06 (skipped where prlimit is missing): the excess fails with EMFILE, and it works again after stops',
  async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    const shim = box.shimPid;
    const descriptors = () => readdirSync(`/proc/${shim}/fd`).length;
    const before = descriptors();
    execFileSync('prlimit', ['--pid', String(shim), '--nofile=64:64']);
    const names = Array.from({ length: 100 }, (_, index) => `w${index}`);
    const counts = command('sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done');
    for (let round = 0; round < 2; round += 1) {
      const answers = await Promise.all(
        names.map((name) => client.call('start', { name, spec: counts }).catch((error: unknown) => error)),
      );
      const refused = answers.filter((answer) => answer instanceof WorkerdError);
      for (const error of refused) {
        expect(error).toMatchObject({
          code: 'worker.start-failed',
          message: expect.stringContaining('EMFILE'),
          data: { exit: { kind: 'spawn-failed', errno: 'EMFILE' } },
        });
      }
      const { workers } = await client.call('status', {});
      const running = workers.filter(({ phase }) => phase === 'running');
      expect([running.length + refused.length, running.length > 2, refused.length > 50]).toEqual([100, true, true]);
      for (const { name, generation } of running) {
        const log = () =>
          readFileSync(join(box.home, 'logs', name, `${generation}.log`), 'utf8')
            .split('\n')
            .slice(0, -1);
        await eventually(() => log().length > 5, { what: `${name} is logged` });
        expect(log(), name).toEqual(log().map((_, index) => String(index + 1)));
      }
      await Promise.all(names.map((name) => client.call('stop', { name })));
    }
    expect(box.shimPid).toBe(shim);
    await eventually(() => descriptors() <= before + 2, { what: 'its descriptors are back' });
    await eventually(() => readdirSync(join(box.home, 'run')).join() === 'pool', {
      what: 'no directory of a run is left',
    });
  },
  60_000,
);
