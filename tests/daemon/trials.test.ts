/** An order that kills every shim it is given to is found out, and given up; orders beside it are carried out. */
import { describe, expect, it } from 'vitest';
import { Trials } from '../../src/daemon/trials.ts';
import { turns } from '../helpers/fake-clock.ts';
import { FakeControlPlane } from '../helpers/fake-control-plane.ts';
import { silentLog } from '../helpers/fake-store.ts';
import { commandSpec, runIn } from '../helpers/fake-worker.ts';

/** Workers whose runs are ordered, and a shim that dies of some of these orders. */
const setUp = (names: readonly string[], deadly: (name: string) => boolean) => {
  const plane = new FakeControlPlane();
  const { registry, shim, reconciler, clock, orders } = plane;
  const trials = new Trials({ registry, shim, reconciler, clock, log: silentLog, orders });
  for (const name of names) {
    const spec = commandSpec({ restart: { policy: 'always' } });
    const run = runIn('ordered', { id: `${name}.1.x` });
    plane.define({ name, spec, generation: 1, intent: { want: 'up', atLeast: 1 }, run });
  }
  const orderedFrom: Record<string, number[]> = {};
  let died = 0;
  shim.listener = (facts) => {
    reconciler.facts(facts);
    trials.heard(facts);
  };
  shim.onOrder = (order) => {
    if (order.method !== 'spawn') return plane.obey(order);
    const { name } = order.params;
    orderedFrom[name] = [...(orderedFrom[name] ?? []), shim.pid ?? 0];
    if (!deadly(name)) return plane.obey(order);
    shim.connected = false;
    died += 1;
    throw new Error('the connection to the shim is lost');
  };
  const meet = async () => {
    trials.connected();
    for (const name of names) if (plane.worker(name).run?.stage === 'ordered') await trials.missing(name);
    await trials.begin();
    await turns(20);
  };
  /** The next shim answers, for as long as each of them dies. */
  const meetNext = async () => {
    for (let count = 0; count < 20; count += 1) {
      shim.connected = true;
      shim.pid = (shim.pid ?? 0) + 1;
      await meet();
      if (shim.connected) return;
    }
    throw new Error('shims die for ever');
  };
  return { plane, orderedFrom, meet, meetNext, died: () => died };
};

it('is given to three shims, then its worker has failed, whatever its policy; the others run', async () => {
  const { plane, orderedFrom, meet, meetNext, died } = setUp(['a', 'poison', 'z'], (name) => name === 'poison');
  // In one turn, as those that were on their way: the shim dies of one of them.
  plane.shim.connected = true;
  await meet();
  expect(died()).toBe(1);
  await meetNext();
  expect(died()).toBe(3);
  expect(orderedFrom['poison']).toEqual([100, 101, 102]);
  for (const name of ['a', 'z']) expect(plane.phase(name), name).toBe('running');
  expect(plane.phase('poison')).toBe('failed');
  expect(plane.worker('poison')).toMatchObject({
    reason: '3 shims died when they were asked to start it',
    generation: 1,
    intent: { want: 'down' },
    run: { exit: { kind: 'lost', reason: '3 shims died when they were asked to start it' } },
  });
});

it('orders of which each is innocent alone are carried out by the next shim', async () => {
  const { plane, meet, meetNext, died } = setUp(['a', 'b', 'c'], (name) => name === 'b' && died() === 0);
  await meet();
  expect([died(), plane.shim.connected]).toEqual([1, false]);
  await meetNext();
  expect(died()).toBe(1);
  for (const name of ['a', 'b', 'c']) expect(plane.phase(name), name).toBe('running');
});

it('a connection that is lost while the shim lives costs nobody anything, however often', async () => {
  let left = 5;
  const { plane, orderedFrom, meet } = setUp(['a'], () => left-- > 0);
  for (let count = 0; count < 6; count += 1) {
    plane.shim.connected = true;
    await meet();
  }
  expect(orderedFrom['a']).toHaveLength(6);
  expect(plane.phase('a')).toBe('running');
});

it('one that is not wanted any more is not tried', async () => {
  const { plane, orderedFrom, meet, meetNext } = setUp(['a'], () => true);
  await meet();
  plane.unwant('a');
  await meetNext();
  expect(orderedFrom['a']).toEqual([100]);
  expect(plane.phase('a')).toBe('stopped');
});

it('an order that the shim refuses is not asked again', async () => {
  const { plane, meet } = setUp(['a'], () => false);
  plane.shim.onOrder = (order) => {
    if (order.method === 'spawn') throw new Error('too long an order');
  };
  await meet();
  expect(plane.worker('a').run).toMatchObject({ exit: { kind: 'spawn-failed', message: 'too long an order' } });
});

describe('a shim that has just been met', () => {
  it('is not asked about what it was ordered since it said what it holds', async () => {
    const plane = new FakeControlPlane();
    plane.define({
      name: 'a',
      generation: 1,
      run: runIn('ordered', { id: 'a.1.x' }),
      intent: { want: 'up', atLeast: 1 },
    });
    plane.define({ name: 'b' });
    // While what an earlier shim was ordered is looked for, a verb starts another, and that is there at once.
    const meeting = plane.adoption.connected([]);
    const run = await plane.start('b');
    expect(
      plane.processes.sweep([{ run, group: null, since: null, until: null, mark: null, also: [] }]).get(run),
    ).toHaveLength(1);
    await meeting;
    await turns(20);
    expect(plane.worker('b')).toMatchObject({ generation: 1, run: { id: run, stage: 'running' } });
    expect(plane.shim.all('spawn').filter(({ params }) => params.run === run)).toHaveLength(1);
    expect(plane.phase('a')).toBe('running');
  });
});
