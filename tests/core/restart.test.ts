/** The restart policy under a virtual clock: delays, crash loop, reset, the 15 outcomes, what counts and what does not. */
import { describe, expect, it } from 'vitest';
import type { Run, WorkerRecord } from '../../src/daemon/core/model.ts';
import { plan } from '../../src/daemon/core/plan.ts';
import { delayAfter } from '../../src/daemon/core/restart.ts';
import { settle } from '../../src/daemon/core/settle.ts';
import { phaseOf } from '../../src/daemon/core/view.ts';
import type { Exit, RestartPolicy } from '../../src/shared/worker.ts';
import { at, commandSpec, fakeWorker, runIn } from '../helpers/fake-worker.ts';

interface Ending {
  readonly exit: Exit;
  readonly ranMs?: number;
  readonly reachedRunning?: boolean;
  readonly cutOff?: boolean;
}
const code = (number: number): Exit => ({ kind: 'code', code: number });
const lost: Exit = { kind: 'lost', reason: 'thread host died' };

/** One worker whose runs end as told, on a clock of its own; a run starts as soon as the plan says so. */
class Story {
  worker: WorkerRecord;
  nowMono = 0;
  readonly chance: number;
  readonly delays: number[] = [];

  constructor(policy: RestartPolicy, chance = 0.5) {
    this.chance = chance;
    const spec = commandSpec({ restart: { policy } });
    this.worker = fakeWorker({ spec, intent: { want: 'up', atLeast: 1 } });
  }

  /** Starts what is due (waiting for it), lets it run, ends it, settles. */
  run(ending: Ending): this {
    const waitedSince = this.nowMono;
    let action = plan(this.worker, this.nowMono, { endLeftovers: false });
    while (action.kind === 'look-again') {
      this.nowMono = action.atMono;
      action = plan(this.worker, this.nowMono, { endLeftovers: false });
    }
    if (action.kind !== 'spawn') throw new Error(`no run is due: ${action.kind}`);
    if (action.automatic) this.delays.push(this.nowMono - waitedSince);
    const { ranMs = 100, reachedRunning = true, cutOff = false, exit } = ending;
    this.nowMono += ranMs;
    const run = this.#closed({ ranMs, reachedRunning, cutOff, exit, automatic: action.automatic });
    this.worker = settle(
      { ...this.worker, generation: run.generation, run, backoff: null, reason: null },
      this.#closing(),
    );
    return this;
  }

  #closed(changes: Partial<Run>): Run {
    const { backoff, generation } = this.worker;
    const afterLoss = changes.automatic === true && backoff?.afterLoss === true;
    return runIn('closed', { ...changes, generation: generation + 1, afterLoss });
  }

  #closing() {
    return { leftovers: [], now: at + this.nowMono, nowMono: this.nowMono, chance: this.chance };
  }

  get phase() {
    return phaseOf(this.worker);
  }
}

const repeat = (story: Story, ending: Ending, most = 100): Story => {
  for (let run = 0; run < most && story.worker.intent.want === 'up'; run += 1) story.run(ending);
  return story;
};

describe('W13: a worker that exits 1 at once with --restart always', () => {
  it('is restarted after 0, 1, 2, 4, 8, 16, 32, 60, 60 s; the tenth short run in a row is the last', () => {
    const story = repeat(new Story('always'), { exit: code(1) });
    expect(story.delays).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    expect(story.worker.generation).toBe(10);
    expect(story.phase).toBe('failed');
    expect(story.worker).toMatchObject({ reason: 'crash-loop', intent: { want: 'down' }, backoff: null });
  });

  it.each([
    { chance: 0, share: 0.9 },
    { chance: 0.999_999, share: 1.1 },
  ])('every delay is within ± 10 % (chance $chance)', ({ chance, share }) => {
    const story = repeat(new Story('always', chance), { exit: code(1) });
    const nominal = [0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
    expect(story.delays).toHaveLength(nominal.length);
    story.delays.forEach((delay, index) => {
      expect(Math.abs(delay - (nominal[index] ?? 0) * share)).toBeLessThanOrEqual(1);
    });
  });

  it('counts short runs however they ended: code 0 under always too', () => {
    expect(repeat(new Story('always'), { exit: code(0) }).worker).toMatchObject({
      generation: 10,
      reason: 'crash-loop',
    });
  });

  it('a run that ended within 10 s is short, one of 10 s is not', () => {
    expect(repeat(new Story('always'), { exit: code(1), ranMs: 9999 }).worker.reason).toBe('crash-loop');
    const stable = repeat(new Story('always'), { exit: code(1), ranMs: 10_000 }, 50);
    expect(stable.phase).toBe('backoff');
    expect(new Set(stable.delays)).toEqual(new Set([0]));
  });

  it('a run of 10 s puts the delays back to 0 and the count of nine restarts back to nine', () => {
    const story = new Story('on-failure');
    for (let run = 0; run < 5; run += 1) story.run({ exit: code(1) });
    story.run({ exit: code(1), ranMs: 10_000 });
    repeat(story, { exit: code(1) });
    // Four restarts, the long run, then one restart after it and nine more after short ones.
    expect(story.delays).toEqual([
      0, 1000, 2000, 4000, 8000, 0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000,
    ]);
    expect(story.worker.reason).toBe('crash-loop');
  });

  it('the delay never grows beyond 60 s ± 10 %', () => {
    for (let shortRuns = 0; shortRuns < 2000; shortRuns += 1) {
      expect(delayAfter(shortRuns, 0.999)).toBeLessThanOrEqual(66_000);
    }
  });
});

describe('W23: policy × ending', () => {
  const endings = {
    'exit 0': { exit: code(0) },
    'exit 1': { exit: code(1) },
    'a signal': { exit: { kind: 'signal', signal: 'SIGSEGV' } },
    'start failed': { exit: { kind: 'spawn-failed', errno: 'ENOENT', message: 'x' }, reachedRunning: false, ranMs: 0 },
    'stopped by user': { exit: { kind: 'signal', signal: 'SIGTERM' } },
  } as const satisfies Record<string, Ending>;
  type Name = keyof typeof endings;
  const outcomes: { readonly [P in RestartPolicy]: { readonly [N in Name]: readonly [string, string | null] } } = {
    always: {
      'exit 0': ['backoff', null],
      'exit 1': ['backoff', null],
      'a signal': ['backoff', null],
      'start failed': ['failed', 'start-failed'],
      'stopped by user': ['stopped', null],
    },
    'on-failure': {
      'exit 0': ['exited', null],
      'exit 1': ['backoff', null],
      'a signal': ['backoff', null],
      'start failed': ['failed', 'start-failed'],
      'stopped by user': ['stopped', null],
    },
    no: {
      'exit 0': ['exited', null],
      'exit 1': ['failed', null],
      'a signal': ['failed', null],
      'start failed': ['failed', 'start-failed'],
      'stopped by user': ['stopped', null],
    },
  };
  const rows = (Object.keys(outcomes) as RestartPolicy[]).flatMap((policy) =>
    (Object.keys(endings) as Name[]).map((name) => {
      const [phase, reason] = outcomes[policy][name];
      return { policy, name, phase, reason };
    }),
  );

  it.each(rows)('$policy, $name: $phase', ({ policy, name, phase, reason }) => {
    const story = new Story(policy);
    if (name === 'stopped by user') {
      const run = runIn('closed', { exit: endings[name].exit });
      const worker = { ...story.worker, generation: 1, run, intent: { want: 'down' } as const };
      story.worker = settle(worker, { leftovers: [], now: at, nowMono: 0, chance: 0.5 });
    } else story.run(endings[name]);
    expect(story.phase).toBe(phase);
    expect(story.worker.reason).toBe(reason);
    expect(story.worker.intent.want).toBe(phase === 'backoff' ? 'up' : 'down');
  });

  it('is 15 outcomes', () => expect(rows).toHaveLength(15));
});

describe('modules end as commands do', () => {
  it.each([
    { exit: { kind: 'returned' } as const, phase: 'exited' },
    { exit: { kind: 'error', name: 'Error', message: 'x', stack: null } as const, phase: 'failed' },
    { exit: { kind: 'terminated' } as const, phase: 'failed' },
  ])('policy no, $exit.kind: $phase', ({ exit, phase }) => {
    expect(new Story('no').run({ exit }).phase).toBe(phase);
  });
});

describe('a start that never reached running', () => {
  it.each(['no', 'on-failure', 'always'] as const)('by a verb: failed, start-failed, policy %s', (policy) => {
    const story = new Story(policy).run({ exit: code(0), reachedRunning: false });
    expect(story.phase).toBe('failed');
    expect(story.worker.reason).toBe('start-failed');
  });

  it('by the policy: counts as a bad end and is tried again, until it is a crash loop', () => {
    const story = new Story('on-failure').run({ exit: code(1) });
    const failed: Ending = {
      exit: { kind: 'spawn-failed', errno: 'ENOENT', message: 'x' },
      reachedRunning: false,
      ranMs: 0,
    };
    story.run(failed);
    expect(story.phase).toBe('backoff');
    repeat(story, failed);
    expect(story.worker).toMatchObject({ generation: 10, reason: 'crash-loop' });
  });
});

describe('a run lost through no fault of its own', () => {
  it.each(['on-failure', 'always'] as const)('starts again at once and uncounted, policy %s', (policy) => {
    const story = new Story(policy).run({ exit: lost });
    expect(story.phase).toBe('backoff');
    expect(story.worker).toMatchObject({
      shortRuns: 0,
      backoff: { untilMono: story.nowMono, afterLoss: true, counted: false },
    });
  });

  it('is failed with its reason where the policy is no', () => {
    const worker = new Story('no').run({ exit: lost }).worker;
    expect(phaseOf(worker)).toBe('failed');
    expect(worker.run?.exit).toEqual(lost);
  });

  it('neither counts nor puts the count of others back', () => {
    const story = new Story('always');
    for (let run = 0; run < 3; run += 1) story.run({ exit: code(1) });
    story.run({ exit: lost, ranMs: 20_000 });
    expect(story.worker.shortRuns).toBe(3);
    story.run({ exit: code(1) });
    expect(story.delays).toEqual([0, 1000, 2000, 0]);
    expect(story.worker.shortRuns).toBe(4);
  });

  it('a thread host that dies again within 10 s counts as a bad end of each of its threads', () => {
    const story = new Story('on-failure').run({ exit: lost }).run({ exit: lost, ranMs: 9999 });
    expect(story.worker).toMatchObject({ shortRuns: 1, backoff: { afterLoss: true, counted: true } });
  });

  it('a host that dies again after 10 s and more is again nobody’s fault', () => {
    const story = new Story('on-failure').run({ exit: lost }).run({ exit: lost, ranMs: 10_000 });
    expect(story.worker).toMatchObject({ shortRuns: 0, backoff: { afterLoss: true } });
  });

  it('W04: a host that dies again and again at once is a crash loop after the first, uncounted death', () => {
    const story = repeat(new Story('on-failure'), { exit: lost }, 40);
    expect(story.worker).toMatchObject({ reason: 'crash-loop', generation: 11 });
  });

  it('is started again also where it was cut off by the shim’s own end, however it ended', () => {
    const story = new Story('on-failure').run({ exit: code(0), cutOff: true });
    expect(story.worker).toMatchObject({ shortRuns: 0, backoff: { afterLoss: true } });
    expect(new Story('no').run({ exit: code(0), cutOff: true }).phase).toBe('exited');
  });
});

describe('a newer run that somebody asked for meanwhile', () => {
  it('is left to the plan: no policy, no delay, no count', () => {
    const run = runIn('closed', { exit: code(1) });
    const worker = fakeWorker({ run, intent: { want: 'up', atLeast: 2 }, spec: commandSpec(), shortRuns: 0 });
    const settled = settle(worker, { leftovers: [], now: at, nowMono: 0, chance: 0 });
    expect(settled).toMatchObject({ intent: { want: 'up', atLeast: 2 }, backoff: null, shortRuns: 0 });
    expect(plan(settled, 0, { endLeftovers: false })).toEqual({ kind: 'spawn', automatic: false });
  });

  it('leftovers of the run that was closed are written down in every case', () => {
    const leftovers = [{ pid: 5, startTime: 1, command: 'sleeper' }];
    for (const intent of [{ want: 'down' }, { want: 'up', atLeast: 1 }, { want: 'up', atLeast: 2 }] as const) {
      const worker = fakeWorker({ run: runIn('closed'), intent });
      expect(settle(worker, { leftovers, now: at, nowMono: 0, chance: 0 }).leftovers).toEqual(leftovers);
    }
  });
});
