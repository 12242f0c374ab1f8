import { expect, test } from 'vitest';
import { WatchModel } from '../../src/cli/watch-model.ts';
import { ago, makeView, stopped } from './views.ts';

const event = { subscription: 's', cursor: '1', at: ago(0), name: 'web', generation: 1 } as const;
const snapshot = (name: string) => ({ ...event, name, type: 'snapshot', worker: makeView({ name }) }) as const;

test('after a gap all is out of date, until a snapshot names it or it is gone', () => {
  const model = new WatchModel({ ends: false });
  model.apply(snapshot('web'));
  model.apply(snapshot('db'));
  model.apply({ ...event, type: 'gap', dropped: 3, snapshots: 1 });
  expect([...model.stale]).toEqual(['web', 'db']);
  model.apply({ ...event, type: 'state', state: { n: 1 }, stateRevision: 1 });
  expect([...model.stale]).toEqual(['web', 'db']);
  model.apply(snapshot('web'));
  expect([...model.stale]).toEqual(['db']);
  model.apply({ ...event, name: 'db', type: 'removed' });
  expect([...model.stale]).toEqual([]);
  expect([...model.views.keys()]).toEqual(['web']);
});

test('CPU and memory stay with their run, and are taken from no other', () => {
  const model = new WatchModel({ ends: false });
  model.apply({ ...event, type: 'snapshot', worker: makeView({ cpuPercent: null, memoryBytes: null }) });
  model.measure([makeView({ cpuPercent: 5, memoryBytes: 10 })]);
  model.measure([makeView({ generation: 2, cpuPercent: 99, memoryBytes: 99 })]);
  model.apply({ ...event, type: 'phase', worker: makeView({ cpuPercent: null, memoryBytes: null }) });
  expect(model.views.get('web')).toMatchObject({ cpuPercent: 5, memoryBytes: 10 });
  model.apply({ ...event, type: 'phase', worker: stopped({ phase: 'exited' }) });
  expect(model.views.get('web')).toMatchObject({ cpuPercent: null, memoryBytes: null });
});

test('over once all that were named have been shown as ended', () => {
  const model = new WatchModel({ ends: true });
  model.apply(snapshot('web'));
  model.expect([makeView()]);
  expect(model.over).toBe(false);
  model.apply({ ...event, type: 'phase', worker: stopped({ phase: 'exited' }) });
  expect(model.over).toBe(true);
});
