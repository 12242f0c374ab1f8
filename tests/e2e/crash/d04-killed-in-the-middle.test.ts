/**
 * D04: the daemon is killed at every step of a start, a stop, a restart and an rm. The worker exists once or not at all,
 * registry and process table agree, what was promised is carried out by the next daemon, and asking again starts no
 * second.
 */
import { describe, expect, test } from 'vitest';
import { type Client, connect } from '../../../src/shared/client.ts';
import type { FailpointName } from '../../../src/shared/failpoints.ts';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { CrashBox, type Daemon } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { rounds } from '../../helpers/rounds.ts';

const tries = rounds(80, 200);
/** Five times the row's 2 s. */
const withinMs = 10_000;

type Verb = 'start' | 'stop' | 'restart' | 'remove';
interface Case {
  readonly verb: Verb;
  readonly at: FailpointName;
  readonly terms: string;
}

const startPoints: readonly FailpointName[] = [
  'store.commit',
  'store.commit.after',
  'orders.spawn.before',
  'orders.spawn.asked',
  'orders.spawn.answered',
  'facts.received',
  'facts.folded',
  'facts.committed',
  'facts.acknowledged',
];
const stopPoints: readonly FailpointName[] = [
  'store.commit',
  'store.commit.after',
  'stop.asked.before',
  'stop.asked',
  'facts.received',
  'facts.folded',
  'facts.committed',
  'facts.acknowledged',
  'stop.closed',
  'release.before',
];
const points: Readonly<Record<Verb, readonly FailpointName[]>> = {
  start: startPoints,
  stop: stopPoints,
  restart: [...new Set([...stopPoints, ...startPoints])],
  remove: [...stopPoints, 'remove.committed'],
};
const verbs: readonly Verb[] = ['start', 'stop', 'restart', 'remove'];
/** The commits of a verb are several: at the first, the second, the third. */
const turnsOf = (at: FailpointName): readonly string[] =>
  at.startsWith('store.') ? ['1*kill', '1*off->1*kill', '2*off->1*kill'] : ['1*kill'];
const cases: readonly Case[] = verbs.flatMap((verb) =>
  points[verb].flatMap((at) => turnsOf(at).map((terms) => ({ verb, at, terms }))),
);

const spec = { kind: 'command' as const, command: ['sleep', '1000'], graceMs: 2000 };

/** One home, and one daemon after the other in it. */
class Lane {
  readonly box = new CrashBox();
  #daemon: Daemon | null = null;
  #number = 0;

  async #ask<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const client = await connect({ home: this.box.home, client: 'test', reconnectMs: 0 });
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }

  async #find(name: string): Promise<WorkerView | null> {
    const { workers } = await this.#ask((client) => client.call('status', {}));
    return workers.find((worker) => worker.name === name) ?? null;
  }

  /** What lives is what the registry says, and it is where it was to be. */
  async #agreed(name: string, what: string, phase: string | null): Promise<void> {
    await eventually(
      async () => {
        const worker = await this.#find(name);
        const living = this.box.livingRuns(name);
        const agree = JSON.stringify(living) === JSON.stringify(worker?.pid == null ? [] : [worker.pid]);
        if (agree && (worker?.phase ?? null) === phase) return true;
        throw new Error(`${worker?.phase} ${worker?.generation} pid ${worker?.pid}, living ${living}, wanted ${phase}`);
      },
      { withinMs, what },
    );
  }

  async try({ verb, at, terms }: Case): Promise<void> {
    const { box } = this;
    this.#number += 1;
    const name = `w${this.#number}`;
    const what = `${verb} cut at ${at} (${terms}), try ${this.#number}`;
    this.#daemon ??= await box.daemon();
    if (verb !== 'start') {
      await this.#ask((client) => client.call('start', { name, spec }));
      // Nothing of this is still to be told to the next daemon.
      await this.#agreed(name, what, 'running');
    }
    await this.#daemon.kill();
    const daemon = await box.daemon(`${at}=${terms}`);
    const params = { start: { name, spec }, stop: { name }, restart: { name }, remove: { name, force: true } }[verb];
    const answered = await this.#ask((client) => client.call(verb, params as never)).then(
      () => true,
      () => false,
    );
    // Not every verb comes by there so often, or before it is answered: then the daemon is killed here.
    if (answered) await daemon.kill();
    expect(await daemon.ended, what).toBe('SIGKILL');
    this.#daemon = await box.daemon();
    // Before its first commit it was not taken; after that, it is carried out, whoever asked has to be told or not.
    const taken = !(!answered && at === 'store.commit' && terms === '1*kill');
    const before = verb === 'start' ? null : 'running';
    const after = { start: 'running', stop: 'stopped', restart: 'running', remove: null }[verb];
    // Of rm it is the stop that is written down first: what was cut off there is for whoever asks again.
    const cutInItsStop = verb === 'remove' && !answered && (await this.#find(name)) !== null;
    await this.#agreed(name, what, cutInItsStop && taken ? 'stopped' : taken ? after : before);
    const { worker } = await this.#ask((client) => client.call('start', { name, spec }));
    expect(worker.phase, what).toBe('running');
    await this.#agreed(name, `${what}, and started`, 'running');
    await this.#ask((client) => client.call('remove', { name, force: true }));
    await this.#agreed(name, `${what}, and removed`, null);
  }
}

describe('D04: killed in the middle of a', () => {
  test.concurrent.each(verbs)('%s', async (verb) => {
    const own = cases.filter((each) => each.verb === verb);
    const lane = new Lane();
    await using _box = lane.box;
    // Every case once, and then from the beginning until there have been enough.
    const count = Math.max(tries / verbs.length, own.length);
    for (let number = 0; number < count; number += 1) await lane.try(own[number % own.length] as Case);
  }, 600_000);
});
