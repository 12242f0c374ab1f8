/**
 * W09-W12 where SIGKILL does not help: a process in the kernel (state D) is named with pid and command, is never called
 * stopped, keeps nobody waiting for ever, and its run is closed as what it was once it goes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Client, WorkerdError } from '../../../src/shared/client.ts';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { module, part, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FrozenDisk } from '../../helpers/frozen-disk.ts';

/** Its threads' states: the leader's may be another. */
const statesOf = (pid: number): readonly string[] =>
  readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    return stat.charAt(stat.lastIndexOf(')') + 2);
  });
const errorOf = async (call: Promise<unknown>): Promise<WorkerdError> => {
  const error = await call.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof WorkerdError)) throw new Error(`no error of ours: ${String(error)}`);
  return error;
};
const stuck = async (box: CrashBox, name: string): Promise<number> =>
  eventually(() => box.livingRuns(name).find((pid) => statesOf(pid).includes('D')) ?? false, {
    what: `a process of ${name} is in state D`,
  });
const view = async (client: Client, name: string): Promise<WorkerView | undefined> =>
  (await client.call('status', { names: [name] })).workers[0];

const write = 'dd if=/dev/zero of="$1" bs=1k count=1';
/** Within grace + 500 ms + 5 s; five times that. */
const answerMs = 5 * 6000;

test.concurrent('what is in state D is named by stop and status, is not stopped before it goes, and is then what it was', async ({
  skip,
}) => {
  const disk = FrozenDisk.make();
  if (typeof disk === 'string') return skip(disk);
  await using _thawed = disk;
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  const all = {
    leader: shell(`exec ${write}`, disk.file('a')),
    pool: { ...module('process', 'writes-to-a-file.mjs'), params: { file: disk.file('b') } },
    child: shell(`${write} & exec sleep 1000`, disk.file('c')),
    thread: { ...module('thread', 'writes-to-a-file.mjs'), params: { file: disk.file('d') } },
    left: shell(`${write} & exit 0`, disk.file('e')),
  };
  for (const [name, spec] of Object.entries(all)) {
    await client.call('start', { name, spec: { ...spec, graceMs: 300 } }).catch((error: unknown) => {
      // Over before it was asked whether it runs.
      if (name !== 'left') throw error;
    });
  }
  const pids = new Map<string, number>();
  for (const name of Object.keys(all).filter((each) => each !== 'thread')) pids.set(name, await stuck(box, name));
  const host = (await view(client, 'thread'))?.pid ?? 0;
  const beside = await client.call('start', { name: 'beside', spec: part('thread', 'counts', { restart: 'always' }) });
  expect(beside.worker.pid).toBe(host);
  await eventually(() => statesOf(host).includes('D'));
  pids.set('thread', host);
  await eventually(async () => (await view(client, 'left'))?.phase === 'exited');
  const words = ['if=/dev/zero', `of=${disk.file('f')}`, 'bs=1k', 'count=1'];
  const foreground = box.spawn('workerctl', ['run', '-n', 'fore', '--grace', '300ms', '--', 'dd', ...words]);
  const inForeground = await stuck(box, 'fore');

  const began = performance.now();
  foreground.child.kill('SIGINT');
  const [byName, inShell, ofRun] = await Promise.all([
    Promise.all([...pids].map(async ([name]) => [name, await errorOf(client.call('stop', { name }))] as const)),
    box.workerctl(['stop', 'leader']),
    foreground.finished,
  ]);
  expect(performance.now() - began).toBeLessThan(answerMs);
  for (const [name, error] of byName) {
    const pid = pids.get(name);
    expect(error, name).toMatchObject({ code: 'worker.busy', data: { name } });
    expect(error.message).toMatch(
      new RegExp(`^${name} cannot be ended: .*pid ${pid} \\(.+\\), state D.*workerctl stop ${name}`),
    );
    expect(error.data['leftovers'], name).toContainEqual(expect.objectContaining({ pid, state: 'D' }));
    const now = await view(client, name);
    expect(now?.phase, name).toBe(name === 'left' ? 'exited' : 'stopping');
    expect(now?.exit, name).toEqual(name === 'left' ? { kind: 'code', code: 0 } : null);
    expect(
      now?.leftovers.map((each) => each.pid),
      name,
    ).toContain(pid);
    if (name !== 'left') expect(now?.reason).toMatch(new RegExp(`does not end after SIGKILL: .*pid ${pid} `));
  }
  expect(byName[0]?.[1].message).toContain(`pid ${pids.get('leader')} (dd if=/dev/zero`);
  expect([inShell.code, inShell.stdout]).toEqual([1, '']);
  expect(inShell.stderr).toContain(`pid ${pids.get('leader')} (dd if=/dev/zero`);
  expect(ofRun.code).toBe(130);
  expect(ofRun.stderr).toContain(`pid ${inForeground} (dd if=/dev/zero`);
  expect((await box.workerctl(['status', 'leader'])).stdout).toContain('does not end after SIGKILL');
  // Once for the two that waited for it.
  expect(box.said().match(/"name":"leader".*outlives SIGKILL/g)).toHaveLength(1);

  // The thread beside it is gone with its host, and healed in another.
  const healed = await eventually(async () => {
    const now = await view(client, 'beside');
    return now?.phase === 'running' && now.generation === 2 && now;
  });
  expect([healed.restarts, healed.pid === host]).toEqual([0, false]);
  await client.call('stop', { name: 'beside' });

  // What was to follow is refused, and does not come later by itself.
  expect(await errorOf(client.call('restart', { name: 'child' }))).toMatchObject({
    code: 'worker.start-failed',
    message: expect.stringContaining(`its earlier run does not end after SIGKILL: pid ${pids.get('child')}`),
  });
  // Asked again, it tries again: this one is still waiting when the kernel lets go.
  const again = client.call('stop', { name: 'leader' });
  await eventually(() => statesOf(pids.get('leader') ?? 0).includes('D'));
  disk.thaw();
  expect((await again).worker).toMatchObject({ phase: 'stopped', exit: { kind: 'signal' } });
  // What the kernel calls the end: the first signal that was to be one.
  const ends = {
    leader: { kind: 'signal', signal: 'SIGTERM' },
    pool: { kind: 'signal', signal: 'SIGTERM' },
    child: { kind: 'signal', signal: 'SIGTERM' },
    fore: { kind: 'signal', signal: 'SIGTERM' },
    thread: { kind: 'terminated' },
  };
  for (const [name, exit] of Object.entries(ends)) {
    const ended = await eventually(
      async () => {
        const now = await view(client, name);
        return now?.phase === 'stopped' && now;
      },
      { what: `${name} is stopped` },
    );
    expect(ended, name).toMatchObject({ exit, reason: null, leftovers: [], generation: 1 });
  }
  await client.call('stop', { name: 'left' });
  expect(await view(client, 'left')).toMatchObject({ phase: 'exited', leftovers: [] });
}, 120_000);

test.concurrent('workerd stop names it and ends all the same; the next daemon still shows it, and its end is lost', async ({
  skip,
}) => {
  const disk = FrozenDisk.make();
  if (typeof disk === 'string') return skip(disk);
  await using _thawed = disk;
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: { ...shell(`exec ${write}`, disk.file('a')), graceMs: 300 } });
  await client.call('start', { name: 'other', spec: shell('exec sleep 1000') });
  const pid = await stuck(box, 'w');
  client.close();
  const { code, stderr } = await box.workerd(['stop']);
  expect(code).toBe(1);
  expect(stderr).toContain(`the daemon (pid ${daemon.pid}) has ended`);
  expect(stderr).toMatch(new RegExp(`w: pid ${pid} \\(dd if=.*\\), state D`));
  expect(await daemon.ended).toBe(0);
  await eventually(() => box.processes().every((each) => each.pid === pid), { what: 'only what is stuck is left' });

  const next = await box.daemon();
  const shown = await box.status('w');
  expect(shown).toMatchObject({ phase: 'stopping', pid, exit: null });
  expect(shown.reason).toContain(`pid ${pid} (dd if=`);
  expect(await box.status('other')).toMatchObject({ phase: 'stopped' });
  // Also a signal ends it, with what is stuck named in the log.
  next.child.kill('SIGTERM');
  expect(await next.ended).toBe(0);
  expect(box.said()).toMatch(new RegExp(`not every worker could be ended|w: pid ${pid}`));

  await box.daemon();
  disk.thaw();
  const ended = await eventually(async () => {
    const now = await box.status('w');
    return now.phase === 'stopped' && now;
  });
  expect(ended).toMatchObject({ exit: { kind: 'lost' }, leftovers: [] });
}, 120_000);
