/** Held requests: what was true for one transition is not missed; timeouts, aborts, and nothing left behind. */
import { describe, expect, it } from 'vitest';
import type { WorkerRecord } from '../../src/daemon/core/model.ts';
import { Registry } from '../../src/daemon/registry.ts';
import { Waiters } from '../../src/daemon/waiters.ts';
import { FakeClock, turns } from '../helpers/fake-clock.ts';
import { FakeStore, silentLog } from '../helpers/fake-store.ts';
import { fakeRun, fakeWorker, runIn } from '../helpers/fake-worker.ts';

const setUp = (records: readonly WorkerRecord[] = []) => {
  const [store, clock] = [new FakeStore(), new FakeClock()];
  const registry = new Registry({
    store,
    clock,
    log: silentLog,
    announce: (transitions) => waiters.announce(transitions),
    onRefused: () => {},
  });
  const waiters = new Waiters(registry, clock);
  registry.load(records);
  return { store, clock, registry, waiters };
};
const enabled = (worker: WorkerRecord | null) => (worker?.enabled === true ? worker : undefined);
const what = 'enabled';

describe('until', () => {
  it('answers at once where it is so already', async () => {
    const { waiters } = setUp([fakeWorker({ enabled: true })]);
    expect(await waiters.until('w', enabled, { what })).toMatchObject({ enabled: true });
  });

  it('sees what was true for a single transition of a turn', async () => {
    const { waiters, registry } = setUp([fakeWorker()]);
    const held = waiters.until('w', enabled, { what });
    await turns();
    registry.update('w', fakeWorker({ enabled: true, restarts: 5 }));
    registry.update('w', fakeWorker({ enabled: false }));
    registry.update('w', null);
    expect(await held).toMatchObject({ restarts: 5 });
  });

  it('a worker that ran and ended in one turn was running: sticky in the run', async () => {
    const { waiters, registry } = setUp([fakeWorker()]);
    registry.update('w', fakeWorker({ run: fakeRun() }));
    const held = waiters.until('w', (worker) => worker?.run?.reachedRunning || undefined, { what });
    registry.update('w', fakeWorker({ run: runIn('closed') }));
    expect(await held).toBe(true);
  });

  it('does not answer before the change is on disk', async () => {
    const { waiters, registry, store } = setUp([fakeWorker()]);
    registry.update('w', fakeWorker({ enabled: true }));
    const held = waiters.until('w', enabled, { what }).then(() => store.commits.length);
    expect(await held).toBe(1);
  });

  it('is rejected where the store refuses what it would have answered with', async () => {
    const { waiters, registry, store } = setUp([fakeWorker()]);
    store.refuse = new Error('disk full');
    registry.update('w', fakeWorker({ enabled: true }));
    await expect(waiters.until('w', enabled, { what })).rejects.toThrow('disk full');
  });

  it('what look throws ends it, at once and later', async () => {
    const { waiters, registry } = setUp([fakeWorker()]);
    const look = (worker: WorkerRecord | null) => {
      if (worker === null) throw new Error('was removed');
      return undefined;
    };
    const held = waiters.until('w', look, { what });
    await turns();
    registry.update('w', null);
    await expect(held).rejects.toThrow('was removed');
    await expect(waiters.until('w', look, { what })).rejects.toThrow('was removed');
  });

  it('a timeout is wait.timeout with the name and what was waited for; not a millisecond early', async () => {
    const { waiters, clock } = setUp([fakeWorker()]);
    const held = waiters.until('w', enabled, { what, timeoutMs: 500 });
    let ended = false;
    held.catch(() => {
      ended = true;
    });
    await clock.run(499);
    expect(ended).toBe(false);
    await clock.run(1);
    await expect(held).rejects.toMatchObject({
      code: 'wait.timeout',
      message: 'w: not enabled within 500 ms',
      data: { name: 'w', timeoutMs: 500 },
    });
  });

  it('says a longer time in seconds', async () => {
    const { waiters, clock } = setUp([fakeWorker()]);
    const held = waiters.until('w', enabled, { what, timeoutMs: 1500 });
    held.catch(() => {});
    await clock.run(1500);
    await expect(held).rejects.toThrow('w: not enabled within 1.5 s');
  });

  it('an abort ends it with its reason, also one from before', async () => {
    const { waiters } = setUp([fakeWorker()]);
    const gone = new AbortController();
    const held = waiters.until('w', enabled, { what, signal: gone.signal });
    await turns();
    gone.abort(new Error('the client is gone'));
    await expect(held).rejects.toThrow('the client is gone');
    await expect(waiters.until('w', enabled, { what, signal: gone.signal })).rejects.toThrow('the client is gone');
  });

  it('leaves no deadline behind, however it ended', async () => {
    const { waiters, registry, clock } = setUp([fakeWorker()]);
    const gone = new AbortController();
    const held = Promise.allSettled([
      waiters.until('w', enabled, { what, timeoutMs: 1000 }),
      waiters.until('w', enabled, { what, timeoutMs: 1000, signal: gone.signal }),
    ]);
    await turns();
    expect(clock.pending).toBe(2);
    gone.abort(new Error('gone'));
    await turns();
    registry.update('w', fakeWorker({ enabled: true }));
    expect((await held).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(clock.pending).toBe(0);
  });

  it('others’ workers do not disturb it; several on one worker are all answered', async () => {
    const { waiters, registry } = setUp([fakeWorker(), fakeWorker({ name: 'x' })]);
    const held = [1, 2, 3].map(() => waiters.until('w', enabled, { what }));
    await turns();
    registry.update('x', fakeWorker({ name: 'x', enabled: true }));
    await turns();
    registry.update('w', fakeWorker({ enabled: true }));
    expect((await Promise.all(held)).map(({ name }) => name)).toEqual(['w', 'w', 'w']);
  });

  it('who asked earlier for something else is answered earlier, however long an answer takes', async () => {
    const { waiters, registry } = setUp([fakeWorker()]);
    const told: string[] = [];
    const tell = async (what: string, hops: number) => {
      await waiters.until('w', enabled, { what });
      for (let hop = 0; hop < hops; hop += 1) await Promise.resolve();
      told.push(what);
    };
    const all = ['ready', 'ended', 'stopped', 'ready'].map((what, index) => tell(what, 20 - 5 * index));
    await turns();
    registry.update('w', fakeWorker({ enabled: true }));
    await Promise.all(all);
    expect(told).toEqual(['ready', 'ended', 'stopped', 'ready']);
  });

  it('a start and an end that were committed together are answered in that order, however long an answer takes', async () => {
    const { waiters, registry } = setUp([fakeWorker()]);
    const told: string[] = [];
    const ended = waiters.until('w', (worker) => worker?.run?.stage === 'closed' || undefined, { what });
    void ended.then(() => told.push('ended'));
    const started = waiters.until('w', (worker) => worker?.run?.reachedRunning || undefined, { what });
    // An answer that has a longer way.
    void (async () => {
      for (let hop = 0; hop < 20; hop += 1) await Promise.resolve();
      await started;
      for (let hop = 0; hop < 20; hop += 1) await Promise.resolve();
      told.push('started');
    })();
    await turns();
    registry.update('w', fakeWorker({ run: fakeRun({ stage: 'running', reachedRunning: true }) }));
    registry.update('w', fakeWorker({ run: runIn('closed') }));
    await turns();
    expect(told).toEqual(['started', 'ended']);
  });
});
