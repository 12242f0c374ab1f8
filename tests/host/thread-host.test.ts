import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bench, type Channel, fixture, type RunningHost } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.end());

const gone = (host: RunningHost, channel: Channel): unknown =>
  host.channel.lines
    .map((line) => line['threadExited'] as { run: string; exit: unknown })
    .find((exited) => exited?.run === channel.paths.up)?.exit;

const ended = async (host: RunningHost, channel: Channel): Promise<unknown> => {
  await bench.until('the thread is gone', () => gone(host, channel) !== undefined);
  channel.drain();
  return gone(host, channel);
};

const terminate = (host: RunningHost, channel: Channel): void =>
  host.channel.send({ terminate: { run: channel.paths.up } });

test('a thread says what a process says, with its thread id, and the host lives on', async () => {
  const host = bench.threadHost();
  const thread = bench.thread(host, { module: fixture('counts-and-returns.ts') });
  expect(await ended(host, thread)).toEqual({ kind: 'code', code: 0 });
  expect(thread.lines[0]).toEqual({ running: true, threadId: expect.any(Number) });
  expect(thread.state).toEqual({ counter: 3, progress: { done: 1, total: 2, unit: 'files' } });
  expect(thread.lines.at(-1)).toMatchObject({ exit: { kind: 'returned' }, result: { kind: 'thread', generation: 3 } });
  expect(host.exit).toBeNull();
});

test('its environment is exactly what the launch says', async () => {
  const host = bench.threadHost({ OF_THE_HOST: 'yes' });
  const env = { MINE: '1', WORKERD_NAME: 'under-test' };
  const thread = bench.thread(host, {
    module: fixture('shows-its-environment.mjs'),
    env: { ...env, WORKERD_FD: '3', WORKERD_DOWN_FD: '4' },
  });
  await ended(host, thread);
  expect(thread.line('result')).toEqual({ env });
});

test('a busy thread logs live, publishes, and sees the stop; others are not held up', async () => {
  const host = bench.threadHost();
  const busy = bench.thread(host, { module: fixture('busy-until-stopped.mjs') });
  await bench.until('lines while it is busy', () => busy.text('out').includes('line 20\n'));
  const other = bench.thread(host, { module: fixture('counts-and-returns.ts') });
  await ended(host, other);
  busy.stop('because');
  await ended(host, busy);
  const result = busy.line('result') as { counter: number };
  expect(result).toMatchObject({ stop: { reason: 'because' }, aborted: true });
  expect(busy.text('out').trimEnd().split('\n')).toHaveLength(result.counter);
});

test.each([
  { how: 'exit', gone: { kind: 'code', code: 0 }, exit: undefined },
  { how: 'throw', gone: { kind: 'code', code: 1 }, exit: { kind: 'error', message: 'as asked' } },
  { how: 'return', gone: { kind: 'code', code: 0 }, exit: { kind: 'returned' } },
])('10,000 lines, then $how: all of them are there', async ({ how, gone: expected, exit }) => {
  const host = bench.threadHost();
  const thread = bench.thread(host, { module: fixture('prints-then-ends.mjs'), params: { lines: 10_000, how } });
  expect(await ended(host, thread)).toEqual(expected);
  const out = thread.text('out').trimEnd().split('\n');
  expect(out).toEqual(Array.from({ length: 10_000 }, (_, index) => `out ${index} ${'x'.repeat(40)}`));
  expect(thread.text('err').split('\n').slice(0, 10_000)).toEqual(
    Array.from({ length: 10_000 }, (_, index) => `err ${index}`),
  );
  if (exit === undefined) expect(thread.line('exit')).toBeUndefined();
  else expect(thread.line('exit')).toMatchObject(exit);
  expect(thread.state).toEqual({ printed: 10_000 });
});

test('a thread in an endless loop is terminated; one that waits for a reader too', async () => {
  const host = bench.threadHost();
  const busy = bench.thread(host, { module: fixture('busy-for-ever.mjs') });
  await bench.until('it is busy', () => busy.text('out') === 'busy\n');
  terminate(host, busy);
  expect(await ended(host, busy)).toEqual({ kind: 'terminated' });
  expect(busy.line('exit')).toBeUndefined();

  const module = bench.file('floods.mjs', `export default () => { for (;;) console.log('x'.repeat(1000)) }`);
  const blocked = bench.thread(host, { module });
  const isGone = (): boolean => {
    host.channel.drain();
    blocked.drain('up');
    return gone(host, blocked) !== undefined;
  };
  await bench.until('it runs', () => isGone() || blocked.line('running') === true, { drain: false });
  terminate(host, blocked);
  await bench.until('it is gone, unread', isGone, { drain: false });
  expect(gone(host, blocked)).toEqual({ kind: 'terminated' });
});

test('a thread that runs out of memory says so, and the others live on', async () => {
  const host = bench.threadHost({ NODE_OPTIONS: '--max-old-space-size=48' });
  const other = bench.thread(host, { module: fixture('busy-until-stopped.mjs') });
  await bench.until('the other is busy', () => other.text('out').includes('line 1\n'));
  const greedy = bench.thread(host, { module: fixture('eats-memory.mjs') });
  await bench.until('it is gone', () => gone(host, greedy) !== undefined, { withinMs: 30_000 });
  expect(gone(host, greedy)).toMatchObject({ kind: 'error', message: expect.stringContaining('out of memory') });
  other.stop();
  await ended(host, other);
  expect(other.line('exit')).toEqual({ kind: 'returned' });
  expect(host.exit).toBeNull();
}, 40_000);

test('a module that does not load ends its thread alone', async () => {
  const host = bench.threadHost();
  const thread = bench.thread(host, { module: bench.file('a.ts', 'enum A { b }\nexport default () => A.b') });
  await ended(host, thread);
  expect(thread.line('exit')).toMatchObject({ kind: 'error', message: expect.stringContaining('enum') });
  expect(thread.text('err')).toContain('erasableSyntaxOnly');
  expect(host.exit).toBeNull();
});

test('FIFOs that are not there end the run with words', async () => {
  const host = bench.threadHost();
  const nowhere = { out: '/nowhere/out', err: '/nowhere/err', up: '/nowhere/up', down: '/nowhere/down' };
  host.channel.send({
    launch: { name: 'a', generation: 1, module: '/a.js', export: 'default', params: {}, env: {} },
    run: 'r',
    fifos: nowhere,
  });
  await bench.until('it is told', () => host.channel.line('threadExited') !== undefined);
  expect(host.channel.line('threadExited')).toMatchObject({
    run: 'r',
    exit: { kind: 'error', message: expect.stringContaining('/nowhere/out') },
  });
});

test('descriptors are back when threads have ended, however they ended', async () => {
  const host = bench.threadHost();
  const descriptors = (): number => readdirSync(`/proc/${host.child.pid}/fd`).length;
  const round = async (): Promise<void> => {
    const returns = bench.thread(host, { module: fixture('counts-and-returns.ts') });
    const busy = bench.thread(host, { module: fixture('busy-for-ever.mjs') });
    const newborn = bench.thread(host, { module: fixture('busy-for-ever.mjs') });
    terminate(host, newborn);
    expect(await ended(host, newborn)).toEqual({ kind: 'terminated' });
    await bench.until('it is busy', () => busy.text('out') === 'busy\n');
    terminate(host, busy);
    await ended(host, returns);
    await ended(host, busy);
  };
  await round();
  const before = descriptors();
  for (let count = 0; count < 3; count += 1) await round();
  expect(descriptors()).toBe(before);
});

test('a message that was sent while it is busy is there when it turns; the stop ends the reading', async () => {
  const host = bench.threadHost();
  const thread = bench.thread(host, { module: fixture('collects-messages.mjs') });
  await bench.until('it listens', () => thread.state['listening'] === true);
  thread.send({ message: 'one' });
  await bench.until('it was taken', () => (thread.state['messages'] as string[] | undefined)?.length === 1);
  thread.stop();
  await ended(host, thread);
  expect(thread.line('result')).toEqual(['one']);
});
