import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bench, fixture, type RunningHost } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.end());

const ended = async (host: RunningHost): Promise<void> => {
  await bench.until('the host is gone', () => host.exit !== null);
  host.channel.drain();
};

test('says running, then state, ready and the result, and ends with 0', async () => {
  const host = bench.process({ module: fixture('counts-and-returns.ts') });
  await ended(host);
  const { lines, state } = host.channel;
  expect(host.exit).toEqual({ code: 0, signal: null });
  expect(lines[0]).toEqual({ running: true });
  expect(lines.filter((line) => 'ready' in line)).toEqual([{ ready: true }]);
  const progress = { done: 1, total: 2, unit: 'files' };
  expect(state).toEqual({ counter: 3, progress });
  expect(lines.at(-1)).toEqual({
    exit: { kind: 'returned' },
    result: { name: 'under-test', kind: 'process', generation: 3, state: { counter: 3, progress } },
  });
  expect(host.channel.text('err')).toBe('');
});

test('a million publishes become few lines, and the latest arrives', async () => {
  const host = bench.process({ module: fixture('publishes-a-million.mjs') });
  await ended(host);
  expect(host.channel.state).toEqual({ counter: 1_000_000, half: 500_000 });
  expect(host.channel.lines.length).toBeLessThan(3000);
});

test('a busy loop logs live, publishes, and sees the stop', async () => {
  const host = bench.process({ module: fixture('busy-until-stopped.mjs') });
  await bench.until('lines while it is busy', () => host.channel.text('out').includes('line 20\n'));
  await bench.until('state while it is busy', () => Number(host.channel.state['counter']) > 20);
  host.channel.stop('because');
  await ended(host);
  const result = host.channel.line('result') as { counter: number };
  expect(result).toMatchObject({ stop: { reason: 'because', by: null }, aborted: true });
  expect(host.channel.text('out').trimEnd().split('\n')).toHaveLength(result.counter);
  expect(host.channel.state).toEqual({ counter: result.counter - 1 });
});

test.each([
  { how: 'exit', code: 0, exit: undefined },
  { how: 'throw', code: 1, exit: { kind: 'error', name: 'Error', message: 'as asked' } },
  { how: 'return', code: 0, exit: { kind: 'returned' } },
])('10,000 lines, then $how: all of them are there, and the last state', async ({ how, code, exit }) => {
  const host = bench.process({ module: fixture('prints-then-ends.mjs'), params: { lines: 10_000, how } });
  await ended(host);
  const out = host.channel.text('out').trimEnd().split('\n');
  const err = host.channel.text('err').split('\n');
  expect(out).toEqual(Array.from({ length: 10_000 }, (_, index) => `out ${index} ${'x'.repeat(40)}`));
  expect(err.slice(0, 10_000)).toEqual(Array.from({ length: 10_000 }, (_, index) => `err ${index}`));
  expect(host.exit).toEqual({ code, signal: null });
  expect(host.channel.state).toEqual({ printed: 10_000 });
  if (exit === undefined) expect(host.channel.line('exit')).toBeUndefined();
  else expect(host.channel.line('exit')).toMatchObject(exit);
  if (how === 'throw') {
    expect(host.channel.text('err')).toContain('prints-then-ends.mjs:');
    expect(host.channel.text('err')).toContain('the cause');
  }
});

test('messages come in order and end with the stop; state from outside is seen and not sent back', async () => {
  const host = bench.process({ module: fixture('collects-messages.mjs') });
  await bench.until('it listens', () => host.channel.state['listening'] === true);
  host.channel.send({ state: { outside: [1, { two: 2 }] } });
  host.channel.send({ message: 'one' });
  host.channel.send({ message: 'zwei — 二' });
  host.channel.send({ error: 'that was refused' });
  await bench.until('both were taken', () => (host.channel.state['messages'] as string[] | undefined)?.length === 2);
  expect(host.channel.state['seen']).toMatchObject({ outside: [1, { two: 2 }] });
  expect(host.channel.state).not.toHaveProperty('outside');
  host.channel.stop();
  await ended(host);
  expect(host.channel.line('result')).toEqual(['one', 'zwei — 二']);
  expect(host.channel.text('err')).toBe('workerd: that was refused\n');
});

test('of messages that nobody reads the oldest go, and that is said', async () => {
  const module = bench.file(
    'reads-late.mjs',
    `export default async (ctx) => {
      while (ctx.state.go !== true) await new Promise((resolve) => setTimeout(resolve, 5));
      for await (const message of ctx.messages) return message;
    }`,
  );
  const host = bench.process({ module });
  await bench.until('it runs', () => host.channel.line('running') === true);
  for (let index = 0; index < 1010; index += 1) host.channel.send({ message: `${index}` });
  host.channel.send({ state: { go: true } });
  await ended(host);
  expect(host.channel.line('result')).toBe('10');
  expect(host.channel.text('err')).toContain('the oldest are dropped');
});

test('a wait that the stop cut off is a good end', async () => {
  const host = bench.process({ module: fixture('waits-for-the-signal.mjs'), export: 'sleeping' });
  await bench.until('it runs', () => host.channel.line('running') === true);
  host.channel.stop();
  await ended(host);
  expect(host.channel.lines.at(-1)).toEqual({ exit: { kind: 'returned' }, result: null });
  expect(host.exit?.code).toBe(0);
});

test('a worker that only listens for the stop stays alive until it comes', async () => {
  const host = bench.process({ module: fixture('waits-for-the-signal.mjs'), export: 'listening' });
  await bench.until('it runs', () => host.channel.line('running') === true);
  host.channel.stop('enough');
  await ended(host);
  expect(host.channel.line('result')).toBe('stop requested: enough');
});

test('a wait on the side that the stop cut off does not end the run early', async () => {
  const host = bench.process({ module: fixture('waits-for-the-signal.mjs'), export: 'aside' });
  await bench.until('it runs', () => host.channel.line('running') === true);
  host.channel.stop();
  await ended(host);
  expect(host.channel.line('result')).toBe('tidied up');
});

test.each([
  { export: 'rejects', message: 'nobody waits for me' },
  { export: 'throws', message: 'out of a timer' },
])('an error outside of the promise ends the run: $export', async ({ export: name, message }) => {
  const host = bench.process({ module: fixture('fails-aside.mjs'), export: name });
  await ended(host);
  expect(host.channel.line('exit')).toMatchObject({ kind: 'error', name: 'RangeError', message });
  expect(host.channel.text('err')).toContain(`RangeError: ${message}\n    at `);
  expect(host.exit?.code).toBe(1);
});

test('a module that handles uncaught errors itself is left to it', async () => {
  const host = bench.process({ module: fixture('fails-aside.mjs'), export: 'handles' });
  await ended(host);
  expect(host.channel.line('result')).toBe('caught by the module');
});

test('handles that are left open are named in one line', async () => {
  const host = bench.process({ module: fixture('leaves-handles-open.mjs') });
  await ended(host);
  expect(host.channel.text('err')).toBe('workerd: the worker ended with open handles: TCPServerWrap, Timeout\n');
  expect(host.channel.line('result')).toBe('done');
});

test.each([
  { name: 'a cycle', body: 'const a = {}; a.a = a; return a', says: 'the result is not JSON' },
  { name: 'too large', body: "return 'x'.repeat(300_000)", says: 'at most 262144 are kept' },
  { name: 'undefined', body: 'return', says: '' },
])('a result that cannot be kept is null, and that is said: $name', async ({ body, says }) => {
  const host = bench.process({ module: bench.file('w.mjs', `export default () => { ${body} }`) });
  await ended(host);
  expect(host.channel.lines.at(-1)).toEqual({ exit: { kind: 'returned' }, result: null });
  expect(host.channel.text('err')).toContain(says);
});

test('a large result and a large state arrive whole', async () => {
  const module = bench.file(
    'large.mjs',
    `export default (ctx) => { ctx.publish({ text: 'é'.repeat(30_000) }); return 'r'.repeat(250_000) }`,
  );
  const host = bench.process({ module });
  await ended(host);
  expect(host.channel.state).toEqual({ text: 'é'.repeat(30_000) });
  expect(host.channel.line('result')).toBe('r'.repeat(250_000));
});

test('publishing does not wait for a reader that reads nothing, and the latest arrives when it reads', async () => {
  const module = bench.file(
    'publishes-unread.mjs',
    `export default async (ctx) => {
      const until = performance.now() + 300;
      for (let counter = 0; performance.now() < until; counter += 1) {
        ctx.publish({ counter, padding: 'x'.repeat(10_000) });
        if (counter % 100 === 0) await null;
      }
      ctx.publish({ padding: '', counter: -1 });
      console.log('published');
      return new Promise((resolve) => ctx.signal.addEventListener('abort', () => resolve('stopped')));
    }`,
  );
  const host = bench.process({ module });
  // Only stdout is looked at until it is through: control up is left to fill.
  const read = (): string => {
    host.channel.drain('out');
    return host.channel.text('out');
  };
  await bench.until('it went through', () => read() === 'published\n', { drain: false });
  await bench.until('the latest is there', () => host.channel.state['counter'] === -1);
  host.channel.stop();
  await ended(host);
  expect(host.channel.state).toEqual({ counter: -1, padding: '' });
});

test('a code that the module chose is how it ended', async () => {
  const module = bench.file('w.mjs', 'export default (ctx) => { ctx.publish({ a: 1 }); process.exitCode = 7 }');
  const host = bench.process({ module });
  await ended(host);
  expect(host.exit).toEqual({ code: 7, signal: null });
  expect(host.channel.line('exit')).toBeUndefined();
  expect(host.channel.state).toEqual({ a: 1 });
});

test('what is published while leaving arrives', async () => {
  const module = bench.file(
    'w.mjs',
    `export default (ctx) => { ctx.publish({ a: 1 }); process.on('exit', () => ctx.publish({ b: 2 })); process.exit(3) }`,
  );
  const host = bench.process({ module });
  await ended(host);
  expect(host.exit).toEqual({ code: 3, signal: null });
  expect(host.channel.state).toEqual({ a: 1, b: 2 });
});

test('thrown things that are no Error, or a trap, are recorded all the same', async () => {
  const five = bench.process({ module: bench.file('w.mjs', 'export default () => { throw 5 }') });
  const trap = bench.process({
    module: bench.file(
      'w.mjs',
      `export default () => { throw new Proxy({}, { get() { throw 1 }, has() { throw 1 }, getPrototypeOf() { throw 1 } }) }`,
    ),
  });
  await ended(five);
  await ended(trap);
  const message = 'something that is not an Error was thrown: 5';
  expect(five.channel.line('exit')).toEqual({ kind: 'error', name: 'Error', message, stack: null });
  expect(trap.channel.line('exit')).toMatchObject({ kind: 'error', name: 'Error' });
});

test('the module sees its surroundings, without the descriptors that are not its children’s', async () => {
  const host = bench.process({ module: fixture('shows-its-environment.mjs'), env: { MINE: 'yes' } });
  await ended(host);
  const { env } = host.channel.line('result') as { env: Record<string, string> };
  expect(env).toMatchObject({ WORKERD_NAME: 'under-test', WORKERD_RUN: 'run-1', MINE: 'yes' });
  expect(env).not.toHaveProperty('WORKERD_FD');
  expect(env).not.toHaveProperty('WORKERD_DOWN_FD');
});

test('SIGTERM ends a busy module at once: nothing handles it', async () => {
  const host = bench.process({ module: fixture('busy-for-ever.mjs') });
  await bench.until('it is busy', () => host.channel.text('out') === 'busy\n');
  host.child.kill('SIGTERM');
  await ended(host);
  expect(host.exit).toEqual({ code: null, signal: 'SIGTERM' });
});
