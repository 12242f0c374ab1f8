/** What is left with the shim, and what becomes of it where the registry was lost. */
import { describe, expect, it } from 'vitest';
import { newRun } from '../../src/daemon/core/new-run.ts';
import { keepOf, recordFrom, recordSeen } from '../../src/daemon/rebuild.ts';
import type { RunStatus } from '../../src/daemon/shim/protocol.ts';
import { SharedTexts } from '../../src/daemon/shim/shared-texts.ts';
import { fakeWorker } from '../helpers/fake-worker.ts';

const worker = fakeWorker({ name: 'w', generation: 2, restarts: 3, enabled: true });
const run = newRun(worker, { id: 'w.3.aa', host: null, automatic: true, now: 1000, bootId: 'boot' });
const status: RunStatus = {
  run: 'w.3.aa',
  name: 'w',
  generation: 3,
  kind: 'command',
  host: null,
  pid: 40,
  startTime: 4,
  running: true,
  ready: false,
  state: null,
  stateAt: null,
  stateRevision: 0,
  exited: false,
  adopted: false,
};

describe('what was kept', () => {
  it('comes back as the worker with this run, where the shim has it', () => {
    const rebuilt = recordFrom(status, keepOf(worker, run));
    const observed = { stage: 'running', pid: 40, startTime: 4, startedAt: 1000, reachedRunning: true, ready: true };
    expect(rebuilt).toEqual({ ...worker, generation: 3, leftovers: [], run: { ...run, ...observed } });
  });

  it('of an order that is not carried out yet is an ordered run', () => {
    const rebuilt = recordFrom({ ...status, pid: null, startTime: null, running: false }, keepOf(worker, run));
    expect(rebuilt?.run).toEqual(run);
  });

  it('of another run, or nothing, is nothing', () => {
    expect(recordFrom({ ...status, run: 'w.4.bb' }, keepOf(worker, run))).toBeNull();
    expect(recordFrom(status, [])).toBeNull();
  });

  it('is nothing where it would not fit into the line of the order', () => {
    const env = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`K${index}`, 'x'.repeat(1000)]));
    expect(keepOf({ ...worker, caller: { ...worker.caller, env } }, run)).toEqual([]);
  });
});

describe('where nothing was kept, the worker is what its process looks like', () => {
  const seen = { argv: ['node', 'host.js', '/a/m.ts', 'work'], env: { A: '1' }, cwd: '/a', bootId: 'boot', now: 9 };
  it.each([
    ['command', { kind: 'command', command: seen.argv }],
    ['module', { kind: 'process', module: '/a/m.ts', export: 'work' }],
    ['thread', { kind: 'thread', module: '/unknown', export: 'default' }],
  ] as const)('%s', (kind, spec) => {
    const rebuilt = recordSeen({ ...status, kind }, seen);
    expect(rebuilt.spec).toMatchObject({ ...spec, restart: { policy: 'no' } });
    expect(rebuilt).toMatchObject({ name: 'w', generation: 3, caller: { env: { A: '1' }, cwd: '/a' } });
    expect(rebuilt.run).toMatchObject({ id: 'w.3.aa', stage: 'running', pid: 40, startTime: 4 });
  });
});

it('texts that runs share are held once, and let go of with the last of them', () => {
  const texts = new SharedTexts();
  const one = texts.share(['caller', 'a']);
  const two = texts.share(['caller', 'b']);
  expect([one, two, texts.size]).toEqual([['caller', 'a'], ['caller', 'b'], 3]);
  texts.drop(one);
  expect(texts.size).toBe(2);
  texts.drop(two);
  expect(texts.size).toBe(0);
});
