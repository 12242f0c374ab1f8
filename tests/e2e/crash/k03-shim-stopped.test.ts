/** K03: the shim stands still (SIGSTOP). That is said at once, is not taken for its death, and costs nothing once it goes on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { command, module, part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { checkGaps } from '../../helpers/gaps.ts';
import { fixtures } from '../../helpers/sandbox.ts';

const file = 'prints-a-sequence.mjs';
const specs = {
  command: command(process.execPath, join(fixtures, file)),
  process: module('process', file),
  thread: module('thread', file),
};
const names = ['command', 'process', 'thread'] as const;
/** The row's 30 s: WORKERD_TEST_LONG=1. */
const stoppedMs = process.env['WORKERD_TEST_LONG'] === undefined ? 4000 : 30_000;

const begin = async (box: CrashBox) => {
  const client = await box.client();
  for (const name of names) await client.call('start', { name, spec: specs[name] });
  await eventually(async () => (await client.call('status', {})).workers.every(({ state }) => state !== null));
  client.close();
};
const identity = ({ name, phase, pid, generation, restarts }: WorkerView) => ({
  name,
  phase,
  pid,
  generation,
  restarts,
});
const shims = (box: CrashBox) =>
  box.processes().flatMap(({ pid, command: words }) => (words.includes('shim.cjs --home') ? [pid] : []));

test('K03: status answers within 1 s (asserted: 5) and says it, no second shim, and after SIGCONT nothing is lost', async () => {
  await using box = new CrashBox();
  await box.daemon();
  await begin(box);
  const client = await box.client();
  const before = (await client.call('status', {})).workers.map(identity);
  const shim = box.shimPid;
  process.kill(shim, 'SIGSTOP');
  const began = performance.now();
  const { code, stdout } = await box.workerctl(['status', '--json']);
  const { problems } = await client.call('daemon.info', {});
  expect(performance.now() - began).toBeLessThan(5000);
  expect([code, (JSON.parse(stdout) as { workers: WorkerView[] }).workers.map(identity)]).toEqual([0, before]);
  const said = { kind: 'shim-silent', message: expect.stringMatching(/the shim \(pid \d+\) is stopped.*kill -CONT/) };
  expect(problems).toMatchObject([said]);
  // What can be done past it is done: whoever is to go is signalled, and is over once somebody has seen it end.
  await client.call('stop', { name: 'command', wait: false });
  await eventually(() => box.livingRuns('command').length === 0, { what: 'the command is gone', withinMs: 30_000 });
  expect(await box.status('command')).toMatchObject({ phase: 'stopping', exit: null });
  const until = performance.now() + stoppedMs;
  await eventually(() => performance.now() > until, { what: 'it stands still for long', withinMs: 2 * stoppedMs });
  expect(shims(box)).toEqual([shim]);
  process.kill(shim, 'SIGCONT');
  await eventually(async () => (await box.status('command')).phase === 'stopped');
  expect((await box.status('command')).exit).toEqual({ kind: 'signal', signal: 'SIGTERM' });
  await eventually(async () => (await client.call('daemon.info', {})).problems?.length === 0, {
    what: 'nothing wrong',
  });
  for (const name of names) {
    const { worker } = await client.call('stop', { name });
    expect([worker.phase, worker.generation], name).toEqual(['stopped', 1]);
    const text = readFileSync(join(box.home, 'logs', name, '1.log'), 'utf8');
    expect(checkGaps(name, text, 0).last, name).toBeGreaterThanOrEqual(Number(worker.state?.['counter']));
  }
  expect(box.said()).not.toContain('the shim is gone');
}, 120_000);

test('K03: a daemon that is started beside it serves all the same, starts no second one, and goes on with it', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  await begin(box);
  const client = await box.client();
  const before = (await client.call('status', {})).workers.map(identity);
  client.close();
  const shim = box.shimPid;
  process.kill(shim, 'SIGSTOP');
  await first.kill();
  await box.daemon();
  const again = await box.client();
  expect((await again.call('status', {})).workers.map(identity)).toEqual(before);
  const [problem] = (await again.call('daemon.info', {})).problems ?? [];
  expect(problem?.message).toContain('does not answer');
  expect(shims(box)).toEqual([shim]);
  process.kill(shim, 'SIGCONT');
  await eventually(async () => (await again.call('daemon.info', {})).problems?.length === 0, { what: 'nothing wrong' });
  expect((await again.call('status', {})).workers.map(identity)).toEqual(before);
  expect(shims(box)).toEqual([shim]);
});

test('K03: the daemon is told to end everything while it stands still: it is woken, and all of it ends', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  await begin(box);
  process.kill(box.shimPid, 'SIGSTOP');
  const { code, stderr } = await box.workerd(['stop']);
  expect([code, stderr]).toEqual([0, '']);
  expect(await daemon.ended).toBe(0);
  await eventually(() => box.processes().length === 0, { what: 'nothing is left' });
});

test('K03: what it has not taken (send, signal, publish) is not said to be done, and does not hang', async () => {
  await using box = new CrashBox();
  await box.daemon();
  await begin(box);
  const client = await box.client();
  process.kill(box.shimPid, 'SIGSTOP');
  const name = 'process';
  const asked = [
    client.call('send', { name, text: 'x' }),
    client.call('signal', { name, signal: 'SIGCONT' }),
    client.call('publish', { name, state: { a: 1 } }),
  ];
  const refusal = {
    code: 'worker.busy',
    message: expect.stringContaining('it is not known whether process got it'),
  };
  await Promise.all(asked.map((each) => expect(each).rejects.toMatchObject(refusal)));
  process.kill(box.shimPid, 'SIGCONT');
}, 60_000);

test('K03: the daemon is replaced meanwhile: what is on its way is not done twice, and not said to be done', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  const spec = { ...command('cat'), stdin: true, restart: { policy: 'always' as const } };
  await client.call('start', { name: 'w', spec });
  process.kill(box.shimPid, 'SIGSTOP');
  const sent = client.call('send', { name: 'w', text: 'once' });
  const published = client.call('publish', { name: 'w', state: { a: 1 } });
  // `shim`: where the replacement takes longer than the shim is waited for.
  const reason = expect.stringMatching(/^(replaced|shim)$/);
  const refused = expect(sent).rejects.toMatchObject({ code: 'worker.busy', data: { reason } });
  expect((await box.workerd(['restart'])).code).toBe(0);
  await refused;
  process.kill(box.shimPid, 'SIGCONT');
  expect(await published).toMatchObject({ worker: { state: { a: 1 } } });
  await client.call('send', { name: 'w', text: 'last' });
  const lines = () => readFileSync(join(box.home, 'logs', 'w', '1.log'), 'utf8');
  await eventually(() => lines().endsWith('last\n'));
  expect(lines()).toBe('once\nlast\n');
}, 60_000);

test('K03: a thread that has to be ended by force meanwhile takes no other thread of its host along', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'stubborn', spec: { ...module('thread', 'busy-for-ever.mjs'), graceMs: 100 } });
  await client.call('start', { name: 'other', spec: specs.thread });
  const before = identity(await box.status('other'));
  process.kill(box.shimPid, 'SIGSTOP');
  const stopping = client.call('stop', { name: 'stubborn' });
  await eventually(() => (box.said().match(/no answer within/g) ?? []).length >= 2, {
    what: 'the shim was told to end it by force',
    withinMs: 20_000,
  });
  const until = performance.now() + 1500;
  await eventually(() => performance.now() > until, { what: 'the time after which a host is killed is over' });
  process.kill(box.shimPid, 'SIGCONT');
  expect((await stopping).worker).toMatchObject({ phase: 'stopped', exit: { kind: 'terminated' } });
  expect(identity(await box.status('other'))).toEqual(before);
}, 60_000);

test('K03: it is killed before it goes on: what it was to say to modules is said by the next one', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'polite', spec: part('process', 'counts', { graceMs: 60_000 }) });
  await client.call('start', { name: 'stubborn', spec: { ...module('thread', 'busy-for-ever.mjs'), graceMs: 100 } });
  const shim = box.shimPid;
  process.kill(shim, 'SIGSTOP');
  const stopping = Promise.all(['polite', 'stubborn'].map((name) => client.call('stop', { name })));
  await eventually(() => (box.said().match(/no answer within/g) ?? []).length >= 3, {
    what: 'both were asked, and one was told by force, in vain',
    withinMs: 20_000,
  });
  process.kill(shim, 'SIGKILL');
  expect((await stopping).map(({ worker: { phase, exit } }) => [phase, exit?.kind])).toEqual([
    ['stopped', 'returned'],
    ['stopped', 'terminated'],
  ]);
}, 60_000);
