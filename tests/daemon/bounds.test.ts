/** What the daemon does for one request is bounded by what can be answered: long histories, names that are not there. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Run } from '../../src/daemon/core/model.ts';
import { nearestName } from '../../src/daemon/definitions.ts';
import { type Connection, createHandlers, type HandlersOptions } from '../../src/daemon/handlers.ts';
import { LogFeeds } from '../../src/daemon/log-feeds.ts';
import { RotatingLog } from '../../src/daemon/shim/rotating-log.ts';
import type { Published } from '../../src/daemon/subscription.ts';
import { limits } from '../../src/shared/limits.ts';
import { eventually } from '../helpers/eventually.ts';
import { FakePeer } from '../helpers/fake-peer.ts';
import { silentLog } from '../helpers/fake-store.ts';
import { fakeWorker, runIn } from '../helpers/fake-worker.ts';

describe('history', () => {
  let read = 0;
  const past = (count: number, result: string) =>
    function* (_name: string, limit: number): Generator<Run> {
      for (let generation = count; generation > Math.max(0, count - limit); generation -= 1) {
        read += 1;
        yield runIn('closed', { generation, result });
      }
    };
  const ask = async (run: Run | null, count: number, result: string, limit?: number) => {
    read = 0;
    const worker = fakeWorker({ name: 'w', run });
    const handlers = createHandlers({
      registry: { get: () => worker },
      store: { history: past(count, result) },
    } as unknown as HandlersOptions);
    const params = limit === undefined ? { name: 'w' } : { name: 'w', limit };
    const { runs } = await handlers.history(params, {} as Connection);
    return runs;
  };
  const long = 'x'.repeat(limits.maxResultBytes - 2);

  it('has as many of the newest as fit into a frame, and no more are read', async () => {
    const runs = await ask(null, 100, long);
    expect(runs.map(({ generation }) => generation)).toEqual([100, 99, 98]);
    expect(Buffer.byteLength(JSON.stringify({ runs }))).toBeLessThan(limits.maxFrameBytes);
    expect(read).toBe(4);
  });

  it('counts bytes, not characters', async () => {
    const runs = await ask(null, 100, 'ß'.repeat(limits.maxResultBytes / 2 - 1));
    expect(runs).toHaveLength(3);
  });

  it('has all where they are short, at most as many as were asked for, and the newest once', async () => {
    expect(await ask(null, 60, 'short')).toHaveLength(60);
    expect(await ask(null, 200, 'short')).toHaveLength(100);
    const newest = runIn('closed', { generation: 7 });
    expect((await ask(newest, 7, 'short', 3)).map(({ generation }) => generation)).toEqual([7, 6, 5]);
    expect((await ask(newest, 6, 'short', 3)).map(({ generation }) => generation)).toEqual([7, 6, 5]);
    expect((await ask(newest, 7, 'short', 1)).map(({ generation }) => generation)).toEqual([7]);
  });
});

describe('H10: the nearest name', () => {
  const names = (prefix: string) =>
    Array.from({ length: 10_000 }, (_, index) => `${prefix}${String(index).padStart(64 - prefix.length, '0')}`);

  it('is found among 10,000', () => {
    expect(nearestName('worker-000042', names('w').with(9999, 'worker-00042'))).toBe('worker-00042');
    expect(nearestName('WORKRE-1', names('w').with(9999, 'worker-1'))).toBe('worker-1');
    expect(nearestName('stat', ['statistics-of-the-day'])).toBe('statistics-of-the-day');
    expect(nearestName('quite-another', names('w'))).toBeNull();
    // None of its letters is right.
    expect([nearestName('zz', ['a', 'b2']), nearestName('b', ['a'])]).toEqual([null, null]);
    expect(nearestName('wb', ['web'])).toBe('web');
  });

  it.each([
    ['as long as they can be', 'z'.repeat(64), 'a'.repeat(50)],
    ['alike but for their ends', `${'a'.repeat(54)}${'z'.repeat(10)}`, 'a'.repeat(54)],
    ['alike but for their beginnings', `zzzzzz${'0'.repeat(58)}`, 'a'],
    ['longer than any name', 'a'.repeat(4096), 'a'.repeat(50)],
    ['of 100,000 characters', 'a'.repeat(100_000), 'a'.repeat(50)],
  ])('costs little: %s', (_what, wanted, prefix) => {
    const known = names(prefix);
    const began = performance.now();
    nearestName(wanted, known);
    // The bar is 100 ms on an idle machine.
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

describe('C01: a feed of log lines to one that does not read', () => {
  let directory: string;
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), 'workerd-feed-')), 'w');
  });
  afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

  const flood = () => {
    const log = new RotatingLog({ directory, generation: 1, maxBytes: 1e9, files: 5, onRemark: () => {} });
    log.write('o', Buffer.from(`${'x'.repeat(99)}\n`.repeat(50_000)));
    log.close();
  };
  const feed = (peer: FakePeer) =>
    new LogFeeds({
      directoryOf: () => directory,
      log: silentLog,
      from: { name: 'w', position: { generation: 1, stdout: 0, stderr: 0 }, only: true },
      peer,
      next: (): Published | undefined => undefined,
      deliver: () => {},
      eventCursor: () => '',
      line: (encoded) => peer.send(encoded),
    });

  it.each(['read on', 'closed'])('what it holds in the middle of a log is counted until it is %s', async (what) => {
    flood();
    const peer = new FakePeer();
    const feeds = feed(peer);
    feeds.begin();
    await eventually(() => peer.sent.length > 0);
    peer.backlogged = true;
    await eventually(() => peer.kept > 0);
    expect(peer.kept).toBeLessThan(limits.maxFrameBytes);
    expect(peer.sent.length).toBeLessThan(50_000);
    if (what === 'read on') {
      peer.backlogged = false;
      feeds.wake();
      await eventually(() => peer.sent.length === 50_000);
      await eventually(() => peer.kept === 0);
    }
    feeds.close();
    expect(peer.kept).toBe(0);
  });
});
