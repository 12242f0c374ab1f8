/**
 * S05: the kernel kills a worker that reached the limit of its memory cgroup: it is recorded as SIGKILL, its policy is
 * applied, and nobody else is hurt. Needs root and a hierarchy of cgroups that can be written.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, shell } from '../../fixtures/workers/behaviours.ts';
import { Canary } from '../../helpers/canary.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const limit = 40 * 1024 * 1024;

/** Version 1 or 2, whatever this machine has; `null`: none can be made here. */
const makeGroup = (name: string): string | null => {
  for (const [base, file] of [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max'],
  ] as const) {
    const group = join(base, name);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    try {
      writeFileSync(join(group, file), String(limit));
      const swap = join(group, base.endsWith('memory') ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max');
      if (existsSync(swap)) writeFileSync(swap, base.endsWith('memory') ? String(limit) : '0');
      return group;
    } catch {
      rmdirSync(group);
    }
  }
  return null;
};

const group = makeGroup(`workerd-test-${process.pid}`);

test.skipIf(group === null)('S05: killed for its memory: SIGKILL, the policy applied, the others unhurt', async () => {
  const procs = join(group ?? '', 'cgroup.procs');
  try {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    await client.call('start', { name: 'other', spec: command('sleep', '1000') });
    const before = await box.status('other');
    const shim = box.shimPid;
    const canary = new Canary(box.socket);
    const eats = [process.execPath, '-e', 'const all = []; for (;;) all.push(Buffer.alloc(1e6, 1));'];
    const script = 'echo $$ > "$1"; shift; exec "$@"';
    await client.call('start', { name: 'eats', spec: shell(script, procs, ...eats) });
    const { worker } = await client.call('wait', { name: 'eats', for: 'exit' });
    expect(worker).toMatchObject({ phase: 'failed', exit: { kind: 'signal', signal: 'SIGKILL' }, stoppedBy: null });
    const restart = { policy: 'on-failure' as const };
    await client.call('start', { name: 'again', spec: { ...shell(script, procs, ...eats), restart } });
    await eventually(async () => (await box.status('again')).restarts >= 2);
    await client.call('stop', { name: 'again' });
    const { runs } = await client.call('history', { name: 'again' });
    expect(runs.at(-1)?.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
    await canary.unhurt(500);
    expect(await box.status('other')).toMatchObject({ pid: before.pid, phase: 'running', restarts: 0 });
    expect(box.shimPid).toBe(shim);
  } finally {
    await eventually(() => readFileSync(procs, 'latin1') === '');
    rmdirSync(group ?? '');
  }
});
