/** W04, W25: the host of thread workers dies, or one of them never yields: the others are healed, and no line is lost. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { module, part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const names = Array.from({ length: 6 }, (_, index) => `t${index}`);
const all = async (box: CrashBox) => Promise.all(names.map((name) => box.status(name)));

test('W04: the host of six threads dies: all run again within 2 s (asserted: 10), uncounted, and why is said; at once again: counted', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  for (const name of names) {
    const restart = name === 't5' ? 'no' : 'on-failure';
    await client.call('start', { name, spec: part('thread', 'counts', { restart }) });
  }
  const [host] = [...new Set((await all(box)).map(({ pid }) => pid))];
  const began = performance.now();
  process.kill(host ?? 0, 'SIGKILL');
  const again = (generation: number) =>
    eventually(async () =>
      (await all(box)).every(
        (worker) => worker.name === 't5' || (worker.phase === 'running' && worker.generation === generation),
      ),
    );
  await again(2);
  expect(performance.now() - began).toBeLessThan(10_000);
  const lost = { kind: 'lost', reason: 'thread host died' };
  for (const { name, restarts, phase, exit } of await all(box)) {
    expect(restarts, name).toBe(0);
    if (name === 't5') expect([phase, exit]).toEqual(['failed', lost]);
    const { runs } = await client.call('history', { name });
    expect(runs.find(({ generation }) => generation === 1)?.exit, name).toEqual(lost);
  }
  // A host that dies again within 10 s: each thread's own bad end.
  process.kill((await box.status('t0')).pid ?? 0, 'SIGKILL');
  await again(3);
  for (const { name, restarts } of await all(box)) expect(restarts, name).toBe(name === 't5' ? 0 : 1);
}, 60_000);

test('W04: one of them takes all memory: it has failed for want of memory, or all were lost and run again; daemon and shim are unhurt', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const shim = box.shimPid;
  // All in one host, and soon.
  const env = { NODE_OPTIONS: '--max-old-space-size=48' };
  const client = await box.client();
  for (const name of names)
    await client.call('start', { name, spec: { ...part('thread', 'counts', { restart: 'on-failure' }), env } });
  await client.call('start', { name: 'greedy', spec: { ...module('thread', 'eats-memory.mjs'), env } });
  await eventually(async () => (await box.status('greedy')).phase === 'failed', { withinMs: 60_000 });
  const greedy = await box.status('greedy');
  expect(['out of memory', 'thread host died']).toContain(greedy.reason);
  await eventually(async () => (await all(box)).every(({ phase }) => phase === 'running'));
  for (const { name, restarts, generation } of await all(box)) {
    expect([restarts, generation], name).toEqual([0, greedy.reason === 'out of memory' ? 1 : 2]);
  }
  expect((await client.call('daemon.info', {})).pid).toBe(daemon.pid);
  expect(box.shimPid).toBe(shim);
}, 90_000);

test.each([
  'stop',
  'kill',
  'the host killed',
])('W25: a thread that never yields prints 100 lines a second: seen at once, and all there after %s', async (how) => {
  await using box = new CrashBox();
  await box.daemon();
  const file = join(box.directory, 'busy.mjs');
  writeFileSync(
    file,
    `export default (ctx) => {
       for (let n = 1, at = Date.now(); ; ) {
         if (Date.now() - at < 10) continue;
         at = Date.now();
         console.log('line ' + n);
         ctx.publish({ printed: n });
         n += 1;
       }
     };`,
  );
  const client = await box.client();
  await client.call('start', { name: 'busy', spec: { ...module('thread', file), graceMs: 300 } });
  const following = box.spawn('workerctl', ['logs', '-f', 'busy', '--raw']);
  await eventually(() => following.stdout().includes('line 20\n'), { what: 'its lines are followed while it is busy' });
  const { pid } = await box.status('busy');
  if (how === 'the host killed') process.kill(pid ?? 0, 'SIGKILL');
  else await client.call('stop', { name: 'busy', force: how === 'kill' });
  await eventually(async () => ['stopped', 'failed'].includes((await box.status('busy')).phase));
  following.child.kill('SIGKILL');
  const lines = readFileSync(join(box.home, 'logs', 'busy', '1.log'), 'utf8')
    .split('\n')
    .slice(0, -1);
  expect(lines).toEqual(lines.map((_, index) => `line ${index + 1}`));
  // It prints before it publishes.
  expect(lines.length).toBeGreaterThanOrEqual(Number((await box.status('busy')).state?.['printed'] ?? 0));
  expect(lines.length).toBeGreaterThanOrEqual(20);
}, 60_000);
