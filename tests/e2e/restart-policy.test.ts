/** Restart policy: the fifteen outcomes, backoff, the bucket, and what the daemon starts by itself. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, WorkerdError, type WorkerEvent } from '../../src/shared/client.ts';
import type { SpecInput } from '../../src/shared/protocol.ts';
import type { Exit, Phase, RestartPolicy, WorkerView } from '../../src/shared/worker.ts';
import { command, module, part, shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const view = async (client: Client, name: string): Promise<WorkerView> => {
  const [worker] = (await client.call('status', { names: [name] })).workers;
  if (worker === undefined) throw new Error(`no worker ${name}`);
  return worker;
};
const withPolicy = (spec: SpecInput, policy: RestartPolicy): SpecInput => ({ ...spec, restart: { policy } });

/** Every phase event of some workers, from now on. */
const phasesOf = async (box: Sandbox, names: readonly string[]) => {
  const watcher = await box.client();
  const events: { readonly name: string; readonly atMs: number; readonly worker: WorkerView }[] = [];
  let begun = false;
  (async () => {
    for await (const event of watcher.watch({ names }) as AsyncIterable<WorkerEvent>) {
      begun = true;
      if (event.type === 'phase') events.push({ name: event.name, atMs: Date.parse(event.at), worker: event.worker });
    }
  })().catch(() => {});
  await eventually(() => begun, { what: 'the snapshot' });
  return events;
};

describe('W23: policy × how it ended', () => {
  let box: Sandbox;
  let client: Client;
  beforeAll(async () => {
    box = new Sandbox();
    await box.startDaemon();
    client = await box.client();
  });
  afterAll(() => box[Symbol.asyncDispose]());

  const policies: readonly RestartPolicy[] = ['no', 'on-failure', 'always'];
  const byItself: readonly (readonly [string, SpecInput, Exit, Record<RestartPolicy, Phase | 'again'>])[] = [
    ['exit-0', shell('exit 0'), { kind: 'code', code: 0 }, { no: 'exited', 'on-failure': 'exited', always: 'again' }],
    ['exit-1', shell('exit 1'), { kind: 'code', code: 1 }, { no: 'failed', 'on-failure': 'again', always: 'again' }],
    [
      'signal',
      shell('kill -KILL $$'),
      { kind: 'signal', signal: 'SIGKILL' },
      { no: 'failed', 'on-failure': 'again', always: 'again' },
    ],
  ];
  for (const [how, spec, exit, outcomes] of byItself) {
    for (const policy of policies) {
      const outcome = outcomes[policy];
      test(`${policy}, ${how}: ${outcome === 'again' ? 'starts again' : outcome}`, async () => {
        const name = `${policy}-${how}`;
        await client.call('start', { name, spec: withPolicy(spec, policy) });
        if (outcome === 'again') {
          const again = await eventually(async () => {
            const now = await view(client, name);
            return now.phase === 'backoff' && now;
          });
          expect(again).toMatchObject({ restarts: again.generation - 1, exit });
          expect(again.generation).toBeGreaterThanOrEqual(2);
          await client.call('stop', { name });
          return;
        }
        const { worker } = await client.call('wait', { name, for: 'exit' });
        expect(worker).toMatchObject({ phase: outcome, exit, restarts: 0, generation: 1, nextStartAt: null });
      });
    }
  }

  test.each(policies)('%s, start failed: failed, not tried again', async (policy) => {
    const name = `${policy}-start-failed`;
    const failing = client.call('start', { name, spec: withPolicy(command('/no/such/program'), policy) });
    const error: unknown = await failing.catch((reason: unknown) => reason);
    expect(error instanceof WorkerdError && error.code).toBe('worker.start-failed');
    const { worker } = await client.call('wait', { name, for: 'exit' });
    expect(worker).toMatchObject({ phase: 'failed', restarts: 0, generation: 1, nextStartAt: null });
    expect(worker.exit?.kind).toBe('spawn-failed');
    const loading = withPolicy(module('process', 'fails-to-load.mjs'), policy);
    await client.call('start', { name: `${name}-module`, spec: loading }).catch(() => {});
    const { worker: failed } = await client.call('wait', { name: `${name}-module`, for: 'exit' });
    expect(failed).toMatchObject({ phase: 'failed', restarts: 0, generation: 1 });
  });

  test.each(policies)('%s, stopped by a user: stopped, not started again', async (policy) => {
    const endsBadly = shell('trap "exit 3" TERM; sleep 600 & wait');
    for (const [index, spec] of [part('command', 'counts'), part('process', 'counts'), endsBadly].entries()) {
      const name = `${policy}-stopped-${index}`;
      await client.call('start', { name, spec: withPolicy(spec, policy) });
      const { worker } = await client.call('stop', { name });
      expect(worker).toMatchObject({ phase: 'stopped', restarts: 0, generation: 1, nextStartAt: null });
      expect((await client.call('wait', { name, for: 'exit' })).worker.phase).toBe('stopped');
    }
  });
});

describe('W13: a worker that ends at once', () => {
  test('is restarted at once, then after 1 s, then after 2 s (± 10 %), and says when it will be', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('define', { name: 'crasher', spec: withPolicy(shell('exit 1'), 'always') });
    const phases = await phasesOf(box, ['crasher']);
    await client.call('start', { name: 'crasher' });
    await eventually(() => phases.some(({ worker }) => worker.restarts === 3), { withinMs: 20_000 });
    const waits = await eventually(() => {
      const found = phases.filter(({ worker }) => worker.phase === 'backoff').map(({ worker }) => worker);
      return found.length >= 4 && found;
    });
    const delays = waits.map(({ nextStartAt, endedAt }) => Date.parse(nextStartAt ?? '') - Date.parse(endedAt ?? ''));
    // The wish is set when the end was proven, a moment after it: so never too early, and late by that moment only.
    for (const [index, seconds] of [0, 1, 2, 4].entries()) {
      expect(delays[index]).toBeGreaterThanOrEqual(seconds * 900);
      expect(delays[index]).toBeLessThanOrEqual(seconds * 1100 + 500);
    }
    expect(waits.map(({ restarts, generation }) => [restarts, generation])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
    ]);
    for (const worker of waits) expect(worker).toMatchObject({ exit: { kind: 'code', code: 1 }, pid: null });
    // No run began before the time that was told.
    for (const { nextStartAt, generation } of waits.slice(0, 3)) {
      const next = phases.find(({ worker }) => worker.generation === generation + 1 && worker.startedAt !== null);
      expect(Date.parse(next?.worker.startedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(nextStartAt ?? '') - 1);
    }
    const shown = await box.workerctl(['status', 'crasher']);
    expect(shown.stdout).toMatch(/3 automatic restarts/);
    await client.call('stop', { name: 'crasher' });
  });
});

describe('W14: forty workers killed at the same instant', () => {
  test('are all up again, with at most 30 starts in any second', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const names = Array.from({ length: 40 }, (_, index) => `many-${index}`);
    const spec = withPolicy(command('sleep', '600'), 'always');
    await Promise.all(names.map((name) => client.call('start', { name, spec })));
    const { workers } = await client.call('status', { names: ['many-*'] });
    const phases = await phasesOf(box, ['many-*']);
    for (const { pid } of workers) process.kill(pid ?? 0, 'SIGKILL');
    await eventually(
      async () => {
        const now = (await client.call('status', { names: ['many-*'] })).workers;
        return now.every(({ phase, generation }) => phase === 'running' && generation === 2);
      },
      { withinMs: 30_000, what: 'all are up again' },
    );
    const starts = phases
      .filter(({ worker }) => worker.phase === 'running' && worker.generation === 2)
      .map(({ worker }) => Date.parse(worker.startedAt ?? ''))
      .sort((a, b) => a - b);
    expect(starts.length).toBe(40);
    for (const [index, start] of starts.entries()) {
      const within = starts.slice(index).filter((each) => each < start + 1000).length;
      expect(within).toBeLessThanOrEqual(30);
    }
    for (const { restarts } of (await client.call('status', { names: ['many-*'] })).workers) expect(restarts).toBe(1);
    await Promise.all(names.map((name) => client.call('stop', { name })));
  });
});

describe('--enable', () => {
  test('starts it with the daemon after an orderly end, and not after a crash once it was stopped', async () => {
    await using box = new Sandbox();
    const first = await box.startDaemon();
    await box.workerctl(['start', '-n', 'enabled', '--enable', '--', 'sleep', '600']);
    await box.workerctl(['start', '-n', 'other', '--', 'sleep', '600']);
    await box.workerctl(['start', '-n', 'disabled', '--enable', '--', 'sleep', '600']);
    expect((await box.workerctl(['disable', 'disabled'])).code).toBe(0);
    await box.workerctl(['stop', 'enabled']);
    expect(await box.status('enabled')).toMatchObject({ enabled: true, phase: 'stopped' });

    process.kill(first, 'SIGKILL');
    const second = await box.startDaemon();
    expect(second).not.toBe(first);
    expect(await box.status('enabled')).toMatchObject({ enabled: true, phase: 'stopped', generation: 1 });
    expect(await box.status('other')).toMatchObject({ phase: 'running', generation: 1 });

    expect((await box.workerd(['stop'])).code).toBe(0);
    await box.startDaemon();
    const again = await eventually(async () => {
      const now = await box.status('enabled');
      return now.phase === 'running' && now;
    });
    expect(again).toMatchObject({ enabled: true, generation: 2, restarts: 0 });
    expect(await box.status('other')).toMatchObject({ enabled: false, phase: 'stopped', generation: 1 });
    expect(await box.status('disabled')).toMatchObject({ enabled: false, phase: 'stopped', generation: 1 });
  });
});
