/** What to do next: a row with its reason for each decision, then what must never be decided, over all combinations. */
import { describe, expect, it } from 'vitest';
import { isLive, isOpen, type Run, type RunStage, type WorkerRecord } from '../../src/daemon/core/model.ts';
import { type Action, plan } from '../../src/daemon/core/plan.ts';
import { fakeWorker, runIn, stopAt } from '../helpers/fake-worker.ts';

const nowMono = 5000;
const leftovers = [{ pid: 5, startTime: 1, command: 'sleeper' }];
const backoffUntil = (untilMono: number) => ({ untilAt: 0, untilMono, afterLoss: false, counted: true });
const down = { want: 'down' } as const;
const upFrom = (atLeast: number) => ({ want: 'up', atLeast }) as const;
const order = { reason: 'stop', by: null, graceMs: null, force: false } as const;
const rest: Action = { kind: 'rest' };

interface Row {
  readonly why: string;
  readonly worker: Partial<WorkerRecord>;
  readonly endLeftovers?: boolean;
  readonly action: Action;
}

const rows: readonly Row[] = [
  { why: 'never ran and is not wanted', worker: {}, action: rest },
  {
    why: 'never ran and is wanted by a verb',
    worker: { intent: upFrom(1) },
    action: { kind: 'spawn', automatic: false },
  },
  ...(['ordered', 'spawned', 'running'] as const).map((stage) => ({
    why: `is ${stage}, as wanted`,
    worker: { intent: upFrom(1), run: runIn(stage) },
    action: rest,
  })),
  {
    why: 'is newer than what was asked for: still what is wanted',
    worker: { intent: upFrom(1), run: runIn('running', { generation: 5 }) },
    action: rest,
  },
  {
    why: 'is ordered and not wanted any more: what comes of the order is told in a moment',
    worker: { run: runIn('ordered') },
    action: rest,
  },
  {
    why: 'is ordered and a newer one is wanted: the same',
    worker: { intent: upFrom(2), run: runIn('ordered') },
    action: rest,
  },
  { why: 'is spawned, not running yet, and not wanted', worker: { run: runIn('spawned') }, action: { kind: 'ask' } },
  { why: 'runs and is not wanted', worker: { run: runIn('running') }, action: { kind: 'ask' } },
  {
    why: 'runs and a newer one is wanted',
    worker: { intent: upFrom(2), run: runIn('running') },
    action: { kind: 'ask' },
  },
  {
    why: 'was to be asked when the daemon before was killed: perhaps it never heard of it',
    worker: {
      stopOrder: order,
      run: runIn('running', { stop: stopAt('asked', { stepMono: Number.NEGATIVE_INFINITY, deadlineMono: 5001 }) }),
    },
    action: { kind: 'ask' },
  },
  {
    why: 'was asked, its grace lasts on',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('asked', { deadlineMono: 5001 }) }) },
    action: { kind: 'look-again', atMono: 5001 },
  },
  {
    why: 'was asked, its grace is over',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('asked', { deadlineMono: 5000 }) }) },
    action: { kind: 'force' },
  },
  {
    why: 'was asked, then force was demanded: its grace does not matter',
    worker: { stopOrder: { ...order, force: true }, run: runIn('running', { stop: stopAt('asked') }) },
    action: { kind: 'force' },
  },
  {
    why: 'was told by force less than 500 ms ago',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('forced', { stepMono: 4501 }) }) },
    action: { kind: 'look-again', atMono: 5001 },
  },
  {
    why: 'was told by force 500 ms ago',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('forced', { stepMono: 4500 }) }) },
    action: { kind: 'kill' },
  },
  {
    why: 'was killed a moment ago',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('killed', { stepMono: 4999 }) }) },
    action: { kind: 'look-again', atMono: 5999 },
  },
  {
    why: 'was killed a second ago and is still there: again',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('killed', { stepMono: 4000 }) }) },
    action: { kind: 'kill' },
  },
  {
    why: 'was killed for the fifth time in 5 s and is still there: it is named',
    worker: { stopOrder: order, run: runIn('running', { stop: stopAt('killed', { stepMono: 4000, kills: 5 }) }) },
    action: { kind: 'name' },
  },
  {
    why: 'outlives SIGKILL, as was said: looked at again in a while',
    worker: {
      stopOrder: order,
      run: runIn('running', { stop: stopAt('killed', { stepMono: 4000, kills: 6, outlived: true }) }),
    },
    action: { kind: 'look-again', atMono: 14_000 },
  },
  {
    why: 'left behind what outlives SIGKILL, as was said a moment ago',
    worker: { stopOrder: order, run: runIn('ended', { stop: stopAt('killed', { stepMono: 4500, outlived: true }) }) },
    action: { kind: 'look-again', atMono: 5500 },
  },
  {
    why: 'left behind what outlives SIGKILL, as was said a second ago: perhaps it has gone',
    worker: { stopOrder: order, run: runIn('ended', { stop: stopAt('killed', { stepMono: 4000, outlived: true }) }) },
    action: { kind: 'close' },
  },
  {
    why: 'is wanted again while it is being stopped: the stop goes on, as it is an older run',
    worker: { intent: upFrom(2), run: runIn('running', { stop: stopAt('asked', { deadlineMono: 5000 }) }) },
    action: { kind: 'force' },
  },
  { why: 'its leader is gone', worker: { run: runIn('ended') }, action: { kind: 'close' } },
  {
    why: 'its leader is gone, and a newer one is wanted: first it is closed',
    worker: { intent: upFrom(2), run: runIn('ended') },
    action: { kind: 'close' },
  },
  { why: 'is closed and not wanted', worker: { run: runIn('closed') }, action: rest },
  {
    why: 'is closed, not wanted, and left something: nobody asked for that',
    worker: { run: runIn('closed'), leftovers },
    action: rest,
  },
  {
    why: 'is closed, not wanted, and somebody asks for what it left to be ended',
    worker: { run: runIn('closed'), leftovers },
    endLeftovers: true,
    action: { kind: 'end-leftovers' },
  },
  { why: 'nothing is left to be ended', worker: { run: runIn('closed') }, endLeftovers: true, action: rest },
  {
    why: 'is closed and a newer one is wanted',
    worker: { intent: upFrom(2), run: runIn('closed') },
    action: { kind: 'spawn', automatic: false },
  },
  {
    why: 'a verb does not wait for a restart’s time',
    worker: { intent: upFrom(2), run: runIn('closed'), backoff: backoffUntil(9000) },
    action: { kind: 'spawn', automatic: false },
  },
  {
    why: 'a newer one is wanted, but the last left something: that goes first',
    worker: { intent: upFrom(2), run: runIn('closed'), leftovers },
    action: { kind: 'end-leftovers' },
  },
  {
    why: 'waits for its restart',
    worker: { intent: upFrom(1), run: runIn('closed'), backoff: backoffUntil(5001) },
    action: { kind: 'look-again', atMono: 5001 },
  },
  {
    why: 'the time of its restart has come',
    worker: { intent: upFrom(1), run: runIn('closed'), backoff: backoffUntil(5000) },
    action: { kind: 'spawn', automatic: true },
  },
  {
    why: 'the time of its restart has come, but the last left something: that goes first',
    worker: { intent: upFrom(1), run: runIn('closed'), backoff: backoffUntil(5000), leftovers },
    action: { kind: 'end-leftovers' },
  },
  { why: 'ended for good', worker: { intent: upFrom(1), run: runIn('closed') }, action: rest },
];

describe('what to do about a worker that …', () => {
  it.each(rows)('$why: $action.kind', ({ worker, endLeftovers = false, action }) => {
    expect(plan(fakeWorker(worker), nowMono, { endLeftovers })).toEqual(action);
  });
});

/** Every combination of intent × stage × stop step × leftovers × backoff × wish. */
const combinations = function* (): Generator<{ readonly worker: WorkerRecord; readonly endLeftovers: boolean }> {
  const stages: readonly (RunStage | null)[] = [null, 'ordered', 'spawned', 'running', 'ended', 'closed'];
  const stops: readonly Run['stop'][] = [
    null,
    ...(['asked', 'forced', 'killed'] as const).flatMap((step) => [
      stopAt(step, { deadlineMono: 1000, stepMono: 0 }),
      stopAt(step, { deadlineMono: 9000, stepMono: 4990 }),
    ]),
  ];
  for (const intent of [down, upFrom(1), upFrom(3), upFrom(4)]) {
    for (const stage of stages) {
      for (const stop of stage === null ? [null] : stops) {
        for (const left of [[], leftovers]) {
          for (const backoff of [null, backoffUntil(1000), backoffUntil(9000)]) {
            for (const force of [null, false, true]) {
              const run = stage === null ? null : runIn(stage, { generation: 3, stop });
              const stopOrder = force === null ? null : { ...order, force };
              for (const endLeftovers of [false, true]) {
                yield { worker: fakeWorker({ intent, run, leftovers: left, backoff, stopOrder }), endLeftovers };
              }
            }
          }
        }
      }
    }
  }
};

describe('over all combinations', () => {
  const all = [...combinations()].map((given) => ({
    ...given,
    action: plan(given.worker, nowMono, { endLeftovers: given.endLeftovers }),
  }));

  it('are some thousand', () => expect(all.length).toBeGreaterThan(4000));

  it('never two alive: spawn only where no run is live or still to be closed', () => {
    for (const { worker, action } of all) if (action.kind === 'spawn') expect(isOpen(worker.run)).toBe(false);
  });

  it('never a new run beside what an old one left', () => {
    for (const { worker, action } of all) if (action.kind === 'spawn') expect(worker.leftovers).toEqual([]);
  });

  it('never spawns what is not wanted', () => {
    for (const { worker, action } of all) if (action.kind === 'spawn') expect(worker.intent.want).toBe('up');
  });

  it('spawns automatically only after a run that is new enough, at its time', () => {
    for (const { worker, action } of all) {
      if (action.kind !== 'spawn') continue;
      const byVerb = worker.intent.want === 'up' && (worker.run?.generation ?? 0) < worker.intent.atLeast;
      expect(action.automatic).toBe(!byVerb);
      if (action.automatic) expect(worker.backoff?.untilMono).toBeLessThanOrEqual(nowMono);
    }
  });

  it('ends only a live run, and never the one that is wanted', () => {
    for (const { worker, action } of all) {
      if (action.kind !== 'ask' && action.kind !== 'force' && action.kind !== 'kill') continue;
      expect(isLive(worker.run)).toBe(true);
      const { intent } = worker;
      expect(intent.want === 'down' || (worker.run?.generation ?? 0) < intent.atLeast).toBe(true);
      expect(action.kind === 'ask').toBe(worker.run?.stop === null);
    }
  });

  it('every run whose leader is gone is closed first, whatever else is wanted', () => {
    for (const { worker, action } of all) expect(action.kind === 'close').toBe(worker.run?.stage === 'ended');
  });

  it('looks again only in the future', () => {
    for (const { action } of all) if (action.kind === 'look-again') expect(action.atMono).toBeGreaterThan(nowMono);
  });

  it('what is not wanted and live is never left alone without a deadline, an order under way apart', () => {
    for (const { worker, action } of all) {
      if (worker.intent.want !== 'down' || !isLive(worker.run) || worker.run.stage === 'ordered') continue;
      expect(action.kind).not.toBe('rest');
    }
  });
});
