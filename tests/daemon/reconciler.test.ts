/** Intent carried out against a fake shim, clock and process table: order of store and shim, escalation, never two. */
import { describe, expect, it } from 'vitest';
import { turns } from '../helpers/fake-clock.ts';
import { FakeControlPlane } from '../helpers/fake-control-plane.ts';
import { commandSpec, moduleSpec } from '../helpers/fake-worker.ts';

const setUp = (spec: Parameters<FakeControlPlane['define']>[0] = {}) => {
  const plane = new FakeControlPlane();
  plane.define(spec);
  return plane;
};

describe('start', () => {
  it('the run is in the store before the shim is asked', async () => {
    const plane = setUp();
    let storedWhenAsked: string | undefined;
    plane.shim.onOrder = (order) => {
      if (order.method === 'spawn') storedWhenAsked = plane.store.workers.get('w')?.run?.stage;
      plane.obey(order);
    };
    const run = await plane.start();
    expect(storedWhenAsked).toBe('ordered');
    expect(plane.phase()).toBe('running');
    expect(plane.shim.all('spawn').map(({ params }) => params.run)).toEqual([run]);
  });

  it('a store that refuses: the shim is not asked; tried again after a second, in the same generation', async () => {
    const plane = setUp({ intent: { want: 'up', atLeast: 1 } });
    await turns();
    plane.store.refuse = new Error('disk full');
    plane.reconciler.add('w');
    await plane.clock.run(999);
    expect(plane.refusals).toHaveLength(1);
    expect(plane.shim.all('spawn')).toEqual([]);
    expect(plane.worker()).toMatchObject({ generation: 0, run: null });
    await plane.clock.run(1);
    expect(plane.worker()).toMatchObject({ generation: 1, run: { stage: 'running' } });
  });

  it('the shim refuses the order: spawn-failed, failed, and its words are kept', async () => {
    const plane = setUp({ spec: commandSpec({ restart: { policy: 'always' } }) });
    plane.shim.onOrder = (order) => {
      if (order.method === 'spawn') throw new Error('too long an order');
    };
    plane.want();
    await turns(20);
    expect(plane.phase()).toBe('failed');
    expect(plane.worker()).toMatchObject({
      reason: 'start-failed',
      run: {
        stage: 'closed',
        exit: { kind: 'spawn-failed', message: 'too long an order' },
        reason: 'start-failed',
      },
    });
  });

  it('without a shim nothing is ordered and nothing is lost: it starts once one answers', async () => {
    const plane = setUp();
    plane.shim.connected = false;
    plane.want();
    await plane.clock.run(5000);
    expect([plane.worker().generation, plane.phase()]).toEqual([0, 'starting']);
    plane.shim.connected = true;
    plane.reconciler.addAll();
    await turns();
    expect(plane.phase()).toBe('running');
  });

  it('facts are acknowledged once they are on disk, not before', async () => {
    const plane = setUp();
    const run = await plane.start();
    expect(plane.shim.acknowledged).toBe(plane.shim.seq);
    plane.store.refuse = new Error('disk full');
    plane.end(run, { kind: 'code', code: 3 });
    await turns();
    expect(plane.shim.acknowledged).toBeLessThan(plane.shim.seq);
  });

  it('R02: asked for a hundred times in one turn, one run', async () => {
    const plane = setUp();
    for (let count = 0; count < 100; count += 1) plane.reconciler.add('w');
    plane.want();
    for (let count = 0; count < 100; count += 1) plane.reconciler.add('w');
    await turns(20);
    expect(plane.shim.all('spawn')).toHaveLength(1);
  });
});

describe('stop', () => {
  it('a command: the line, its stop signal and SIGCONT at once; at the end of the grace SIGKILL', async () => {
    const plane = setUp({ spec: commandSpec({ stopSignal: 'SIGINT', graceMs: 2000 }) });
    const run = await plane.start();
    plane.unwant();
    await turns();
    expect(plane.phase()).toBe('stopping');
    await plane.clock.run(1999);
    expect(plane.said(run)).toEqual(['0 stop', '0 SIGINT', '0 SIGCONT']);
    await plane.clock.run(1);
    expect(plane.said(run)).toEqual(['0 stop', '0 SIGINT', '0 SIGCONT', '2000 SIGKILL']);
    expect(plane.phase()).toBe('stopped');
    expect(plane.worker().run?.exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
  });

  it('a module: the line alone; at the end of the grace SIGTERM; 500 ms later SIGKILL', async () => {
    const plane = setUp({ spec: moduleSpec('process', { graceMs: 2000 }) });
    const run = await plane.start();
    plane.unwant();
    await plane.clock.run(2499);
    expect(plane.said(run)).toEqual(['0 stop', '2000 SIGTERM', '2000 SIGCONT']);
    await plane.clock.run(1);
    expect(plane.said(run).at(-1)).toBe('2500 SIGKILL');
    expect(plane.phase()).toBe('stopped');
  });

  it('a leader that outlives SIGKILL: named after 5 s, tried on, what was to follow is not; closed when it goes', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 1000 }) });
    const run = await plane.start();
    const pid = plane.worker().run?.pid ?? 0;
    plane.processes.put({ pid, run, command: 'dd', state: 'D' });
    // The shim delivers what the kernel keeps.
    plane.shim.onOrder = () => {};
    plane.want();
    await plane.clock.run(5900);
    expect([plane.phase(), plane.worker().reason, plane.worker().leftovers]).toEqual(['stopping', null, []]);
    await plane.clock.run(200);
    expect(plane.phase()).toBe('stopping');
    expect(plane.worker()).toMatchObject({
      reason: `does not end after SIGKILL: pid ${pid} (dd), state D (uninterruptible sleep)`,
      leftovers: [{ pid, command: 'dd' }],
      intent: { want: 'down' },
      run: { exit: null, stop: { outlived: true } },
    });
    expect(plane.errors).toHaveLength(1);
    const said = plane.said(run).length;
    await plane.clock.run(30_000);
    expect(plane.said(run).length - said).toBe(3);
    expect(plane.errors).toHaveLength(1);
    plane.end(run, { kind: 'signal', signal: 'SIGKILL' });
    await turns(20);
    expect(plane.phase()).toBe('stopped');
    expect(plane.worker()).toMatchObject({
      generation: 1,
      reason: null,
      leftovers: [],
      run: { exit: { kind: 'signal', signal: 'SIGKILL' } },
    });
  });

  it('a thread: the line; terminate through its host; 500 ms later its host is killed', async () => {
    const plane = setUp({ spec: moduleSpec('thread', { graceMs: 2000 }) });
    const run = await plane.start();
    const { host } = plane.worker().run ?? {};
    expect(host).toMatch(/^_host\./);
    plane.unwant();
    await plane.clock.run(2000);
    expect(plane.said(run)).toEqual(['0 stop']);
    expect(plane.said(host ?? '')).toEqual(['0 terminate']);
    await plane.clock.run(499);
    expect(plane.said(host ?? '')).toEqual(['0 terminate']);
    await plane.clock.run(1);
    expect(plane.said(host ?? '')).toEqual(['0 terminate', '500 SIGKILL']);
    plane.end(run, { kind: 'lost', reason: 'thread host died' });
    await turns();
    expect(plane.phase()).toBe('stopped');
    expect(plane.worker().run?.exit).toEqual({ kind: 'terminated' });
  });

  it('one that obeys is stopped as soon as it has ended, and nothing harsher is said', async () => {
    const plane = setUp({ spec: commandSpec() });
    const run = await plane.start();
    plane.unwant();
    await plane.clock.run(100);
    plane.end(run, { kind: 'signal', signal: 'SIGTERM' });
    await plane.clock.run(60_000);
    expect(plane.phase()).toBe('stopped');
    expect(plane.said(run)).toEqual(['0 stop', '0 SIGTERM', '0 SIGCONT']);
  });

  it('--force: SIGKILL at once and no line', async () => {
    const plane = setUp();
    const run = await plane.start();
    plane.unwant('w', { force: true });
    await turns(20);
    expect(plane.said(run)).toEqual(['0 SIGKILL']);
    expect(plane.phase()).toBe('stopped');
  });

  it('--force while it is being stopped: at once', async () => {
    const plane = setUp();
    const run = await plane.start();
    plane.unwant();
    await plane.clock.run(500);
    plane.unwant('w', { force: true });
    await turns(20);
    expect(plane.said(run).at(-1)).toBe('500 SIGKILL');
    expect(plane.phase()).toBe('stopped');
  });

  it('the grace of the request goes before that of the definition', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 60_000 }) });
    const run = await plane.start();
    plane.unwant('w', { graceMs: 300 });
    await plane.clock.run(300);
    expect(plane.said(run).at(-1)).toBe('300 SIGKILL');
  });

  it('while it is ordered: what comes of the order is waited for, then it is asked', async () => {
    const plane = setUp();
    plane.shim.onOrder = (order) => {
      if (order.method !== 'spawn') plane.obey(order);
    };
    plane.want();
    await turns();
    expect(plane.worker().run?.stage).toBe('ordered');
    plane.unwant();
    await plane.clock.run(5000);
    const run = plane.run();
    expect(plane.said(run)).toEqual([]);
    plane.started(run, 'command');
    await turns(20);
    expect(plane.said(run)).toEqual(['0 stop', '0 SIGTERM', '0 SIGCONT']);
    plane.end(run, { kind: 'signal', signal: 'SIGTERM' });
    await turns(20);
    expect(plane.phase()).toBe('stopped');
  });

  it('SIGKILL is said again each second to what does not go', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 0 }) });
    plane.killed = () => {};
    const run = await plane.start();
    plane.unwant();
    await plane.clock.run(3500);
    expect(plane.said(run).filter((each) => each.endsWith('SIGKILL'))).toHaveLength(4);
    expect(plane.phase()).toBe('stopping');
  });

  it('W11: a child that left group and session and lost its marker hears the signal, and is ended with the rest', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 1000 }) });
    const run = await plane.start();
    const parent = plane.worker().run?.pid ?? 0;
    plane.processes.put({ pid: 9001, parent, group: 9001, run: null, endsOn: ['SIGKILL'] });
    plane.processes.put({ pid: 9002, parent, group: parent, run, endsOn: ['SIGTERM'] });
    plane.unwant();
    await turns();
    expect(plane.processes.signals).toContainEqual({ pid: 9001, signal: 'SIGTERM' });
    plane.end(run, { kind: 'signal', signal: 'SIGTERM' });
    await plane.clock.run(900);
    expect(plane.phase()).toBe('stopping');
    await plane.clock.run(200);
    expect(plane.phase()).toBe('stopped');
    expect(plane.processes.processes.size).toBe(0);
  });

  it('what cannot be read any more is neither gone nor killed: it is named, and closed once it is gone', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 1000 }) });
    const run = await plane.start();
    const parent = plane.worker().run?.pid ?? 0;
    plane.processes.put({ pid: 9001, parent, group: parent, run, endsOn: [] });
    plane.unwant();
    await turns();
    plane.end(run, { kind: 'signal', signal: 'SIGTERM' });
    await plane.clock.run(100);
    plane.processes.put({ pid: 9001, parent, group: parent, run, unreadable: true });
    await plane.clock.run(3000);
    expect(plane.phase()).toBe('stopping');
    await plane.clock.run(5000);
    expect(plane.worker()).toMatchObject({ leftovers: [{ pid: 9001 }], run: { stage: 'ended' } });
    expect(plane.processes.signals.filter(({ signal }) => signal === 'SIGKILL')).toEqual([]);
    plane.processes.end(9001);
    await plane.clock.run(3000);
    expect([plane.phase(), plane.worker().leftovers]).toEqual(['stopped', []]);
  });

  it('the shim dies while it is being told: no rejection is left unhandled, the worker is ended by identity', async () => {
    const plane = setUp({ spec: commandSpec({ graceMs: 500 }) });
    await plane.start();
    const unhandled: unknown[] = [];
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (reason) => unhandled.push(reason));
    try {
      const broken = Promise.withResolvers<void>();
      broken.promise.catch(() => {});
      plane.shim.onOrder = () => broken.promise;
      plane.unwant();
      await turns();
      plane.shim.connected = false;
      broken.reject(new Error('the connection was closed'));
      await turns();
      await plane.clock.run(2000);
    } finally {
      process.removeAllListeners('unhandledRejection');
      for (const other of others) process.on('unhandledRejection', other);
    }
    expect(unhandled).toEqual([]);
    expect(plane.processes.signals.length).toBeGreaterThan(0);
    expect(plane.processes.processes.size).toBe(0);
  });
});
