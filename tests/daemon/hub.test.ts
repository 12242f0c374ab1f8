/** What watchers are told of a transition, in which order, and what becomes of one that does not read. */
import { describe, expect, it } from 'vitest';
import type { WorkerRecord } from '../../src/daemon/core/model.ts';
import { changesOf, Hub } from '../../src/daemon/hub.ts';
import type { Transition } from '../../src/daemon/registry.ts';
import type { EventType } from '../../src/daemon/subscription.ts';
import { FakePeer } from '../helpers/fake-peer.ts';
import { at, fakeRun, fakeWorker, runIn, stopAt } from '../helpers/fake-worker.ts';

const up = { want: 'up', atLeast: 1 } as const;
const running = (changes: Partial<WorkerRecord> = {}): WorkerRecord =>
  fakeWorker({ intent: up, run: runIn('running'), ...changes });
const withState = (worker: WorkerRecord, counter: number): WorkerRecord => ({
  ...worker,
  run: worker.run && { ...worker.run, state: { counter }, stateAt: at, stateRevision: counter },
});
const move = (before: WorkerRecord | null, after: WorkerRecord | null): Transition => ({
  name: (after ?? before)?.name ?? '',
  before,
  after,
});
const typesOf = (before: WorkerRecord | null, after: WorkerRecord | null): readonly EventType[] =>
  changesOf(move(before, after)).map(({ type }) => type);

describe('changesOf', () => {
  const again = { want: 'up', atLeast: 2 } as const;
  const ordered = fakeWorker({ intent: up, run: runIn('ordered') });
  const spawned = fakeWorker({ intent: up, run: runIn('spawned') });
  const ended = fakeWorker({ intent: up, run: runIn('ended') });
  const closed = fakeWorker({ settled: 'exited', run: runIn('closed') });
  const unready = running({ run: runIn('running', { readyDeclared: true, ready: false }) });
  const ready = running({ run: runIn('running', { readyDeclared: true, ready: true }) });
  const second = running({ run: runIn('running', { id: 'w.2.aa', generation: 2 }), generation: 2 });
  const rows: readonly (readonly [string, WorkerRecord | null, WorkerRecord | null, readonly EventType[]])[] = [
    ['a worker that is new', null, fakeWorker(), ['phase']],
    ['one that is forgotten', closed, null, ['removed']],
    ['it is ordered', fakeWorker(), ordered, ['phase']],
    ['a pid that becomes known', ordered, spawned, []],
    ['it runs', spawned, running(), ['phase']],
    ['it runs but is not ready', spawned, unready, ['phase']],
    ['it is ready', unready, ready, ['ready']],
    ['it runs and is ready in one step', spawned, ready, ['phase', 'ready']],
    ['ready that was not declared is no event', spawned, running(), ['phase']],
    ['it publishes', running(), withState(running(), 1), ['state']],
    ['the same state again', withState(running(), 1), withState(running(), 1), []],
    ['an older state', withState(running(), 2), withState(running(), 1), []],
    ['its leader ends: not told yet', running(), ended, []],
    ['its leader ends with a last state', running(), withState(ended, 5), ['state']],
    ['its end is proven complete', ended, closed, ['phase']],
    ['it is to end', running(), running({ run: runIn('running', { stop: stopAt('asked') }) }), ['phase']],
    [
      'the next step of its end',
      running({ run: runIn('running', { stop: stopAt('asked') }) }),
      running({ run: runIn('running', { stop: stopAt('killed') }) }),
      [],
    ],
    ['a new generation', running(), second, ['phase']],
    ['a new generation that has published', running(), withState(second, 1), ['phase']],
    ['a stopped one is wanted again: not told before there is a run', closed, { ...closed, intent: again }, []],
    ['nor that its restarts count anew', { ...closed, restarts: 9 }, { ...closed, restarts: 0, intent: again }, []],
    ['wanted no more before there is a run: how it stands', { ...closed, intent: again }, closed, ['phase']],
    [
      'its run is over and the next one wanted: its end',
      running({ intent: again }),
      { ...closed, intent: again },
      ['phase'],
    ],
    ['it is enabled', running(), running({ enabled: true }), ['phase']],
    ['leftovers are found', closed, { ...closed, leftovers: [{ pid: 5, startTime: 1, command: 'x' }] }, ['phase']],
    [
      'a restart is put off',
      { ...closed, intent: up },
      { ...closed, intent: up, backoff: { untilAt: 1, untilMono: 1, afterLoss: false, counted: true } },
      ['phase'],
    ],
  ];
  it.each(rows)('%s', (_what, before, after, types) => expect(typesOf(before, after)).toEqual(types));
});

const setUp = (workers: readonly WorkerRecord[] = [running()]) => {
  const records = new Map(workers.map((worker) => [worker.name, worker]));
  const hub = new Hub({
    epoch: 'e1',
    now: () => at,
    names: () => records.keys(),
    get: (name) => records.get(name) ?? null,
  });
  const change = (...all: readonly (WorkerRecord | null)[]) => {
    const transitions = all.map((after) => {
      const name = after?.name ?? 'w';
      const before = records.get(name) ?? null;
      if (after === null) records.delete(name);
      else records.set(name, after);
      return { name, before, after };
    });
    hub.announce(transitions);
  };
  const watch = (names: readonly string[] | null = null, types: readonly EventType[] | null = null, since?: string) => {
    const peer = new FakePeer();
    const { id, start } = hub.subscribe({ peer, names, types: types === null ? null : new Set(types) }, since);
    return { peer, id, start };
  };
  return { hub, change, watch, get: () => records.get('w') ?? running() };
};

describe('a subscription', () => {
  it('hears the snapshot first, then every change in order, with its id, time, name and generation', () => {
    const { watch, change } = setUp();
    const { peer, id, start } = watch();
    change(withState(running(), 1));
    expect(peer.sent).toEqual([]);
    start();
    change(withState(running(), 2));
    change(fakeWorker({ settled: 'exited', run: runIn('closed') }));
    change(null);
    expect(peer.types()).toBe('snapshot state phase removed');
    for (const event of peer.events()) {
      expect(event).toMatchObject({ subscription: id, at: '2026-01-02T03:04:05.678Z', name: 'w' });
    }
    expect(peer.events()[0]).toMatchObject({ worker: { name: 'w', state: { counter: 1 } }, generation: 1 });
    expect(peer.events()[1]).toMatchObject({ state: { counter: 2 }, stateRevision: 2 });
    expect(peer.events()[2]).toMatchObject({ worker: { phase: 'exited' } });
  });

  it('cursors grow and are those of this life of the daemon', () => {
    const { watch, change, hub } = setUp();
    const { peer, start } = watch();
    start();
    change(withState(running(), 1), withState(running(), 2));
    const cursors = peer.events().map(({ cursor }) => cursor);
    expect(new Set(cursors).size).toBe(cursors.length);
    for (const cursor of cursors) expect(cursor).toMatch(/^e1-\d+$/);
    expect(cursors.at(-1)).toBe(hub.cursor);
  });

  it('names and globs choose; a new worker that fits is heard of', () => {
    const { watch, change } = setUp([running({ name: 'web-1' }), running({ name: 'db' }), running({ name: 'other' })]);
    const { peer, start } = watch(['web-*', 'db']);
    start();
    change(running({ name: 'web-2' }), running({ name: 'webx' }), running({ name: 'db2' }));
    expect(peer.events().map(({ type, name }) => `${type} ${name}`)).toEqual([
      'snapshot web-1',
      'snapshot db',
      'phase web-2',
    ]);
  });

  it('types choose; log only where it is asked for', () => {
    const { watch, change } = setUp();
    const { peer, start } = watch(null, ['phase']);
    start();
    change(withState(running(), 1));
    change(fakeWorker({ run: runIn('closed') }));
    expect(peer.types()).toBe('phase');
  });

  it('is gone after unsubscribe, and nothing listens for it any more', () => {
    const { hub, watch, change } = setUp();
    const { peer, id, start } = watch();
    start();
    expect(hub.unsubscribe(peer, id)).toBe(true);
    expect(hub.unsubscribe(peer, id)).toBe(false);
    change(withState(running(), 1));
    expect(peer.types()).toBe('snapshot');
    expect([peer.listeners, hub.size]).toEqual([0, 0]);
  });

  it('counts from when it is asked for, and does not begin once it was ended', () => {
    const { hub, watch, change } = setUp();
    const { peer, id, start } = watch();
    expect(hub.size).toBe(1);
    expect(hub.unsubscribe(peer, id)).toBe(true);
    start();
    change(withState(running(), 1));
    expect(peer.sent).toEqual([]);
    expect([peer.listeners, hub.size]).toEqual([0, 0]);
  });

  it("is its connection's own: another one has the same id, and cannot end it", () => {
    const { hub, watch, change } = setUp();
    const [mine, others] = [watch(), watch()];
    mine.start();
    expect(others.id).toBe(mine.id);
    expect(hub.unsubscribe(new FakePeer(), mine.id)).toBe(false);
    expect(hub.unsubscribe(others.peer, mine.id)).toBe(true);
    change(withState(running(), 1));
    expect(mine.peer.types()).toBe('snapshot state');
  });

  it('of those that keep up hears bytes made once; one that does not gets what it lacks later', () => {
    const { watch, change } = setUp([running(), running({ name: 'x' })]);
    const all = [watch(), watch(), watch(['x']), watch()];
    for (const { start } of all) start();
    const [first, second, narrow, slow] = all.map(({ peer }) => peer);
    if (slow !== undefined) slow.backlogged = true;
    change(withState(running(), 1), withState(running({ name: 'x' }), 1), running({ enabled: true }));
    expect(first?.shared).toHaveLength(1);
    expect(first?.shared[0]).toBe(second?.shared[0]);
    expect(first?.types()).toBe('snapshot snapshot state state phase');
    expect(narrow?.types()).toBe('snapshot state');
    change(withState(running({ enabled: true }), 2), withState(running({ name: 'x' }), 2));
    expect(slow?.types()).toBe('snapshot snapshot');
    slow?.drain();
    expect(slow?.events().map(({ type, name, stateRevision }) => [type, name, stateRevision])).toEqual([
      ['snapshot', 'w', undefined],
      ['snapshot', 'x', undefined],
      ['phase', 'w', undefined],
      ['state', 'w', 2],
      ['state', 'x', 2],
    ]);
  });

  it('R08: several hear the same in the same order', () => {
    const { watch, change } = setUp();
    const all = [watch(), watch(), watch(['w'])];
    for (const { start } of all) start();
    for (let count = 1; count <= 50; count += 1) change(withState(running({ enabled: count % 2 === 0 }), count));
    const heard = all.map(({ peer }) => peer.events().map(({ subscription: _own, ...event }) => event));
    expect(heard[1]).toEqual(heard[0]);
    expect(heard[2]).toEqual(heard[0]);
  });
});

describe('one that was away and knows a cursor', () => {
  it('hears what it missed, in order, of state the newest, and no snapshot', () => {
    const { watch, change, hub } = setUp([running(), running({ name: 'x' })]);
    const since = hub.cursor;
    for (let count = 1; count <= 9; count += 1) change(withState(running(), count));
    change(running({ name: 'x', enabled: true }), fakeWorker({ settled: 'exited', run: runIn('closed') }));
    const { peer, start } = watch(['w'], null, since);
    start();
    change(null);
    expect(peer.types()).toBe('state phase removed');
    expect(peer.events()[0]).toMatchObject({ stateRevision: 9 });
    const [first] = peer.events();
    const again = watch(['w'], null, first?.cursor);
    again.start();
    expect(again.peer.types()).toBe('phase removed');
  });

  it('one that has missed nothing hears nothing but what follows', () => {
    const { watch, change, hub } = setUp();
    change(withState(running(), 1));
    const { peer, start } = watch(null, null, hub.cursor);
    start();
    expect(peer.sent).toEqual([]);
    change(withState(running(), 2));
    expect(peer.types()).toBe('state');
  });

  it.each([
    'e0-0',
    'e1-9999',
    'e1--1',
    'e1-x',
    'nonsense',
    '',
  ])('a cursor of another life or of none (%s) is answered with a gap and snapshots', (since) => {
    const { watch } = setUp([running(), running({ name: 'x' })]);
    const { peer, start } = watch(null, null, since);
    start();
    expect(peer.types()).toBe('gap snapshot snapshot');
    expect(peer.events()[0]).toMatchObject({ dropped: 0, snapshots: 2 });
  });

  it('what is not kept any more is a gap, too', () => {
    const { watch, change, hub } = setUp();
    const since = hub.cursor;
    for (let count = 1; count <= 1024; count += 1) change(running({ restarts: count }));
    const all = watch(null, null, since);
    all.start();
    expect(all.peer.types()).toBe('phase '.repeat(1024).trim());
    change(running({ restarts: 5000 }));
    const late = watch(null, null, since);
    late.start();
    expect(late.peer.types()).toBe('gap snapshot');
  });
});

describe('one that does not read', () => {
  it('hears of each worker as it is when its turn comes, and of a removed one that it was', () => {
    const { watch, change } = setUp([running(), running({ name: 'x' }), running({ name: 'y' })]);
    const { peer, start } = watch();
    peer.backlogged = true;
    start();
    change(withState(running({ name: 'x' }), 1), withState(running({ name: 'x' }), 2));
    change(null, running({ name: 'z' }));
    peer.drain();
    expect(peer.events().map(({ type, name }) => `${type} ${name}`)).toEqual([
      'removed w',
      'snapshot x',
      'snapshot y',
      'phase z',
    ]);
    expect(peer.events()[1]).toMatchObject({ worker: { state: { counter: 2 } } });
  });

  it('gets the newest state of each worker, once, and everything else in order', () => {
    const { watch, change } = setUp([running(), running({ name: 'x' })]);
    const { peer, start } = watch();
    start();
    peer.backlogged = true;
    for (let count = 1; count <= 5000; count += 1)
      change(withState(running(), count), withState(running({ name: 'x' }), count));
    const last = withState(fakeWorker({ settled: 'exited', run: runIn('closed') }), 5000);
    change(last);
    expect(peer.types()).toBe('snapshot snapshot');
    peer.drain();
    const late = peer.events().slice(2);
    expect(late.map(({ type, name }) => `${type} ${name}`).sort()).toEqual(['phase w', 'state w', 'state x']);
    expect(late.findIndex(({ type }) => type === 'phase')).toBeGreaterThan(
      late.findIndex(({ type, name }) => type === 'state' && name === 'w'),
    );
    for (const event of late) if (event.type === 'state') expect(event).toMatchObject({ stateRevision: 5000 });
  });

  it('beyond its bound hears how much it missed, then snapshots of how things are now, then changes', () => {
    const { watch, change } = setUp();
    const { peer, start } = watch();
    start();
    peer.backlogged = true;
    for (let count = 1; count <= 3000; count += 1) change(running({ enabled: count % 2 === 0 }));
    change(withState(running({ enabled: true, restarts: 7 }), 9));
    peer.drain();
    const [, gap, snapshot, ...more] = peer.events();
    expect(gap).toMatchObject({ type: 'gap', dropped: 3001, snapshots: 1 });
    expect(snapshot).toMatchObject({ type: 'snapshot', worker: { restarts: 7, state: { counter: 9 } } });
    expect(more).toEqual([]);
    change(null);
    expect(peer.types()).toBe('snapshot gap snapshot removed');
  });

  it('keeps at most 1,024 events for it, whatever happens', () => {
    const { watch, change } = setUp();
    const { peer, start } = watch();
    start();
    peer.backlogged = true;
    for (let count = 1; count <= 1024; count += 1) change(running({ restarts: count }));
    peer.drain();
    expect(peer.types()).toBe(`snapshot${' phase'.repeat(1024)}`);
    peer.backlogged = true;
    for (let count = 1; count <= 1025; count += 1) change(running({ restarts: 5000 + count }));
    peer.drain();
    expect(
      peer
        .events()
        .slice(1025)
        .map(({ type }) => type),
    ).toEqual(['gap', 'snapshot']);
  });

  it('a removed worker is not in the snapshots after a gap', () => {
    const { watch, change } = setUp();
    const { peer, start } = watch();
    start();
    peer.backlogged = true;
    for (let count = 1; count <= 2000; count += 1) change(running({ restarts: count }));
    change(null);
    peer.drain();
    expect(peer.types()).toBe('snapshot gap');
  });

  it('stops again where the far end does, and goes on from there', () => {
    const { watch, change } = setUp();
    const { peer, start } = watch();
    start();
    peer.backlogged = true;
    for (let count = 1; count <= 10; count += 1) change(running({ restarts: count }));
    const { send } = FakePeer.prototype;
    peer.send = (message) => {
      send.call(peer, message);
      if (peer.sent.length === 4) peer.backlogged = true;
    };
    peer.drain();
    expect(peer.sent).toHaveLength(4);
    change(running({ restarts: 11 }));
    expect(peer.sent).toHaveLength(4);
    peer.drain();
    const restarts = peer.events().map((event) => (event['worker'] as { restarts: number }).restarts);
    expect(restarts).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('does not hold up one that reads', () => {
    const { watch, change } = setUp();
    const [slow, good] = [watch(), watch()];
    slow.start();
    good.start();
    slow.peer.backlogged = true;
    for (let count = 1; count <= 100; count += 1) change(withState(running(), count));
    expect(good.peer.sent).toHaveLength(101);
    expect(slow.peer.sent).toHaveLength(1);
  });

  it('reads nothing old of a run that is over: the last state of a generation is not told after the next began', () => {
    const { watch, change } = setUp();
    const { peer, start } = watch();
    start();
    peer.backlogged = true;
    change(withState(running(), 1));
    change(withState(running(), 2));
    const second = running({ generation: 2, run: fakeRun({ id: 'w.2.aa', generation: 2 }) });
    change(second);
    change(withState(second, 1));
    peer.drain();
    const generations = peer.events().map(({ type, generation }) => `${type} ${generation}`);
    expect(generations.at(-1)).toBe('state 2');
    expect(generations.slice(generations.indexOf('phase 2')).filter((each) => each === 'state 1')).toEqual([]);
  });
});
