/**
 * S01, S02: the registry cannot be written. What starts something is refused and changes nothing; a stop is carried out
 * all the same, and written when there is room.
 */
import { expect, test } from 'vitest';
import { WorkerdError } from '../../../src/shared/errors.ts';
import { command, deaf, part, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const full = 'store.commit=error(ENOSPC)';
const sleeper = { ...command('sleep', '1000'), restart: { policy: 'always' as const } };

/** The workers run; from now on nothing can be written. */
const filled = async (box: CrashBox, names: readonly string[], failpoints = full) => {
  const first = await box.daemon();
  const client = await box.client();
  for (const name of names)
    await client.call('start', { name, spec: name === 'thread' ? part('thread', 'counts') : sleeper });
  client.close();
  await first.kill();
  return box.daemon(failpoints);
};

test('S02: a start is refused in words and changes nothing; status answers', async () => {
  await using box = new CrashBox();
  const daemon = await filled(box, ['w']);
  const client = await box.client();
  const before = (await client.call('status', {})).workers;
  const refused = async (asked: Promise<unknown>) => {
    const error: unknown = await asked.catch((reason: unknown) => reason);
    if (!(error instanceof WorkerdError)) throw new Error(`no error but ${JSON.stringify(error)}`);
    expect([error.code, error.message]).toEqual(['limit.exceeded', expect.stringMatching(/ENOSPC.*Make room/)]);
  };
  await refused(client.call('start', { name: 'new', spec: sleeper }));
  await refused(client.call('restart', { name: 'w' }));
  await refused(client.call('enable', { name: 'w' }));
  expect((await client.call('status', {})).workers).toEqual(before);
  expect(box.livingRuns('w')).toEqual([before[0]?.pid]);
  await daemon.kill();
  await box.daemon();
  expect((await (await box.client()).call('status', {})).workers).toEqual(before);
});

test('S01: a stop is carried out, its policy does not start it again, and it is written when there is room', async () => {
  await using box = new CrashBox();
  const names = ['a', 'b', 'thread'];
  const daemon = await filled(box, names, 'store.commit=40*error(ENOSPC)');
  const client = await box.client();
  const answers = await Promise.all(names.map((name) => client.call('stop', { name })));
  expect(answers.map(({ outcome, worker }) => [outcome, worker.phase])).toEqual(
    names.map(() => ['stopped', 'stopped']),
  );
  for (const name of names) expect(box.livingRuns(name), name).toEqual([]);
  // It cannot be started again as long as that cannot be written: asked until it can, it runs once.
  await eventually(
    () => client.call('start', { name: 'a', spec: sleeper }).then(({ outcome }) => outcome === 'started'),
    {
      withinMs: 50_000,
      what: 'there is room again',
    },
  );
  expect(box.livingRuns('a')).toHaveLength(1);
  await eventually(async () => (await client.call('history', { name: 'b' })).runs.length === 1, { withinMs: 50_000 });
  await daemon.kill();
  await box.daemon();
  expect(await box.status('a')).toMatchObject({ phase: 'running', generation: 2 });
  expect(await box.status('b')).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGTERM' } });
  expect(await box.status('thread')).toMatchObject({ phase: 'stopped', exit: { kind: 'returned' } });
}, 120_000);

test('S01: a worker that resists is ended by force, leftovers too, and the daemon ends in good order', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'stubborn', spec: { ...deaf, graceMs: 300 } });
  await client.call('start', { name: 'left', spec: { ...shell('setsid sleep 1000 & exit 0'), graceMs: 300 } });
  await client.call('wait', { name: 'left', for: 'exit' });
  await client.call('start', { name: 'other', spec: sleeper });
  client.close();
  await first.kill();
  const daemon = await box.daemon(full);
  const again = await box.client();
  expect((await again.call('stop', { name: 'stubborn' })).worker.phase).toBe('stopped');
  expect((await again.call('stop', { name: 'left' })).worker.leftovers).toEqual([]);
  expect([box.livingRuns('stubborn'), box.livingRuns('left')]).toEqual([[], []]);
  expect((await box.workerd(['stop'])).code).toBe(0);
  expect(await daemon.ended).toBe(0);
  expect(box.processes()).toEqual([]);
}, 120_000);

test('S01: stops one after the other: what is owed for one keeps no news of the next away', async () => {
  await using box = new CrashBox();
  const names = Array.from({ length: 8 }, (_, index) => `w${index}`);
  await filled(box, names);
  const client = await box.client();
  const began = performance.now();
  for (const name of names) expect((await client.call('stop', { name })).worker.phase, name).toBe('stopped');
  const tookMs = Math.round(performance.now() - began);
  console.log(`${names.length} stops on a full disk: ${tookMs} ms`);
  expect(tookMs).toBeLessThan(18_000);
}, 120_000);

test('an end that no shim will tell again is concluded once there is room', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const { pid } = await box.status('w');
  client.close();
  const shim = box.shimPid;
  await first.kill();
  process.kill(shim, 'SIGKILL');
  process.kill(pid ?? 0, 'SIGKILL');
  await eventually(() => box.livingRuns('w').length === 0);
  await box.daemon('store.commit=2*error(ENOSPC)');
  await eventually(async () => (await box.status('w')).phase === 'failed', { withinMs: 20_000 });
  expect(await box.status('w')).toMatchObject({ exit: { kind: 'lost', reason: 'the shim died' } });
});
