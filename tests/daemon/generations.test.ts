/** One run after another: replaced, restarted by policy, after what was left; never two of one worker at once. */
import { describe, expect, it } from 'vitest';
import { turns } from '../helpers/fake-clock.ts';
import { FakeControlPlane } from '../helpers/fake-control-plane.ts';
import type { Order } from '../helpers/fake-shim.ts';
import { commandSpec, moduleSpec } from '../helpers/fake-worker.ts';

/** Fails where a run is ordered while another of its worker is alive. */
const watchfully = (plane: FakeControlPlane) => {
  const obey = (order: Order) => {
    if (order.method === 'spawn' && order.params.kind !== 'host') {
      const mine = [...plane.alive].filter((run) => run.startsWith(`${order.params.name}.`));
      if (mine.length > 0) throw new Error(`two of one worker: ${mine.join()} and ${order.params.run}`);
    }
    plane.obey(order);
  };
  plane.shim.onOrder = obey;
  return plane;
};
const setUp = (changes: Parameters<FakeControlPlane['define']>[0] = {}) => {
  const plane = watchfully(new FakeControlPlane());
  plane.define(changes);
  return plane;
};

describe('replace', () => {
  it('the old run is gone before the new one is ordered; generations count up', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 1000 }) });
    const first = await plane.start();
    plane.want();
    await plane.clock.run(999);
    expect(plane.phase()).toBe('stopping');
    expect(plane.alive).toEqual(new Set([first]));
    await plane.clock.run(1);
    expect(plane.phase()).toBe('running');
    expect(plane.worker()).toMatchObject({ generation: 2, run: { generation: 2 } });
    expect([...plane.store.history('w', 10)].map(({ generation, stage }) => `${generation} ${stage}`)).toEqual([
      '2 running',
      '1 closed',
    ]);
    expect(plane.errors).toEqual([]);
  });

  it('five replacements asked for in a row end in one run', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 100 }) });
    await plane.start();
    for (let count = 0; count < 5; count += 1) {
      plane.want();
      await plane.clock.run(30);
    }
    await plane.clock.run(1000);
    expect(plane.phase()).toBe('running');
    expect(plane.alive.size).toBe(1);
    expect(plane.errors).toEqual([]);
  });

  it('a stop after a replace has been asked for: nothing runs at the end', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 1000 }) });
    await plane.start();
    plane.want();
    await plane.clock.run(500);
    plane.unwant();
    await plane.clock.run(5000);
    expect(plane.phase()).toBe('stopped');
    expect([plane.alive.size, plane.worker().generation]).toEqual([0, 1]);
  });
});

describe('restart by policy', () => {
  const always = commandSpec({ restart: { policy: 'always' } });
  const crash = { kind: 'code', code: 1 } as const;

  it('after a good while at once, told as backoff, in a new generation that says who started it', async () => {
    const plane = setUp({ spec: always });
    plane.end(await plane.start(), crash);
    await turns(20);
    expect(plane.worker()).toMatchObject({
      generation: 2,
      restarts: 1,
      run: { automatic: true, startedBy: { via: 'restart policy' } },
    });
    expect(plane.phase()).toBe('running');
  });

  it('W13: nine restarts, then failed with reason crash-loop; restarts counts them', async () => {
    const plane = setUp({ spec: always });
    await plane.start();
    for (let count = 0; count < 10; count += 1) {
      plane.end(plane.run(), crash, 5);
      await plane.clock.run(61_000);
    }
    expect(plane.phase()).toBe('failed');
    const gaveUp = { generation: 10, reason: 'crash-loop' };
    // The run's own, too: that is what \`history\` shows.
    expect(plane.worker()).toMatchObject({ ...gaveUp, restarts: 9, run: gaveUp });
    plane.want();
    await turns();
    expect(plane.worker()).toMatchObject({ restarts: 0, generation: 11 });
  });

  it('a run that was lost starts again uncounted', async () => {
    const plane = setUp({ spec: always });
    plane.end(await plane.start(), { kind: 'lost', reason: 'the shim died' });
    await turns(20);
    expect(plane.worker()).toMatchObject({ restarts: 0, generation: 2, run: { automatic: true, afterLoss: true } });
  });

  it('a stop in backoff: no more starts', async () => {
    const plane = setUp({ spec: always });
    plane.end(await plane.start(), crash, 5);
    await turns(20);
    plane.end(plane.run(), crash, 5);
    await turns(20);
    expect(plane.phase()).toBe('backoff');
    plane.unwant();
    plane.registry.update('w', { ...plane.worker(), backoff: null, settled: 'stopped' });
    await plane.clock.run(120_000);
    expect([plane.phase(), plane.worker().generation]).toEqual(['stopped', 2]);
    expect(plane.clock.pending).toBe(0);
  });

  it('R05: a start in backoff starts now', async () => {
    const plane = setUp({ spec: always });
    plane.end(await plane.start(), crash, 5);
    await turns(20);
    plane.end(plane.run(), crash, 5);
    await turns(20);
    expect(plane.phase()).toBe('backoff');
    plane.want();
    await turns(20);
    expect([plane.phase(), plane.worker().restarts]).toEqual(['running', 0]);
  });

  it('W14: of 100 that end at the same instant no second sees more than 30 starts, and all are up again', async () => {
    const plane = watchfully(new FakeControlPlane());
    const names = Array.from({ length: 100 }, (_, index) => `w${index}`);
    for (const name of names) {
      plane.define({ name, spec: always });
      plane.want(name);
    }
    await turns(20);
    const verbs = plane.shim.all('spawn').length;
    expect(verbs).toBe(100);
    for (const name of names) plane.end(plane.run(name), { kind: 'signal', signal: 'SIGKILL' });
    await plane.clock.run(10_000);
    const times = plane.shim
      .all('spawn')
      .slice(verbs)
      .map(({ mono }) => mono);
    expect(times).toHaveLength(100);
    for (const from of times) {
      expect(times.filter((time) => time >= from && time < from + 1000).length).toBeLessThanOrEqual(30);
    }
    expect(names.filter((name) => plane.phase(name) !== 'running')).toEqual([]);
  });
});

describe('leftovers', () => {
  it('W24: what a run leaves is written down and left alone; the next start ends it first', async () => {
    const plane = setUp();
    const run = await plane.start();
    plane.processes.put({ pid: 9001, run, group: 9001, endsOn: ['SIGTERM'] });
    plane.end(run, { kind: 'code', code: 0 });
    await turns(20);
    expect(plane.worker()).toMatchObject({ settled: 'exited', leftovers: [{ pid: 9001, command: 'sleeper' }] });
    expect(plane.processes.signals).toEqual([]);
    let aliveAtSpawn: boolean | undefined;
    plane.shim.onOrder = (order) => {
      if (order.method === 'spawn') aliveAtSpawn = plane.processes.processes.has(9001);
      plane.obey(order);
    };
    plane.want();
    await plane.clock.run(1000);
    expect(aliveAtSpawn).toBe(false);
    expect(plane.worker()).toMatchObject({ generation: 2, leftovers: [] });
  });

  it('what cannot be ended keeps the next run from starting, and is named', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 100 }) });
    const run = await plane.start();
    plane.processes.put({ pid: 9001, run, group: 9001 });
    plane.processes.end = () => {};
    plane.end(run, { kind: 'code', code: 0 });
    await turns(20);
    plane.want();
    await plane.clock.run(10_000);
    expect(plane.phase()).toBe('failed');
    expect(plane.worker().generation).toBe(1);
    expect(plane.worker().reason).toMatch(/^leftovers cannot be ended: .*pid 9001 \(sleeper\), state S/);
    expect(plane.worker().leftovers.map(({ pid }) => pid)).toContain(9001);
    expect(plane.shim.all('spawn')).toHaveLength(1);
  });

  it('what outlives SIGKILL keeps a stopped run from being closed, is named once, and closed when it goes', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 100 }) });
    const run = await plane.start();
    plane.processes.put({ pid: 9001, run, group: 9001, state: 'D', command: 'dd' });
    plane.unwant();
    await turns();
    plane.end(run, { kind: 'code', code: 3 });
    await plane.clock.run(4000);
    expect([plane.phase(), plane.worker().reason, plane.worker().leftovers]).toEqual(['stopping', null, []]);
    await plane.clock.run(2000);
    expect(plane.phase()).toBe('stopping');
    expect(plane.worker().reason).toBe('does not end after SIGKILL: pid 9001 (dd), state D (uninterruptible sleep)');
    expect(plane.worker().leftovers).toMatchObject([{ pid: 9001, command: 'dd', state: 'D' }]);
    await plane.clock.run(60_000);
    expect([plane.phase(), plane.errors.length]).toEqual(['stopping', 1]);
    plane.processes.end(9001);
    await plane.clock.run(1000);
    expect(plane.phase()).toBe('stopped');
    expect(plane.worker()).toMatchObject({ reason: null, leftovers: [], run: { exit: { kind: 'code', code: 3 } } });
  });

  it('ending them on request answers once they are gone', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 300 }) });
    const run = await plane.start();
    plane.processes.put({ pid: 9001, run, group: 9001, endsOn: [] });
    plane.end(run, { kind: 'code', code: 0 });
    await turns(20);
    let done = false;
    void plane.reconciler.endLeftovers('w').then(() => {
      done = true;
    });
    await plane.clock.run(299);
    expect(done).toBe(false);
    await plane.clock.run(100);
    expect(done).toBe(true);
    expect([plane.processes.processes.size, plane.worker().leftovers.length]).toEqual([0, 0]);
    expect(plane.phase()).toBe('exited');
  });
});

describe('thread hosts', () => {
  it('threads of the same surroundings share one, others do not; an empty one is ended after a while', async () => {
    const plane = watchfully(new FakeControlPlane());
    const spec = moduleSpec('thread');
    plane.define({ name: 'a', spec });
    plane.define({ name: 'b', spec });
    plane.define({ name: 'c', spec: { ...spec, cwd: '/srv' } });
    for (const name of ['a', 'b', 'c']) await plane.start(name);
    const hostOf = (name: string) => plane.worker(name).run?.host;
    expect(hostOf('a')).toBe(hostOf('b'));
    expect(hostOf('c')).not.toBe(hostOf('a'));
    expect(plane.shim.all('spawn').filter(({ params }) => params.kind === 'host')).toHaveLength(2);
    plane.end(plane.run('a'), { kind: 'returned' });
    await plane.clock.run(20_000);
    expect(plane.said(hostOf('a') ?? '')).toEqual([]);
    plane.end(plane.run('b'), { kind: 'returned' });
    await plane.clock.run(20_000);
    expect(plane.said(hostOf('a') ?? '')).toEqual(['0 SIGTERM']);
    expect(plane.said(hostOf('c') ?? '')).toEqual([]);
  });

  it('a host is asked for before its first thread', async () => {
    const plane = setUp({ spec: moduleSpec('thread') });
    await plane.start();
    expect(plane.shim.all('spawn').map(({ params }) => params.kind)).toEqual(['host', 'thread']);
  });
});
