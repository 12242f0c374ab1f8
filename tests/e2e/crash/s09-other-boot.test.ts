/**
 * S09 and pids used again: what the registry says of a process is believed only where boot id, pid and start time all
 * agree. Innocents who have a recorded pid are neither taken for the worker nor signalled.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox, startTimeOf } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const policies = ['no', 'on-failure', 'always'] as const;
const sleeper = (policy: (typeof policies)[number]) => ({ ...command('sleep', '1000'), restart: { policy } });

/** Leads a group of its own, as a worker does. */
const innocent = (): ChildProcess => spawn('sleep', ['777'], { detached: true, stdio: 'ignore' });

interface Recorded {
  bootId: string;
  pid: number;
  startTime: number;
}

/** Everything is killed, as by a power cut; then the registry is given other identities. */
const cutOff = async (
  box: CrashBox,
  change: (run: Recorded, name: string) => Partial<Recorded>,
  boot: string | null,
  enabled?: string,
) => {
  const daemon = await box.daemon();
  const client = await box.client();
  for (const policy of policies) await client.call('start', { name: policy, spec: sleeper(policy) });
  if (enabled !== undefined) await client.call('enable', { name: enabled });
  client.close();
  const shim = box.shimPid;
  await daemon.kill();
  process.kill(shim, 'SIGKILL');
  for (const policy of policies) for (const pid of box.livingRuns(policy)) process.kill(pid, 'SIGKILL');
  await eventually(() => box.processes().length === 0, { what: 'all is dead' });
  const db = new DatabaseSync(join(box.home, 'registry.db'));
  for (const row of db.prepare('SELECT name, run FROM runs').all()) {
    const run = JSON.parse(String(row['run'])) as Recorded;
    const changed = JSON.stringify({ ...run, ...change(run, String(row['name'])) });
    db.prepare('UPDATE runs SET run = ? WHERE name = ?').run(changed, String(row['name']));
  }
  if (boot !== null) {
    db.prepare("UPDATE meta SET value = ? WHERE key = 'boot'").run(boot);
    const text = String(db.prepare("SELECT value FROM meta WHERE key = 'shim'").get()?.['value']);
    const known = { ...(JSON.parse(text) as object), bootId: boot };
    db.prepare("UPDATE meta SET value = ? WHERE key = 'shim'").run(JSON.stringify(known));
  }
  db.close();
};

const allLost = async (box: CrashBox, reason: string) => {
  const client = await box.client();
  for (const policy of policies) {
    const again = policy !== 'no';
    const phase = again ? 'running' : 'failed';
    await eventually(async () => (await box.status(policy)).phase === phase, { what: `${policy} is ${phase}` });
    // Lost through no fault of its own: once more, uncounted.
    expect(await box.status(policy), policy).toMatchObject({ generation: again ? 2 : 1, restarts: 0 });
    const { runs } = await client.call('history', { name: policy });
    expect(runs.find(({ generation }) => generation === 1)?.exit, policy).toEqual({ kind: 'lost', reason });
    await client.call('stop', { name: policy });
  }
  client.close();
};

test('S09: of another boot, with pids and start times that innocents have: all lost, policies applied, nobody signalled', async () => {
  const innocents = policies.map(innocent);
  try {
    await using box = new CrashBox();
    const change = (_: Recorded, name: string) => {
      const pid = innocents[policies.indexOf(name as never)]?.pid ?? 0;
      // Only the boot tells them apart.
      return { bootId: 'another boot', pid, startTime: Number(startTimeOf(pid)) };
    };
    await cutOff(box, change, 'another boot');
    await box.daemon();
    await allLost(box, 'the machine was restarted');
    expect(innocents.map(({ exitCode, signalCode }) => [exitCode, signalCode])).toEqual(
      policies.map(() => [null, null]),
    );
  } finally {
    for (const each of innocents) each.kill('SIGKILL');
  }
});

test('S09: a shim of the service manager’s that comes late: stop signals nobody meanwhile, and what is enabled is started', async () => {
  const innocents = policies.map(innocent);
  try {
    await using box = new CrashBox();
    const change = (_: Recorded, name: string) => {
      const pid = innocents[policies.indexOf(name as never)]?.pid ?? 0;
      return { bootId: 'another boot', pid, startTime: Number(startTimeOf(pid)) };
    };
    await cutOff(box, change, 'another boot', 'no');
    box.with('--external-shim');
    const daemon = await box.daemon();
    const client = await box.client();
    expect((await client.call('stop', { name: 'always' })).worker.phase).toBe('stopped');
    const shim = box.spawn('workerd', ['shim'], { withinMs: 60_000 });
    for (const policy of ['no', 'on-failure']) {
      await eventually(async () => (await box.status(policy)).phase === 'running', { what: `${policy} is running` });
      expect(await box.status(policy), policy).toMatchObject({ generation: 2, restarts: 0 });
    }
    expect(await box.status('always')).toMatchObject({ phase: 'stopped', generation: 1, exit: { kind: 'lost' } });
    expect(innocents.map(({ exitCode, signalCode }) => [exitCode, signalCode])).toEqual(
      policies.map(() => [null, null]),
    );
    await daemon.kill('SIGTERM');
    shim.child.kill('SIGTERM');
    await shim.finished;
  } finally {
    for (const each of innocents) each.kill('SIGKILL');
  }
});

test('pids of this boot that innocents have now, with another start time: the same', async () => {
  const innocents = policies.map(innocent);
  try {
    await using box = new CrashBox();
    const change = (_: Recorded, name: string) => ({ pid: innocents[policies.indexOf(name as never)]?.pid ?? 0 });
    await cutOff(box, change, null);
    await box.daemon();
    await allLost(box, 'the shim died');
    expect(innocents.map(({ exitCode, signalCode }) => [exitCode, signalCode])).toEqual(
      policies.map(() => [null, null]),
    );
  } finally {
    for (const each of innocents) each.kill('SIGKILL');
  }
});

const lastPid = '/proc/sys/kernel/ns_last_pid';
const canChoosePids = (() => {
  try {
    accessSync(lastPid, constants.W_OK);
    writeFileSync(lastPid, readFileSync(lastPid));
    return true;
  } catch {
    return false;
  }
})();

/** The next process gets this pid, if nobody else is quicker. */
const spawnWithPid = async (pid: number, make: () => ChildProcess = innocent): Promise<ChildProcess> =>
  eventually(
    () => {
      writeFileSync(lastPid, String(pid - 1));
      const child = make();
      if (child.pid === pid) return child;
      child.kill('SIGKILL');
      return null;
    },
    { what: `a process with pid ${pid}` },
  );

test.skipIf(!canChoosePids)(
  'a leader’s pid that is used again while its leftover lives: stop ends the leftover, not the innocent',
  async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    const script = 'setsid sleep 1000 & exit 0';
    await client.call('start', { name: 'w', spec: { ...command('sh', '-c', script), graceMs: 500 } });
    await client.call('wait', { name: 'w', for: 'exit' });
    const [left] = await eventually(() => (box.livingRuns('w').length === 1 ? box.livingRuns('w') : null));
    const { runs } = await client.call('history', { name: 'w' });
    expect(runs).toHaveLength(1);
    const said = /"worker started"/.test(box.said()) ? box.said() : '';
    const pid = Number(/"name":"w","generation":1,"pid":(\d+),"msg":"worker started"/.exec(said)?.[1]);
    const other = await spawnWithPid(pid);
    try {
      const { worker } = await client.call('stop', { name: 'w' });
      expect([worker.leftovers, box.livingRuns('w')]).toEqual([[], []]);
      expect(startTimeOf(left ?? 0)).toBeNull();
      expect([other.exitCode, other.signalCode]).toEqual([null, null]);
    } finally {
      other.kill('SIGKILL');
    }
  },
);

test.skipIf(!canChoosePids)(
  'a leader’s pid that is the number of an innocent group without a leader: stop leaves it alone',
  async () => {
    await using box = new CrashBox();
    await box.daemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: command('true') });
    const { worker } = await client.call('wait', { name: 'w', for: 'exit' });
    const pid = Number(/"name":"w","generation":1,"pid":(\d+),"msg":"worker started"/.exec(box.said())?.[1]);
    // Later than what the worker itself may have left there.
    await eventually(() => Date.now() > Date.parse(worker.endedAt ?? '') + 1500, { what: 'its end is past' });
    const leave = () =>
      spawn('sh', ['-c', 'sleep 778 & echo $!'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    const leader = await spawnWithPid(pid, leave);
    const member = await new Promise<number>((resolve) =>
      leader.stdout?.once('data', (text: Buffer) => resolve(Number(text))),
    );
    try {
      await eventually(() => startTimeOf(pid) === null);
      const { outcome } = await client.call('stop', { name: 'w' });
      expect([outcome, (await box.status('w')).leftovers]).toEqual(['not-running', []]);
      expect(startTimeOf(member)).not.toBeNull();
    } finally {
      process.kill(member, 'SIGKILL');
    }
  },
);

test.skipIf(!canChoosePids)(
  'the pid of a leader whose end nobody told of is used again: stop ends neither the innocent nor its children',
  async () => {
    await using box = new CrashBox();
    const daemon = await box.daemon();
    const client = await box.client();
    const { worker } = await client.call('start', { name: 'w', spec: sleeper('no') });
    const pid = worker.pid ?? 0;
    process.kill(box.shimPid, 'SIGKILL');
    await eventually(() => /"reading on what a dead shim left"/.test(box.said()), { what: 'a new shim reads on' });
    await client.call('publish', { name: 'w', state: { taken: 'over' } });
    const family = () =>
      spawn('sh', ['-c', 'sleep 778 & echo $!; wait'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    // It looks for the end of such a run once a second, and is asked to end it when another has its pid already.
    process.kill(daemon.pid, 'SIGSTOP');
    process.kill(pid, 'SIGKILL');
    const other = await spawnWithPid(pid, family);
    const child = await new Promise<number>((resolve) =>
      other.stdout?.once('data', (text: Buffer) => resolve(Number(text))),
    );
    try {
      const stopping = client.call('stop', { name: 'w' });
      process.kill(daemon.pid, 'SIGCONT');
      await stopping;
      expect([other.exitCode, other.signalCode]).toEqual([null, null]);
      expect(startTimeOf(child)).not.toBeNull();
      expect(await box.status('w')).toMatchObject({ exit: { kind: 'lost' }, leftovers: [] });
    } finally {
      process.kill(daemon.pid, 'SIGCONT');
      other.kill('SIGKILL');
      if (startTimeOf(child) !== null) process.kill(child, 'SIGKILL');
    }
  },
);

test.skipIf(!canChoosePids)(
  'the shim’s pid that is used again: a new shim is started, the innocent lives',
  async () => {
    await using box = new CrashBox();
    const daemon = await box.daemon();
    const shim = box.shimPid;
    await daemon.kill();
    process.kill(shim, 'SIGKILL');
    await eventually(() => startTimeOf(shim) === null);
    const other = await spawnWithPid(shim);
    try {
      await box.daemon();
      const client = await box.client();
      expect((await client.call('start', { name: 'w', spec: sleeper('no') })).worker.phase).toBe('running');
      expect([other.exitCode, other.signalCode]).toEqual([null, null]);
    } finally {
      other.kill('SIGKILL');
    }
  },
);
