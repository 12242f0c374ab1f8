/** A record as users see it: the phase of every combination, what is hidden, and from when an end is told. */
import { describe, expect, it } from 'vitest';
import type { Run, RunStage, WorkerRecord } from '../../src/daemon/core/model.ts';
import { phaseOf, runViewOf, viewOf } from '../../src/daemon/core/view.ts';
import type { Phase } from '../../src/shared/worker.ts';
import { at, commandSpec, fakeWorker, runIn, stopAt } from '../helpers/fake-worker.ts';

const down = { want: 'down' } as const;
const same = { want: 'up', atLeast: 3 } as const;
const newer = { want: 'up', atLeast: 4 } as const;
const backoff = { untilAt: at + 4000, untilMono: 4000, afterLoss: false, counted: true };

interface Given {
  readonly intent: WorkerRecord['intent'];
  readonly stage: RunStage | null;
  readonly stop: boolean;
  readonly reachedRunning: boolean;
  readonly backoff: boolean;
  readonly settled: WorkerRecord['settled'];
}

const workerOf = ({ intent, stage, stop, reachedRunning, settled, ...given }: Given): WorkerRecord => {
  const changes: Partial<Run> = { generation: 3, reachedRunning, stop: stop ? stopAt('asked') : null };
  const run = stage === null ? null : runIn(stage, changes);
  return fakeWorker({ intent, run, settled, backoff: given.backoff ? backoff : null });
};

/** The words of the contract, first that applies. */
const rules: readonly {
  readonly why: string;
  readonly when: (given: Given) => boolean;
  readonly phase: Phase | 'settled';
}[] = [
  {
    why: 'a run that was asked to end',
    when: ({ stage, stop }) => stage !== null && stage !== 'closed' && stop,
    phase: 'stopping',
  },
  {
    why: 'an open run that is not wanted, be it that it has ended meanwhile',
    when: ({ stage, intent }) => stage !== null && stage !== 'closed' && intent !== same,
    phase: 'stopping',
  },
  {
    why: 'an open run that has reached running, its end not yet proven complete',
    when: ({ stage, reachedRunning }) => stage !== null && stage !== 'closed' && reachedRunning,
    phase: 'running',
  },
  { why: 'an open run that has not', when: ({ stage }) => stage !== null && stage !== 'closed', phase: 'starting' },
  { why: 'wanted, never ran', when: ({ stage, intent }) => stage === null && intent !== down, phase: 'starting' },
  { why: 'a newer run is wanted', when: ({ intent }) => intent === newer, phase: 'starting' },
  {
    why: 'wanted, and a restart has its time',
    when: (given) => given.intent === same && given.backoff,
    phase: 'backoff',
  },
  { why: 'nothing is alive', when: () => true, phase: 'settled' },
];

describe('the phase', () => {
  const stages: readonly (RunStage | null)[] = [null, 'ordered', 'spawned', 'running', 'ended', 'closed'];
  const booleans = [false, true];
  const all: Given[] = [];
  for (const intent of [down, same, newer])
    for (const stage of stages)
      for (const stop of booleans)
        for (const reachedRunning of booleans)
          for (const waits of booleans)
            for (const settled of ['stopped', 'exited', 'failed'] as const)
              all.push({ intent, stage, stop, reachedRunning, backoff: waits, settled });

  it.each(rules)('$why: $phase', (rule) => {
    const cases = all.filter((given) => rules.find(({ when }) => when(given)) === rule);
    expect(cases.length).toBeGreaterThan(0);
    for (const given of cases) {
      expect(phaseOf(workerOf(given)), JSON.stringify(given)).toBe(
        rule.phase === 'settled' ? given.settled : rule.phase,
      );
    }
  });
});

describe('what is shown', () => {
  it('values of the environment are hidden unless asked for, their names are not', () => {
    const worker = fakeWorker({ spec: commandSpec({ env: { TOKEN: 'CANARY-1234', EMPTY: '' } }) });
    expect(viewOf(worker).spec.env).toEqual({ TOKEN: '***', EMPTY: '***' });
    expect(JSON.stringify(viewOf(worker))).not.toContain('CANARY');
    expect(viewOf(worker, { showEnv: true }).spec.env).toEqual({ TOKEN: 'CANARY-1234', EMPTY: '' });
  });

  it('H06: a variable named __proto__ is shown as a name like any other, and nothing else changes', () => {
    const env = JSON.parse('{"__proto__":"x","constructor":"y"}') as Record<string, string>;
    const shown = viewOf(fakeWorker({ spec: commandSpec({ env }) })).spec.env;
    expect(JSON.stringify(shown)).toBe('{"__proto__":"***","constructor":"***"}');
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });

  it('what was captured from the caller is shown to nobody, not even with showEnv', () => {
    const worker = fakeWorker({ caller: { env: { SECRET: 'CANARY' }, cwd: '/secret', umask: 0o22 } });
    expect(JSON.stringify(viewOf(worker, { showEnv: true }))).not.toMatch(/CANARY|secret/i);
  });

  it('an end is not told before the run is proven empty', () => {
    const over = { exit: { kind: 'code', code: 7 }, reason: 'why', result: { n: 1 }, state: { n: 1 } } as const;
    const view = viewOf(fakeWorker({ intent: same, run: runIn('ended', { ...over, generation: 3 }) }));
    expect(view).toMatchObject({ phase: 'running', exit: null, endedAt: null, result: null, reason: null });
    const closed = viewOf(fakeWorker({ settled: 'failed', run: runIn('closed', over) }));
    expect(closed).toMatchObject({ phase: 'failed', exit: { kind: 'code', code: 7 }, result: { n: 1 }, reason: 'why' });
    expect(closed.endedAt).toBe(new Date(at + 1000).toISOString());
  });

  it('the last state is shown after the end, the pid and the thread are not', () => {
    const live = viewOf(fakeWorker({ intent: same, run: runIn('running', { generation: 3, threadId: 2 }) }));
    expect(live).toMatchObject({ pid: 4711, threadId: 2 });
    const gone = viewOf(
      fakeWorker({ run: runIn('closed', { state: { n: 1 }, stateAt: at, stateRevision: 4, threadId: 2 }) }),
    );
    expect(gone).toMatchObject({ pid: null, threadId: null, state: { n: 1 }, stateRevision: 4, ready: false });
  });

  it('nextStartAt is there in backoff alone', () => {
    const waiting = fakeWorker({ intent: same, run: runIn('closed', { generation: 3 }), backoff });
    expect(viewOf(waiting)).toMatchObject({ phase: 'backoff', nextStartAt: new Date(at + 4000).toISOString() });
    expect(viewOf({ ...waiting, intent: down }).nextStartAt).toBeNull();
  });

  it('times are RFC 3339 in UTC with milliseconds', () => {
    const view = viewOf(fakeWorker({ intent: same, run: runIn('running', { generation: 3, stateAt: at, state: {} }) }));
    expect(view.startedAt).toBe('2026-01-02T03:04:05.678Z');
    expect(view.stateAt).toBe('2026-01-02T03:04:05.678Z');
  });

  it('usage is what the caller brings, unknown is null', () => {
    const worker = fakeWorker({ intent: same, run: runIn('running', { generation: 3 }) });
    expect(viewOf(worker)).toMatchObject({ cpuPercent: null, memoryBytes: null });
    const usage = { cpuPercent: 12.5, memoryBytes: 4096 };
    expect(viewOf(worker, { usage })).toMatchObject(usage);
  });

  it('leftovers are named by pid and command, nothing else of them', () => {
    const leftovers = [{ pid: 5, command: 'sleep 60', startTime: 77 }];
    expect(viewOf(fakeWorker({ leftovers })).leftovers).toEqual([{ pid: 5, command: 'sleep 60' }]);
  });

  it('has exactly the members of the contract', () => {
    const members =
      'name kind phase ready enabled generation pid threadId startedAt endedAt nextStartAt restarts exit reason state ' +
      'stateAt stateRevision result leftovers cpuPercent memoryBytes startedBy stoppedBy spec';
    expect(Object.keys(viewOf(fakeWorker()))).toEqual(members.split(' '));
    const runMembers = 'generation startedAt endedAt exit reason state result startedBy stoppedBy';
    expect(Object.keys(runViewOf(runIn('closed')))).toEqual(runMembers.split(' '));
  });
});
