/** One commit a turn, announced afterwards; a refusal takes the turn back; published state is spared the disk. */
import { describe, expect, it } from 'vitest';
import type { WorkerRecord } from '../../src/daemon/core/model.ts';
import { Hub } from '../../src/daemon/hub.ts';
import { Registry, type Transition } from '../../src/daemon/registry.ts';
import { FakeClock, turns } from '../helpers/fake-clock.ts';
import { FakePeer } from '../helpers/fake-peer.ts';
import { FakeStore, silentLog } from '../helpers/fake-store.ts';
import { at, fakeRun, fakeWorker, runIn } from '../helpers/fake-worker.ts';

const setUp = (records: readonly WorkerRecord[] = []) => {
  const [store, clock] = [new FakeStore(), new FakeClock()];
  const told: Transition[][] = [];
  const refused: Error[] = [];
  const commitsWhenTold: number[] = [];
  const registry = new Registry({
    store,
    clock,
    log: silentLog,
    announce: (transitions) => {
      told.push([...transitions]);
      commitsWhenTold.push(store.commits.length);
    },
    onRefused: (error) => refused.push(error),
  });
  registry.load(records);
  return { store, clock, registry, told, refused, commitsWhenTold };
};
const published = (worker: WorkerRecord, counter: number): WorkerRecord => ({
  ...worker,
  run: { ...(worker.run ?? fakeRun()), state: { counter }, stateAt: at, stateRevision: counter },
});

describe('what was announced', () => {
  it('is without what this turn has changed', async () => {
    const { registry } = setUp([fakeWorker({ name: 'a' }), fakeWorker({ name: 'b' })]);
    registry.update('a', fakeWorker({ name: 'a', enabled: true }));
    registry.update('b', null);
    registry.update('c', fakeWorker({ name: 'c' }));
    expect(registry.announced('a')?.enabled).toBe(false);
    expect(registry.announced('c')).toBe(null);
    expect(registry.announcedNames()).toEqual(['a', 'b']);
    await registry.committed();
    expect(registry.announced('a')?.enabled).toBe(true);
    expect(registry.announcedNames()).toEqual(['a', 'c']);
  });

  it('is what a snapshot shows, so that no change is told before, or after, it was made', async () => {
    const peer = new FakePeer();
    const { registry, told } = setUp([fakeWorker({ name: 'a', run: runIn('running'), generation: 1 })]);
    const hub = new Hub({
      epoch: 'e',
      now: () => 0,
      names: () => registry.announcedNames(),
      get: (name) => registry.announced(name),
    });
    const worker = registry.get('a');
    if (worker === null) throw new Error('no worker');
    registry.update('a', { ...worker, enabled: true });
    registry.update('a', { ...worker, enabled: true, generation: 2 });
    hub.subscribe({ peer, names: null, types: null }).start();
    await registry.committed();
    for (const transitions of told) hub.announce(transitions);
    expect(peer.events().map(({ type, generation }) => `${type} ${generation}`)).toEqual([
      'snapshot 1',
      'phase 1',
      'phase 2',
    ]);
  });
});

describe('a turn', () => {
  it('shares one commit, and only then is it announced, in the order it was made', async () => {
    const { registry, store, told, commitsWhenTold } = setUp();
    registry.update('a', fakeWorker({ name: 'a' }));
    registry.update('b', fakeWorker({ name: 'b' }));
    registry.update('a', fakeWorker({ name: 'a', enabled: true }));
    expect([store.commits.length, told.length]).toEqual([0, 0]);
    expect(registry.get('a')?.enabled).toBe(true);
    await registry.committed();
    expect(store.commits).toHaveLength(1);
    expect(store.commits[0]?.workers.map(({ name, enabled }) => `${name} ${enabled}`)).toEqual(['a true', 'b false']);
    expect(told.map((each) => each.map(({ name }) => name))).toEqual([['a', 'b', 'a']]);
    expect(commitsWhenTold).toEqual([1]);
  });

  it('each transition says what was before and what is after', async () => {
    const { registry, told } = setUp([fakeWorker({ name: 'a' })]);
    const [first, second] = [fakeWorker({ name: 'a', restarts: 1 }), fakeWorker({ name: 'a', restarts: 2 })];
    registry.update('a', first);
    registry.update('a', second);
    await registry.committed();
    expect(told[0]?.map(({ before, after }) => [before?.restarts, after?.restarts])).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it('defined, wanted and ordered is one step; called off is another', async () => {
    const { registry, told } = setUp();
    const up = { want: 'up', atLeast: 1 } as const;
    const steps = [
      fakeWorker({ generation: 0 }),
      fakeWorker({ generation: 0, intent: up }),
      fakeWorker({ intent: up, run: runIn('ordered') }),
      fakeWorker({ run: runIn('ordered') }),
    ];
    for (const step of steps) registry.update('w', step);
    await registry.committed();
    expect(told.flat()).toEqual([
      { name: 'w', before: null, after: steps[2] },
      { name: 'w', before: steps[2], after: steps[3] },
    ]);
  });

  it('the same record again is no change', async () => {
    const worker = fakeWorker();
    const { registry, store, told } = setUp([worker]);
    registry.update('w', worker);
    await registry.committed();
    await turns();
    expect([store.commits, told]).toEqual([[], []]);
  });

  it('names are sorted, also after additions and removals', async () => {
    const { registry } = setUp([fakeWorker({ name: 'b' })]);
    expect(registry.names()).toEqual(['b']);
    registry.update('a', fakeWorker({ name: 'a' }));
    registry.update('B', fakeWorker({ name: 'B' }));
    expect(registry.names()).toEqual(['B', 'a', 'b']);
    registry.update('a', null);
    expect(registry.names()).toEqual(['B', 'b']);
  });
});

describe('a store that refuses', () => {
  const full = new Error('database or disk is full');

  it('takes memory back, rejects who waited, announces nothing, and says so once', async () => {
    const { registry, store, told, refused } = setUp([fakeWorker({ name: 'a' })]);
    store.refuse = full;
    registry.update('a', fakeWorker({ name: 'a', enabled: true }));
    registry.update('a', fakeWorker({ name: 'a', restarts: 3 }));
    registry.update('new', fakeWorker({ name: 'new' }));
    await expect(Promise.all([registry.committed(), registry.committed()])).rejects.toBe(full);
    expect(registry.get('a')).toEqual(fakeWorker({ name: 'a' }));
    expect(registry.get('new')).toBeNull();
    expect(registry.names()).toEqual(['a']);
    expect([told, refused]).toEqual([[], [full]]);
  });

  it('a removal is taken back too', async () => {
    const { registry, store } = setUp([fakeWorker()]);
    store.refuse = full;
    registry.update('w', null);
    await expect(registry.committed()).rejects.toBe(full);
    expect(registry.names()).toEqual(['w']);
  });

  it('the next turn starts clean: nothing of the refused one is written or announced', async () => {
    const { registry, store, told } = setUp([fakeWorker({ name: 'a' }), fakeWorker({ name: 'b' })]);
    store.refuse = full;
    registry.update('a', null);
    registry.updateHost('_host.0.aa', { run: '_host.0.aa', key: 'k', pid: 1, startTime: 1, bootId: 'boot' });
    await expect(registry.committed()).rejects.toBe(full);
    registry.update('b', fakeWorker({ name: 'b', enabled: true }));
    await registry.committed();
    expect(store.commits).toHaveLength(1);
    expect(store.commits[0]).toMatchObject({ removed: [], runs: [], hosts: [], workers: [{ name: 'b' }] });
    expect(told.flat().map(({ name }) => name)).toEqual(['b']);
  });

  it('state published in the refused turn is taken back too, so that it can be told again', async () => {
    const running = fakeWorker({ run: fakeRun() });
    const { registry, store, told } = setUp([running, fakeWorker({ name: 'other' })]);
    store.refuse = full;
    registry.publish('w', published(running, 1));
    registry.update('other', fakeWorker({ name: 'other', enabled: true }));
    await expect(registry.committed()).rejects.toBe(full);
    // Nobody has heard of it: were it kept, the shim's telling it again would be taken for old news.
    const heard = told.flat().some(({ name }) => name === 'w');
    expect(registry.get('w')?.run?.stateRevision ?? 0).toBe(heard ? 1 : 0);
  });
});

describe('what is to end, though the store refuses', () => {
  const full = new Error('database or disk is full');
  const up = fakeWorker({ name: 'w', intent: { want: 'up', atLeast: 1 } });
  const down = fakeWorker({ name: 'w', intent: { want: 'down' } });
  const refusing = async () => {
    const all = setUp([up, fakeWorker({ name: 'other' })]);
    const { registry, store } = all;
    store.refuse = full;
    registry.insist('w');
    registry.update('w', down);
    registry.update('other', fakeWorker({ name: 'other', enabled: true }));
    const answers = await Promise.allSettled([
      registry.committed('w'),
      registry.committed('other'),
      registry.committed(),
    ]);
    return { ...all, answers: answers.map(({ status }) => status) };
  };

  it('holds in memory, is announced and answered; whatever else was changed is taken back', async () => {
    const { registry, told, answers } = await refusing();
    expect(answers).toEqual(['fulfilled', 'rejected', 'rejected']);
    expect([registry.get('w'), registry.get('other')?.enabled, registry.owes('w')]).toEqual([down, false, true]);
    expect(told.flat().map(({ name }) => name)).toEqual(['w']);
  });

  it('is written with the next thing that is, or when it is tried again', async () => {
    const { registry, store } = await refusing();
    registry.retry();
    await registry.committed();
    expect(store.workers.get('w')).toEqual(down);
    expect(registry.owes('w')).toBe(false);
    registry.retry();
    await registry.committed();
    expect(store.commits).toHaveLength(1);
  });

  it('is not started again before that: what cannot be written is refused as ever', async () => {
    const { registry, store } = await refusing();
    store.refuse = full;
    registry.update('w', up);
    await expect(registry.committed('w')).rejects.toBe(full);
    expect([registry.get('w'), registry.owes('w')]).toEqual([down, true]);
  });

  it('is insisted on once: the next stop that is not, is taken back', async () => {
    const { registry, store } = await refusing();
    registry.update('w', up);
    await registry.committed();
    store.refuse = full;
    registry.update('w', down);
    await expect(registry.committed('w')).rejects.toBe(full);
    expect(registry.get('w')).toEqual(up);
  });
});

describe('published state', () => {
  it('is announced without a commit, and in the store within a second, once', async () => {
    const running = fakeWorker({ run: fakeRun() });
    const { registry, store, told, clock } = setUp([running]);
    for (let count = 1; count <= 500; count += 1) {
      registry.publish('w', published(running, count));
      if (count % 100 === 0) await turns(1);
    }
    await turns();
    expect(told.flat()).toHaveLength(500);
    expect(store.commits).toEqual([]);
    await clock.run(999);
    expect(store.commits).toEqual([]);
    await clock.run(1);
    expect(store.commits).toHaveLength(1);
    expect(store.workers.get('w')?.run?.state).toEqual({ counter: 500 });
    await clock.run(10_000);
    expect(store.commits).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it('published without end, the store gets it once a second', async () => {
    const running = fakeWorker({ run: fakeRun() });
    const { registry, store, clock } = setUp([running]);
    for (let count = 1; count <= 100; count += 1) {
      registry.publish('w', published(running, count));
      await clock.run(100);
    }
    expect(store.commits.length).toBeGreaterThanOrEqual(9);
    expect(store.commits.length).toBeLessThanOrEqual(10);
  });

  it('goes with the next change, and is not written again', async () => {
    const running = fakeWorker({ run: fakeRun() });
    const { registry, store, clock } = setUp([running]);
    registry.publish('w', published(running, 7));
    const now = registry.get('w');
    registry.update('w', now && { ...now, enabled: true });
    await registry.committed();
    expect(store.workers.get('w')?.run?.state).toEqual({ counter: 7 });
    await clock.run(2000);
    expect(store.commits).toHaveLength(1);
  });

  it('is in the store at the end', async () => {
    const running = fakeWorker({ run: fakeRun() });
    const { registry, store, clock } = setUp([running]);
    registry.publish('w', published(running, 7));
    await turns();
    registry.close();
    expect(store.workers.get('w')?.run?.state).toEqual({ counter: 7 });
    expect(clock.pending).toBe(0);
  });

  it('of a worker that was forgotten since does not bring it back', async () => {
    const running = fakeWorker({ run: fakeRun() });
    const { registry, store, clock } = setUp([running]);
    registry.publish('w', published(running, 1));
    await turns();
    registry.update('w', null);
    await clock.run(5000);
    expect(store.workers.size).toBe(0);
    expect(registry.names()).toEqual([]);
  });
});

describe('history', () => {
  it('a run that ended and was followed by the next within one turn is in it as it ended', async () => {
    const { registry, store } = setUp([fakeWorker({ run: fakeRun() })]);
    const closed = runIn('closed', { exit: { kind: 'code', code: 7 } });
    registry.update('w', fakeWorker({ run: closed }));
    registry.update('w', fakeWorker({ run: runIn('ordered', { generation: 2, id: 'w.2.aa' }), generation: 2 }));
    await registry.committed();
    expect(store.commits).toHaveLength(1);
    expect([...store.history('w', 10)].map(({ generation, stage }) => `${generation} ${stage}`)).toEqual([
      '2 ordered',
      '1 closed',
    ]);
  });

  it('three generations within one turn are all there', async () => {
    const { registry, store } = setUp();
    for (const generation of [1, 2, 3]) {
      registry.update('w', fakeWorker({ run: runIn('closed', { generation, id: `w.${generation}.aa` }) }));
    }
    await registry.committed();
    expect([...store.history('w', 10)].map(({ generation }) => generation)).toEqual([3, 2, 1]);
  });

  it('removed and defined anew within one turn: a new worker without a past', async () => {
    const { registry, store, told } = setUp([fakeWorker({ run: runIn('closed') })]);
    store.commit({
      workers: [fakeWorker({ run: runIn('closed') })],
      removed: [],
      runs: [],
      hosts: [],
      removedHosts: [],
    });
    registry.update('w', null);
    registry.update('w', fakeWorker({ generation: 1 }));
    await registry.committed();
    expect(store.commits).toHaveLength(2);
    expect(store.workers.get('w')).toMatchObject({ generation: 1, run: null });
    expect([...store.history('w', 10)]).toEqual([]);
    expect(told[0]?.map(({ after }) => after === null)).toEqual([true, false]);
  });

  it('also where its last run ended and another began in that very turn', async () => {
    const { registry, store } = setUp([fakeWorker({ run: fakeRun() })]);
    registry.update('w', fakeWorker({ run: runIn('closed', { generation: 2, id: 'w.2.aa' }) }));
    registry.update('w', null);
    registry.update('w', fakeWorker({ generation: 2 }));
    await registry.committed();
    expect([...store.history('w', 10)]).toEqual([]);
  });

  it('removed alone leaves nothing behind', async () => {
    const { registry, store } = setUp();
    registry.update('w', fakeWorker({ run: runIn('closed') }));
    await registry.committed();
    registry.update('w', null);
    await registry.committed();
    expect([store.workers.size, store.runs.size]).toEqual([0, 0]);
  });
});

describe('committed', () => {
  it('answers at once where nothing is pending, and after the announcement where something is', async () => {
    const { registry, told } = setUp();
    await registry.committed();
    registry.update('w', fakeWorker());
    const heard = registry.committed().then(() => told.length);
    expect(await heard).toBe(1);
  });
});
