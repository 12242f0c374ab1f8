/** R05: a verb that meets a worker in backoff, starting, stopping or running, again and again: the documented result. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, WorkerdError } from '../../src/shared/client.ts';
import type { SpecInput } from '../../src/shared/protocol.ts';
import type { Phase, WorkerView } from '../../src/shared/worker.ts';
import { part, shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { rounds, roundsTimeoutMs } from '../helpers/rounds.ts';
import { Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const view = async (name: string): Promise<WorkerView | undefined> =>
  (await client.call('status', { names: [name] })).workers[0];
const untilPhase = (name: string, phase: Phase) =>
  eventually(async () => (await view(name))?.phase === phase, { what: `${name} is ${phase}` });
const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'done',
    (error: unknown) => (error instanceof WorkerdError ? error.code : String(error)),
  );

/** Takes a while to end after its SIGTERM: there is a `stopping` to be met. */
const slowToEnd = shell('trap "sleep 0.03; exit 0" TERM; while :; do sleep 0.01; done');
const failing: SpecInput = { ...shell('exit 1'), restart: { policy: 'always' } };
const neverReady = part('command', 'tells', { ready: true });

const pairs: readonly (readonly [string, (name: string) => Promise<void>])[] = [
  [
    'stop in backoff',
    async (name) => {
      await client.call('start', { name, spec: failing });
      // Its first restart is at once, the second after a second.
      await eventually(
        async () => ((await view(name))?.generation ?? 0) >= 2 && (await view(name))?.phase === 'backoff',
      );
      const { outcome, worker } = await client.call('stop', { name });
      expect([outcome, worker.phase, worker.nextStartAt]).toEqual(['stopped', 'stopped', null]);
      expect(worker.exit).toEqual({ kind: 'code', code: 1 });
    },
  ],
  [
    'stop in starting',
    async (name) => {
      const held = codeOf(client.call('start', { name, spec: neverReady }));
      await eventually(async () => (await view(name)) !== undefined);
      const { outcome, worker } = await client.call('stop', { name });
      expect([outcome, worker.phase, worker.generation]).toEqual(['stopped', 'stopped', 1]);
      expect(await held).toBe('worker.start-failed');
    },
  ],
  [
    'restart in stopping',
    async (name) => {
      await client.call('start', { name, spec: slowToEnd });
      const stopping = client.call('stop', { name });
      await untilPhase(name, 'stopping');
      const { outcome, worker } = await client.call('restart', { name });
      expect([outcome, worker.phase, worker.generation]).toEqual(['restarted', 'running', 2]);
      expect((await stopping).outcome).toBe('stopped');
    },
  ],
  [
    'start in stopping',
    async (name) => {
      await client.call('start', { name, spec: slowToEnd });
      const stopping = client.call('stop', { name });
      await untilPhase(name, 'stopping');
      const { outcome, worker } = await client.call('start', { name });
      expect([outcome, worker.phase, worker.generation]).toEqual(['started', 'running', 2]);
      expect((await stopping).outcome).toBe('stopped');
    },
  ],
  [
    'rm of running',
    async (name) => {
      const { worker } = await client.call('start', { name, spec: slowToEnd });
      expect(await codeOf(client.call('remove', { name }))).toBe('worker.busy');
      expect(await view(name)).toMatchObject({ phase: 'running', pid: worker.pid, generation: 1 });
    },
  ],
];

test.each(pairs)(
  'R05: %s',
  async (what, meet) => {
    const all = Array.from({ length: rounds(5, 100) }, (_, index) => `${what.replaceAll(' ', '-')}-${index}`);
    // A few at a time: what each of them does is met by what the others do.
    const width = 5;
    for (let from = 0; from < all.length; from += width) {
      await Promise.all(
        all.slice(from, from + width).map(async (name) => {
          await meet(name);
          await client.call('remove', { name, force: true });
        }),
      );
    }
    expect((await client.call('status', {})).workers).toEqual([]);
  },
  roundsTimeoutMs,
);
