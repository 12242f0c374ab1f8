/** The table of facts × stages: every cell by name, what each fact writes down, and walks of facts in any order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold, type RunFact, type RunFactKind, table } from '../../src/daemon/core/lifecycle.ts';
import type { Run, RunStage } from '../../src/daemon/core/model.ts';
import { seeded } from '../helpers/fake-chance.ts';
import { at, exitedFact, fakeRun, runIn, stopAt } from '../helpers/fake-worker.ts';

const facts: { readonly [K in RunFactKind]: Extract<RunFact, { kind: K }> } = {
  spawned: { kind: 'spawned', at: at + 1, pid: 99, startTime: 7 },
  running: { kind: 'running', at: at + 2, threadId: 3 },
  ready: { kind: 'ready', at: at + 3 },
  exited: exitedFact({ kind: 'code', code: 7 }),
  emptied: { kind: 'emptied', at: at + 5 },
};
const factKinds = Object.keys(facts) as RunFactKind[];
const stages: readonly RunStage[] = ['ordered', 'spawned', 'running', 'ended', 'closed'];

/** `same`: nothing changes. A stage: it is in that stage afterwards. */
const cells: { readonly [S in RunStage]: { readonly [K in RunFactKind]: RunStage | 'same' | 'impossible' } } = {
  ordered: { spawned: 'spawned', running: 'impossible', ready: 'impossible', exited: 'ended', emptied: 'impossible' },
  spawned: { spawned: 'same', running: 'running', ready: 'impossible', exited: 'ended', emptied: 'impossible' },
  running: { spawned: 'same', running: 'same', ready: 'running', exited: 'ended', emptied: 'impossible' },
  ended: { spawned: 'same', running: 'same', ready: 'same', exited: 'same', emptied: 'closed' },
  closed: { spawned: 'same', running: 'same', ready: 'same', exited: 'same', emptied: 'same' },
};

describe('every stage × fact', () => {
  const all = stages.flatMap((stage) => factKinds.map((kind) => ({ stage, kind, expected: cells[stage][kind] })));
  it.each(all)('$stage, then $kind: $expected', ({ stage, kind, expected }) => {
    const run = runIn(stage, { readyDeclared: true, ready: false });
    const next = fold(run, facts[kind]);
    if (expected === 'same') expect(next).toBe(run);
    else if (expected === 'impossible') expect(next).toBe('impossible');
    else expect(next).toMatchObject({ stage: expected });
  });

  it('has a cell for every pair and no other', () => {
    expect(Object.keys(table).sort()).toEqual([...stages].sort());
    for (const stage of stages) expect(Object.keys(table[stage]).sort()).toEqual([...factKinds].sort());
  });
});

const folded = (run: Run, ...told: readonly RunFact[]): Run =>
  told.reduce((before, fact) => {
    const next = fold(before, fact);
    if (next === 'impossible') throw new Error(`impossible: ${before.stage} then ${fact.kind}`);
    return next;
  }, run);

describe('what a fact writes down', () => {
  it('spawned: who it is and since when', () => {
    expect(folded(runIn('ordered'), facts.spawned)).toMatchObject({ pid: 99, startTime: 7, startedAt: at + 1 });
  });

  it('running without declared readiness is ready with it', () => {
    expect(folded(runIn('spawned'), facts.running)).toMatchObject({ reachedRunning: true, ready: true, threadId: 3 });
  });

  it('running with declared readiness is not ready until it says so', () => {
    const running = folded(runIn('spawned', { readyDeclared: true }), facts.running);
    expect(running).toMatchObject({ reachedRunning: true, ready: false });
    expect(folded(running, facts.ready)).toMatchObject({ ready: true });
  });

  it('exited: exit, duration, result; that it was ready stays true of it', () => {
    const told = exitedFact({ kind: 'returned' }, { ranMs: 5000, result: { files: 3 } });
    expect(folded(fakeRun(), told)).toMatchObject({
      stage: 'ended',
      exit: { kind: 'returned' },
      ranMs: 5000,
      endedAt: told.at,
      result: { files: 3 },
      ready: true,
      cutOff: false,
    });
  });

  it('exited carries the last state; an older one does not overwrite what is known', () => {
    const run = fakeRun({ state: { counter: 5 }, stateAt: at, stateRevision: 5 });
    const newer = exitedFact({ kind: 'returned' }, { state: { counter: 6 }, stateAt: at + 9, stateRevision: 6 });
    expect(folded(run, newer)).toMatchObject({ state: { counter: 6 }, stateAt: at + 9, stateRevision: 6 });
    const older = exitedFact({ kind: 'lost', reason: 'x' }, { state: null, stateRevision: 4 });
    expect(folded(run, older)).toMatchObject({ state: { counter: 5 }, stateAt: at, stateRevision: 5 });
  });

  it('a spawn that failed has exited alone, never ran, and has no pid', () => {
    const failed = exitedFact({ kind: 'spawn-failed', errno: 'ENOENT', message: 'no such file' }, { ranMs: 0 });
    expect(folded(runIn('ordered'), failed)).toMatchObject({
      stage: 'ended',
      reachedRunning: false,
      pid: null,
      exit: { kind: 'spawn-failed', errno: 'ENOENT' },
    });
  });

  it.each([
    { exit: { kind: 'lost', reason: 'thread host died' } as const, reason: 'thread host died' },
    {
      exit: { kind: 'error', name: 'Error', message: 'x ERR_WORKER_OUT_OF_MEMORY', stack: null } as const,
      reason: 'out of memory',
    },
    {
      exit: { kind: 'error', name: 'Error', message: 'heap out of memory', stack: null } as const,
      reason: 'out of memory',
    },
    { exit: { kind: 'error', name: 'Error', message: 'boom', stack: null } as const, reason: null },
    { exit: { kind: 'code', code: 1 } as const, reason: null },
  ])('reason of $exit is $reason', ({ exit, reason }) => {
    expect(folded(fakeRun(), exitedFact(exit)).reason).toBe(reason);
  });

  it('a thread that went down with its host because it was killed was terminated; its neighbour was lost', () => {
    const lost = exitedFact({ kind: 'lost', reason: 'thread host died' });
    const killed = fakeRun({ kind: 'thread', host: '_host.0.aa', stop: stopAt('killed') });
    expect(folded(killed, lost).exit).toEqual({ kind: 'terminated' });
    expect(folded({ ...killed, stop: null }, lost).exit).toEqual(lost.exit);
    expect(folded({ ...killed, stop: stopAt('forced') }, lost).exit).toEqual(lost.exit);
    expect(folded({ ...killed, kind: 'process' }, lost).exit).toEqual(lost.exit);
  });

  it('a run that the shim ended with itself is marked as cut off', () => {
    expect(folded(fakeRun(), exitedFact({ kind: 'signal', signal: 'SIGTERM' }, { byShim: true })).cutOff).toBe(true);
  });
});

describe('told again after a reconnection', () => {
  const story: readonly RunFact[] = [facts.spawned, facts.running, facts.ready, facts.exited, facts.emptied];

  it('the whole story told twice at any point changes nothing', () => {
    let run = runIn('ordered', { readyDeclared: true });
    story.forEach((fact, index) => {
      run = folded(run, fact);
      for (const again of story.slice(0, index + 1)) {
        if (again.kind === 'emptied' && run.stage !== 'closed') continue;
        expect(fold(run, again), `${again.kind} again after ${fact.kind}`).toEqual(run);
      }
    });
    expect(run.stage).toBe('closed');
  });

  it('a second exit does not overwrite the first', () => {
    const ended = folded(fakeRun(), exitedFact({ kind: 'code', code: 7 }));
    expect(fold(ended, exitedFact({ kind: 'lost', reason: 'the shim died' }))).toBe(ended);
  });

  it('a second spawned with another pid does not make it another process', () => {
    expect(fold(fakeRun({ pid: 4711 }), { kind: 'spawned', at, pid: 1, startTime: 1 })).toMatchObject({ pid: 4711 });
  });
});

describe('facts in any order', () => {
  const order: Readonly<Record<RunStage, number>> = { ordered: 0, spawned: 1, running: 2, ended: 3, closed: 4 };

  it('never throw, never go back, and close a run only once it has ended', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...factKinds), { maxLength: 40 }), fc.boolean(), (kinds, readyDeclared) => {
        let run = runIn('ordered', { readyDeclared });
        for (const kind of kinds) {
          const next = fold(run, facts[kind]);
          if (next === 'impossible') continue;
          expect(order[next.stage]).toBeGreaterThanOrEqual(order[run.stage]);
          if (next.stage === 'closed') expect(['ended', 'closed']).toContain(run.stage);
          if (next.stage === 'ended' || next.stage === 'closed') expect(next.exit).not.toBeNull();
          if (next.ready) expect(next.reachedRunning).toBe(true);
          expect(next.id).toBe(run.id);
          run = next;
        }
      }),
      seeded(2000),
    );
  });
});
