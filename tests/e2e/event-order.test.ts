/**
 * R08, R05: verbs at random, by many at once, on few workers: whatever meets whatever, each is answered with a documented
 * error or none, and the events of each worker tell a life that may be. WORKERD_TEST_SEED names the lot.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, WorkerdError } from '../../src/shared/client.ts';
import type { ParamsInput, SpecInput, WorkerEvent } from '../../src/shared/protocol.ts';
import type { Phase } from '../../src/shared/worker.ts';
import { shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const names = ['a', 'b', 'c'];
const specs: readonly SpecInput[] = [
  shell('exit 0'),
  shell('exit 3'),
  shell('sleep 1000'),
  { ...shell('echo out; sleep 0.05; exit 1'), restart: { policy: 'on-failure' } },
  { ...shell('trap "" TERM; while :; do sleep 0.02; done'), graceMs: 50 },
  { kind: 'command', command: ['/nonexistent'] },
  {
    ...shell(`echo '{"ready":true}' >&3; echo '{"state":{"a":1}}' >&3; echo out; sleep 0.1`),
    ready: { by: 'worker' },
  },
];
/** What may be said after what; a worker may be told of again in the phase that it is in. */
const next: Readonly<Record<Phase | 'unknown', readonly Phase[]>> = {
  unknown: ['starting', 'stopped'],
  starting: ['starting', 'running', 'stopping', 'stopped', 'exited', 'failed', 'backoff'],
  running: ['running', 'stopping', 'stopped', 'exited', 'failed', 'backoff'],
  stopping: ['stopping', 'stopped', 'exited', 'failed'],
  stopped: ['stopped', 'starting'],
  exited: ['exited', 'starting', 'stopped'],
  failed: ['failed', 'starting', 'stopped'],
  backoff: ['backoff', 'starting', 'stopped', 'exited', 'failed'],
};

const faultsOf = (events: readonly WorkerEvent[]): readonly string[] => {
  let phase: Phase | 'unknown' = 'unknown';
  let [generation, over] = [0, 0];
  return events.flatMap((event, index) => {
    const fault = (what: string) => {
      const told = events.slice(Math.max(0, index - 5), index + 1);
      return `${what}: ${told.map((each) => `${each.type === 'phase' ? each.worker.phase : each.type}#${each.generation}`).join(' ')}`;
    };
    if (event.type === 'removed') {
      [phase, generation, over] = ['unknown', 0, 0];
      return [];
    }
    if (event.type !== 'phase') {
      if (event.generation <= over) return [fault('after its end')];
      return event.type === 'log' && phase === 'starting' ? [fault('before it ran')] : [];
    }
    const from = phase;
    const back = event.generation < generation;
    ({ phase } = event.worker);
    ({ generation } = event);
    if (['stopped', 'exited', 'failed', 'backoff'].includes(phase)) over = generation;
    if (back) return [fault('an older generation')];
    return next[from].includes(phase) ? [] : [fault(`${from}, then ${phase}`)];
  });
};

test('verbs at random', { timeout: 60_000 }, async () => {
  let state = Number(process.env['WORKERD_TEST_SEED'] ?? Date.now() % 100_000);
  console.log(`event-order: WORKERD_TEST_SEED=${state}`);
  const one = <T>(values: readonly T[]): T => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return values[Math.floor((state / 0x80000000) * values.length)] as T;
  };
  const seen: WorkerEvent[] = [];
  void (async () => {
    for await (const event of client.watch({ types: ['phase', 'state', 'ready', 'removed', 'log'] })) seen.push(event);
  })();
  await client.call('daemon.info', {});
  const start = (name: string): ParamsInput<'start'> => ({
    name,
    ...one([{}, { spec: one(specs) }, { spec: one(specs) }]),
    ifRunning: one(['keep', 'fail', 'replace'] as const),
    wait: one(['none', 'running', 'ready'] as const),
    timeoutMs: one([0, 50, 1000]),
  });
  const verbs: readonly ((name: string) => Promise<unknown>)[] = [
    (name) => client.call('start', start(name)),
    (name) => client.call('start', start(name)),
    (name) => client.call('start', start(name)),
    (name) => client.call('stop', { name, graceMs: one([0, 50]), force: one([true, false]), wait: one([true, false]) }),
    (name) => client.call('stop', { name }),
    (name) => client.call('restart', { name, wait: one([true, false]) }),
    (name) => client.call('remove', { name, force: one([true, false]) }),
    (name) => client.call('wait', { name, for: one(['exit', 'running', 'ready', 'stopped'] as const), timeoutMs: 50 }),
    (name) => client.call('define', { name, spec: one(specs) }),
    (name) => client.call('enable', { name }),
    (name) => client.call('signal', { name, signal: one(['CONT', 'TERM', 'KILL']) }),
    (name) => client.call('publish', { name, state: { b: 1 } }),
  ];
  const until = Date.now() + 3000;
  const ask = async (): Promise<void> => {
    while (Date.now() < until) {
      await one(verbs)(one(names)).catch((error: unknown) => {
        if (error instanceof WorkerdError && /^(?:worker|wait)\./.test(error.code)) return;
        throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: 6 }, ask));
  for (const { name } of (await client.call('status', {})).workers) await client.call('remove', { name, force: true });
  const removed = (name: string) => seen.findLast((event) => event.name === name)?.type === 'removed';
  await eventually(() => names.every((name) => !seen.some((event) => event.name === name) || removed(name)));
  expect(seen.length).toBeGreaterThan(0);
  for (const name of names) expect(faultsOf(seen.filter((event) => event.name === name))).toEqual([]);
});
