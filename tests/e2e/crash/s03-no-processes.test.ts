/**
 * No more processes: a start that finds none is refused by name, in words, and changes nothing for the others; once
 * some have ended it succeeds. Needs root and a pids cgroup that can be made, of version 1 or 2.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const makeGroup = (name: string): string | null => {
  for (const base of ['/sys/fs/cgroup/pids', '/sys/fs/cgroup']) {
    const group = join(base, name);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    try {
      writeFileSync(join(group, 'pids.max'), 'max');
      return group;
    } catch {
      rmdirSync(group);
    }
  }
  return null;
};

const group = makeGroup(`workerd-test-${process.pid}`);
const file = (name: string): string => join(group ?? '', name);
const inUse = (): number => Number(readFileSync(file('pids.current'), 'latin1'));

test.skipIf(group === null)(
  'no processes are left: EAGAIN in words, the others unhurt, and it works again after a stop',
  async () => {
    const enter = ['sh', '-c', 'echo $$ > "$1"; shift; exec "$@"', 'sh', file('cgroup.procs')];
    try {
      await using box = new CrashBox().under(...enter);
      await box.daemon();
      const client = await box.client();
      const sleeper = command('sleep', '1000');
      for (const name of ['a', 'b']) await client.call('start', { name, spec: sleeper });
      const before = (await client.call('status', {})).workers;
      writeFileSync(file('pids.max'), String(inUse()));
      const refused = client.call('start', { name: 'c', spec: sleeper });
      await expect(refused).rejects.toThrow(/no more processes can be made: stop some workers or raise the limit/);
      expect(await box.status('c')).toMatchObject({ phase: 'failed', exit: { kind: 'spawn-failed', errno: 'EAGAIN' } });
      expect((await client.call('status', { names: ['a', 'b'] })).workers.map(({ pid }) => pid)).toEqual(
        before.map(({ pid }) => pid),
      );
      await client.call('stop', { name: 'a' });
      expect((await client.call('start', { name: 'c' })).worker.phase).toBe('running');
      writeFileSync(file('pids.max'), 'max');
    } finally {
      await eventually(() => inUse() === 0);
      rmdirSync(group ?? '');
    }
  },
);
