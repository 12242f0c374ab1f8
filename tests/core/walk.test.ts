/**
 * Plan, fold and settle together against a virtual world that obeys or does not: whatever was asked for and whatever
 * the processes do, with time going on the worker ends where it is wanted, and never are two of one alive.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold, type RunFact } from '../../src/daemon/core/lifecycle.ts';
import { isLive, isOpen, type Run, type WorkerRecord } from '../../src/daemon/core/model.ts';
import { plan } from '../../src/daemon/core/plan.ts';
import { settle } from '../../src/daemon/core/settle.ts';
import { phaseOf } from '../../src/daemon/core/view.ts';
import type { RestartPolicy } from '../../src/shared/worker.ts';
import { seeded } from '../helpers/fake-chance.ts';
import { at, commandSpec, exitedFact, fakeWorker, runIn, stopAt } from '../helpers/fake-worker.ts';

/** What a process does. */
interface Nature {
  readonly spawns: boolean;
  /** How long it lives by itself, and its code then; `null`: for ever. */
  readonly endsAfterMs: number | null;
  readonly code: number;
  readonly obeys: 'ask' | 'force' | 'kill';
  readonly leaves: boolean;
}
type Request = 'start' | 'stop' | 'force' | 'replace';

class World {
  worker: WorkerRecord;
  nowMono = 0;
  spawns = 0;
  #natures: readonly Nature[];
  #alive: { readonly nature: Nature; readonly diesMono: number } | null = null;
  #due: { readonly mono: number; readonly fact: RunFact }[] = [];

  constructor(policy: RestartPolicy, natures: readonly Nature[]) {
    this.#natures = natures;
    this.worker = fakeWorker({ spec: commandSpec({ restart: { policy } }) });
  }

  request(request: Request): void {
    const { worker } = this;
    const order = { reason: 'stop', by: null, graceMs: null, force: request === 'force' } as const;
    if (request === 'stop' || request === 'force') {
      const idle = isOpen(worker.run) ? {} : { settled: 'stopped' as const, backoff: null };
      this.worker = { ...worker, intent: { want: 'down' }, stopOrder: order, ...idle };
    } else if (request === 'replace' || phaseOf(worker) !== 'running') {
      const intent = { want: 'up', atLeast: worker.generation + 1 } as const;
      this.worker = { ...worker, intent, stopOrder: order, backoff: null, restarts: 0, shortRuns: 0 };
    }
  }

  /** Until the plan rests and nothing is due, or the time is over. */
  go(forMs: number): void {
    const untilMono = this.nowMono + forMs;
    for (let step = 0; ; step += 1) {
      if (step > 20_000) throw new Error(`does not come to rest: ${phaseOf(this.worker)}`);
      const lookMono = this.#act();
      const factMono = Math.min(...this.#due.map(({ mono }) => mono));
      const nextMono = Math.min(lookMono, factMono);
      if (nextMono > untilMono) break;
      this.nowMono = Math.max(this.nowMono, nextMono);
      this.#tellDue();
    }
    this.nowMono = untilMono;
  }

  /** Carries out what the plan says until it waits; when it wants to look again. */
  #act(): number {
    for (let step = 0; step < 100; step += 1) {
      const action = plan(this.worker, this.nowMono, { endLeftovers: false });
      switch (action.kind) {
        case 'rest':
          return Number.POSITIVE_INFINITY;
        case 'look-again':
          return action.atMono;
        case 'spawn':
          this.#spawn(action.automatic);
          break;
        case 'ask':
          this.#stop('asked');
          if (this.worker.stopOrder?.force !== true) this.#hear('ask');
          break;
        case 'force':
          this.#stop('forced');
          this.#hear('force');
          break;
        case 'kill':
          this.#stop('killed');
          this.#hear('kill');
          break;
        case 'name':
          throw new Error('what obeys is not to be named');
        case 'close':
          this.#close();
          break;
        case 'end-leftovers':
          this.worker = { ...this.worker, leftovers: [] };
          break;
        default:
          action satisfies never;
      }
    }
    throw new Error('the plan never waits');
  }

  #spawn(automatic: boolean): void {
    // The invariant itself: generations are never reused, never two alive.
    if (isOpen(this.worker.run) || this.#alive !== null || this.worker.leftovers.length > 0)
      throw new Error('two at once');
    const nature = this.#natures[this.spawns % this.#natures.length];
    if (nature === undefined) throw new Error('no nature');
    this.spawns += 1;
    const { generation, backoff } = this.worker;
    const afterLoss = automatic && backoff?.afterLoss === true;
    const run: Run = runIn('ordered', {
      generation: generation + 1,
      id: `w.${generation + 1}.aa`,
      automatic,
      afterLoss,
    });
    this.worker = { ...this.worker, run, generation: generation + 1, backoff: null, stopOrder: null };
    if (!nature.spawns) {
      const exit = { kind: 'spawn-failed', errno: 'ENOENT', message: 'x' } as const;
      this.#tellAt(this.nowMono + 1, exitedFact(exit, { ranMs: 0 }));
      return;
    }
    const diesMono = this.nowMono + 1 + (nature.endsAfterMs ?? Number.POSITIVE_INFINITY);
    this.#alive = { nature, diesMono };
    this.#tellAt(this.nowMono + 1, { kind: 'spawned', at, pid: 7, startTime: generation });
    this.#tellAt(this.nowMono + 1, { kind: 'running', at, threadId: null });
    if (Number.isFinite(diesMono)) {
      const exit = { kind: 'code', code: nature.code } as const;
      this.#tellAt(diesMono, exitedFact(exit, { ranMs: nature.endsAfterMs ?? 0 }));
    }
  }

  #tellAt(mono: number, fact: RunFact): void {
    this.#due.push({ mono, fact });
  }

  #tellDue(): void {
    const due = this.#due.filter(({ mono }) => mono <= this.nowMono).sort((a, b) => a.mono - b.mono);
    this.#due = this.#due.filter(({ mono }) => mono > this.nowMono);
    for (const { fact } of due) {
      if (fact.kind === 'exited') this.#alive = null;
      const { run } = this.worker;
      if (run === null) throw new Error('a fact of no run');
      const next = fold(run, fact);
      if (next === 'impossible') throw new Error(`impossible: ${run.stage} then ${fact.kind}`);
      this.worker = { ...this.worker, run: next };
    }
  }

  #stop(step: 'asked' | 'forced' | 'killed'): void {
    const { run } = this.worker;
    if (!isLive(run)) throw new Error('a stop of what is not alive');
    const stop = run.stop ?? stopAt('asked', { deadlineMono: this.nowMono + run.graceMs });
    this.worker = { ...this.worker, run: { ...run, stop: { ...stop, step, stepMono: this.nowMono } } };
  }

  #hear(what: Nature['obeys']): void {
    const order = ['ask', 'force', 'kill'];
    if (this.#alive === null || order.indexOf(this.#alive.nature.obeys) > order.indexOf(what)) return;
    this.#due = this.#due.filter(({ fact }) => fact.kind !== 'exited');
    this.#tellAt(this.nowMono + 2, exitedFact({ kind: 'signal', signal: 'SIGTERM' }, { ranMs: 50 }));
  }

  #close(): void {
    const { run } = this.worker;
    if (run === null) throw new Error('nothing to close');
    const closed = fold(run, { kind: 'emptied', at });
    if (closed === 'impossible') throw new Error('cannot be closed');
    const leaves = this.#natures[(this.spawns - 1) % this.#natures.length]?.leaves === true && run.stop === null;
    const leftovers = leaves ? [{ pid: 8, startTime: 1, command: 'sleeper' }] : [];
    const closing = { leftovers, now: at + this.nowMono, nowMono: this.nowMono, chance: 0.5 };
    this.worker = settle({ ...this.worker, run: closed }, closing);
  }
}

const nature: fc.Arbitrary<Nature> = fc.record({
  spawns: fc.boolean(),
  endsAfterMs: fc.option(fc.integer({ min: 0, max: 30_000 }), { nil: null }),
  code: fc.constantFrom(0, 1),
  obeys: fc.constantFrom('ask', 'force', 'kill'),
  leaves: fc.boolean(),
});
const step = fc.record({
  request: fc.constantFrom<Request>('start', 'stop', 'force', 'replace'),
  thenMs: fc.integer({ min: 0, max: 40_000 }),
});
const policy = fc.constantFrom<RestartPolicy>('no', 'on-failure', 'always');
const anHourMs = 3_600_000;

describe('whatever was asked for and whatever its processes do', () => {
  it('stop at last: it is stopped or ended, with nothing open, and nothing starts any more', () => {
    fc.assert(
      fc.property(policy, fc.array(nature, { minLength: 1 }), fc.array(step), (kind, natures, steps) => {
        const world = new World(kind, natures);
        for (const { request, thenMs } of steps) {
          world.request(request);
          world.go(thenMs);
        }
        world.request('stop');
        // Grace, then force, then kill, each with its look: within 10 s + 500 ms + the last breath.
        world.go(10_600);
        expect(isOpen(world.worker.run)).toBe(false);
        expect(['stopped', 'exited', 'failed']).toContain(phaseOf(world.worker));
        const { spawns } = world;
        world.go(anHourMs);
        expect(world.spawns).toBe(spawns);
      }),
      seeded(500),
    );
  });

  it('start at last of what lives: it runs in a new generation, and stays', () => {
    const lives: Nature = { spawns: true, endsAfterMs: null, code: 0, obeys: 'kill', leaves: false };
    fc.assert(
      fc.property(policy, fc.array(step), fc.constantFrom('ask', 'force', 'kill'), (kind, steps, obeys) => {
        const world = new World(kind, [{ ...lives, obeys }]);
        for (const { request, thenMs } of steps) {
          world.request(request);
          world.go(thenMs);
        }
        const { generation } = world.worker;
        world.request('replace');
        world.go(11_000);
        expect(phaseOf(world.worker)).toBe('running');
        expect(world.worker.generation).toBeGreaterThan(generation);
        const { spawns } = world;
        world.go(anHourMs);
        expect(world.spawns).toBe(spawns);
      }),
      seeded(300),
    );
  });

  it('left alone, it comes to rest: running, ended, or in a crash loop that was given up', () => {
    fc.assert(
      fc.property(policy, nature, (kind, only) => {
        const world = new World(kind, [only]);
        world.request('start');
        world.go(anHourMs);
        const endsBadly = only.spawns && only.endsAfterMs !== null && (only.code !== 0 || kind === 'always');
        const restarts = kind !== 'no' && endsBadly && (only.endsAfterMs ?? 0) >= 10_000;
        const phase = phaseOf(world.worker);
        if (!only.spawns) expect(phase).toBe('failed');
        else if (only.endsAfterMs === null) expect(phase).toBe('running');
        else if (restarts) expect(['running', 'starting', 'backoff']).toContain(phase);
        else if (kind !== 'no' && endsBadly) expect(world.worker.reason).toBe('crash-loop');
        else expect(phase).toBe(only.code === 0 ? 'exited' : 'failed');
      }),
      seeded(300),
    );
  });
});
