/** A connection's life with the real daemon: who asks, paging, back-pressure, held requests, subscriptions. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/shared/limits.ts';
import type { WorkerView } from '../../src/shared/worker.ts';
import { connectTo } from '../helpers/daemon-client.ts';
import { eventually } from '../helpers/eventually.ts';
import type { Answer } from '../helpers/fake-server.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const box = new Sandbox();
beforeAll(() => box.startDaemon());
afterAll(() => box[Symbol.asyncDispose]());

const sleeper = { kind: 'command', command: ['/bin/sleep', '1000'] };
interface Page {
  readonly workers: readonly WorkerView[];
  readonly next: string | null;
}

describe('hello', () => {
  const startedBy = async (client: ReturnType<typeof connectTo>, name: string) =>
    (await client.result<{ worker: WorkerView }>('start', { name, spec: sleeper })).worker.startedBy;

  it('is optional: who did not say it is nobody', async () => {
    using client = connectTo(box);
    expect(await startedBy(client, 'h1')).toEqual({ uid: null, pid: null, via: null });
  });

  it('feeds startedBy and stoppedBy from then on, in any order, and may be said twice', async () => {
    using client = connectTo(box);
    await client.result('daemon.info');
    await client.result('hello', { client: 'one', uid: 7, pid: 8 });
    expect(await startedBy(client, 'h2')).toEqual({ uid: 7, pid: 8, via: 'one' });
    await client.result('hello', { client: 'two', via: 'by hand' });
    expect(await startedBy(client, 'h3')).toEqual({ uid: null, pid: null, via: 'by hand' });
    const { worker } = await client.result<{ worker: WorkerView }>('stop', { name: 'h2' });
    expect([worker.startedBy?.via, worker.stoppedBy?.via]).toEqual(['one', 'by hand']);
  });

  it('is that of its own connection', async () => {
    using first = connectTo(box);
    using second = connectTo(box);
    await first.result('hello', { client: 'first' });
    expect(await startedBy(second, 'h4')).toMatchObject({ via: null });
    expect(await startedBy(first, 'h5')).toMatchObject({ via: 'first' });
  });
});

describe('paging of status', () => {
  const spec = { kind: 'command', command: ['/bin/true'] };

  it('after and limit; removals between two pages, also of the last name seen, skip nobody', async () => {
    using client = connectTo(box);
    const all = Array.from({ length: 9 }, (_, index) => `p${index}`);
    for (const name of all) await client.result('define', { name, spec });
    const seen: string[] = [];
    let next: string | null | undefined;
    while (next !== null) {
      const page: Page = await client.result('status', {
        names: ['p*'],
        limit: 2,
        ...(next === undefined ? {} : { after: next }),
      });
      seen.push(...page.workers.map(({ name }) => name));
      next = page.next;
      if (seen.length === 4) for (const name of ['p0', 'p3', 'p5']) await client.result('remove', { name });
    }
    expect(seen).toEqual(['p0', 'p1', 'p2', 'p3', 'p4', 'p6', 'p7', 'p8']);
  });

  it('a page stays below the frame limit, however large its workers; in sum they are all there', async () => {
    using client = connectTo(box);
    const all = Array.from({ length: 25 }, (_, index) => `big${String(index).padStart(2, '0')}`);
    // Escaped, each of these characters takes six bytes.
    const params = { text: '\u0001'.repeat(15_000) };
    const env = { TEXT: 'x'.repeat(30_000) };
    for (const name of all) await client.result('define', { name, spec: { ...spec, params, env } });
    for (const showEnv of [false, true]) {
      const seen: string[] = [];
      let next: string | null | undefined;
      let pages = 0;
      while (next !== null) {
        const lines = client.lines().length;
        const after = next === undefined ? {} : { after: next };
        const page: Page = await client.result('status', { names: ['big*'], showEnv, ...after });
        expect(Buffer.byteLength(client.lines()[lines] ?? '')).toBeLessThanOrEqual(limits.maxFrameBytes);
        seen.push(...page.workers.map(({ name }) => name));
        next = page.next;
        pages += 1;
      }
      expect(seen).toEqual(all);
      expect(pages).toBeGreaterThan(1);
    }
  });
});

describe('bounds', () => {
  it('beyond 64 requests in work the connection is not read further; others are served, and it goes on', async () => {
    using client = connectTo(box);
    using other = connectTo(box);
    await client.result('start', { name: 'slow', spec: sleeper });
    const shim = box.processes().find(({ command }) => command.includes('shim.cjs'));
    expect(shim).toBeDefined();
    const before = client.lines().length;
    process.kill(shim?.pid ?? 0, 'SIGSTOP');
    try {
      client.ask(
        ...Array.from({ length: 100 }, (_, id) => ({
          jsonrpc: '2.0',
          id,
          method: 'signal',
          params: { name: 'slow', signal: 'CONT' },
        })),
        // By itself it would be answered at once.
        { jsonrpc: '2.0', id: 'behind', method: 'daemon.info' },
      );
      for (let round = 0; round < 5; round += 1) await other.result('status');
      expect(client.lines()).toHaveLength(before);
    } finally {
      process.kill(shim?.pid ?? 0, 'SIGCONT');
    }
    const answers = (await client.received(before + 101)).slice(before) as readonly Answer[];
    expect(answers.every(({ result }) => result !== undefined)).toBe(true);
    expect(answers.findIndex(({ id }) => id === 'behind')).toBeGreaterThanOrEqual(100 - limits.maxInFlight);
  });

  it('1,024 held requests; the one too many is limit.exceeded, the connection is usable, and each is answered', async () => {
    using client = connectTo(box);
    using other = connectTo(box);
    await other.result('start', { name: 'held', spec: sleeper });
    const wait = { method: 'wait', params: { name: 'held', for: 'exit' } };
    client.ask(
      ...Array.from({ length: limits.maxHeld }, (_, id) => ({ jsonrpc: '2.0', id, ...wait })),
      { jsonrpc: '2.0', id: 'one more', ...wait },
      { jsonrpc: '2.0', id: 'beside', method: 'daemon.info' },
    );
    expect(await client.answerTo('one more')).toMatchObject({
      error: { code: -32010, data: { code: 'limit.exceeded', limit: 'maxHeld', retry: true } },
    });
    expect(await client.answerTo('beside')).toHaveProperty('result');
    // One that does not wait is none of them.
    expect(await client.call('start', { name: 'held', wait: 'none' })).toHaveProperty('result');
    await other.result('stop', { name: 'held' });
    const answers = (await client.received(limits.maxHeld + 2)) as readonly Answer[];
    expect(answers.filter(({ id, result }) => typeof id === 'number' && result !== undefined)).toHaveLength(
      limits.maxHeld,
    );
    // What was answered does not count any more.
    expect(await client.call('wait', { name: 'held', for: 'exit' })).toHaveProperty('result');
  });

  it('64 subscriptions; the one too many is limit.exceeded, until one ends', async () => {
    using client = connectTo(box);
    const subscriptions: string[] = [];
    for (let count = 0; count < limits.maxSubscriptions; count += 1) {
      const { subscription } = await client.result<{ subscription: string }>('watch', { names: ['nobody-*'] });
      subscriptions.push(subscription);
    }
    const refused = await client.call('watch', { names: ['nobody-*'] });
    expect(refused.error?.data?.code).toBe('limit.exceeded');
    expect(await client.result('unwatch', { subscription: subscriptions[0] })).toEqual({ removed: true });
    expect(await client.result('unwatch', { subscription: subscriptions[0] })).toEqual({ removed: false });
    expect(await client.call('watch', { names: ['nobody-*'] })).toHaveProperty('result');
  });

  it('events come after the answer that names their subscription, also of a batch that waits for more', async () => {
    using client = connectTo(box);
    await client.result('define', { name: 'batched', spec: sleeper });
    using other = connectTo(box);
    const ask = (id: number, method: string, params: object) => ({ jsonrpc: '2.0', id, method, params });
    other.send(
      `${JSON.stringify([
        ask(1, 'watch', { names: ['batched'] }),
        ask(2, 'wait', { name: 'batched', for: 'running', timeoutMs: 50 }),
        ask(3, 'logs', { name: 'batched', follow: true }),
      ])}\n`,
    );
    await client.result('wait', { name: 'batched', for: 'stopped' });
    const [answers, event] = (await other.received(2)) as readonly [readonly Answer[], { params: object }];
    expect(answers.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(event.params).toMatchObject({ type: 'snapshot', name: 'batched', subscription: 's1' });
  });

  it('a subscription is its own connection’s to end', async () => {
    using client = connectTo(box);
    using other = connectTo(box);
    const { subscription } = await client.result<{ subscription: string }>('watch', { names: ['watched*'] });
    expect(await other.result('unwatch', { subscription })).toEqual({ removed: false });
    await other.result('define', { name: 'watched', spec: sleeper });
    await eventually(() => client.events().some(({ name }) => name === 'watched'));
    expect(await client.result('unwatch', { subscription })).toEqual({ removed: true });
  });

  it('a client that is gone takes its held requests along, which is no fault of the daemon', async () => {
    using other = connectTo(box);
    await other.result('start', { name: 'left', spec: sleeper });
    const client = connectTo(box);
    client.ask({ jsonrpc: '2.0', id: 1, method: 'wait', params: { name: 'left', for: 'exit' } });
    await client.result('daemon.info');
    client.socket.destroy();
    await other.result('stop', { name: 'left' });
    // The daemon writes as things happen; this is after the connection's end.
    const log = await eventually(() => {
      const text = readFileSync(join(box.home, 'workerd.log'), 'utf8');
      return /"name":"left".*(?:ended|stopped|exited)/.test(text) ? text : null;
    });
    expect(log.split('\n').filter((line) => line.includes('"level":"error"'))).toEqual([]);
  });
});
