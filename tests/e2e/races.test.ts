/** Verbs of many clients at one worker at once: one registry, one run, and nobody waits for ever. */
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../../src/shared/client.ts';
import { eventually } from '../helpers/eventually.ts';
import { rounds, roundsTimeoutMs } from '../helpers/rounds.ts';
import { Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
let daemon: number;
beforeAll(async () => {
  box = new Sandbox();
  daemon = await box.startDaemon();
  client = await box.client();
});
afterAll(async () => {
  await box[Symbol.asyncDispose]();
});

const sleeper = { kind: 'command' as const, command: ['sleep', '1000'] };
const livingRuns = (name: string): readonly number[] =>
  box.processes().flatMap(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`WORKERD_NAME=${name}\0`) ? [pid] : [];
    } catch {
      return [];
    }
  });

test('R02: of 100 starts of one name one has started it, 99 found it running, and there is one process', async () => {
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => client.call('start', { name: 'one', spec: sleeper })),
  );
  expect(answers.filter(({ outcome }) => outcome === 'started')).toHaveLength(1);
  expect(answers.filter(({ outcome }) => outcome === 'already-running')).toHaveLength(99);
  expect(livingRuns('one')).toHaveLength(1);
});

test('a start beside rm --force: what lives afterwards is what the registry knows', async () => {
  for (let round = 0; round < 25; round += 1) {
    await client.call('start', { name: 'contested', spec: sleeper });
    await Promise.allSettled([
      client.call('remove', { name: 'contested', force: true }),
      client.call('start', { name: 'contested', spec: sleeper }),
      client.call('restart', { name: 'contested' }),
    ]);
    const { workers } = await client.call('status', {});
    const known = workers.filter(({ name }) => name === 'contested').map(({ pid }) => pid);
    await eventually(() => JSON.stringify(livingRuns('contested')) === JSON.stringify(known.filter(Boolean)), {
      what: `round ${round}: the processes are those of the registry`,
    });
  }
});

test(
  'R09: a worker that is killed as soon as it runs has that recorded, each time',
  async () => {
    // Many at once, since each of them is to be met by what the others bring about.
    for (let round = 0; round < rounds(1, 10); round += 1) {
      const names = Array.from({ length: 50 }, (_, index) => `brief-${round}-${index}`);
      const exits = await Promise.all(
        names.map(async (name) => {
          const { worker } = await client.call('start', { name, spec: sleeper });
          process.kill(worker.pid ?? 0, 'SIGKILL');
          return (await client.call('wait', { name, for: 'exit' })).worker.exit;
        }),
      );
      for (const exit of exits) expect(exit).toEqual({ kind: 'signal', signal: 'SIGKILL' });
      await Promise.all(names.map((name) => client.call('remove', { name })));
    }
  },
  roundsTimeoutMs,
);

test(
  'R04: a stop that meets the natural end answers, and one of the two is recorded',
  async () => {
    const count = rounds(60, 1000);
    const seen = { stopped: 0, ended: 0 };
    for (let index = 0; index < count; index += 1) {
      const name = `ending-${index}`;
      await client.call('start', { name, spec: { kind: 'command', command: ['sh', '-c', 'sleep 0.005; exit 3'] } });
      // From too early to too late, so that some of the stops meet the very moment.
      await sleep(index % 20);
      const { worker } = await client.call('stop', { name });
      expect(['stopped', 'failed']).toContain(worker.phase);
      expect([
        { kind: 'code', code: 3 },
        { kind: 'signal', signal: 'SIGTERM' },
      ]).toContainEqual(worker.exit);
      seen[worker.exit?.kind === 'code' ? 'ended' : 'stopped'] += 1;
      await client.call('remove', { name });
    }
    expect(seen.stopped).toBeGreaterThan(0);
    expect(seen.ended).toBeGreaterThan(0);
    console.log(`${count} stops: ${seen.stopped} came first, ${seen.ended} natural ends did`);
  },
  roundsTimeoutMs,
);

test('two stops of what a worker left behind are both answered', async () => {
  const script = 'trap "" TERM; sleep 1000 & exit 0';
  const spec = { kind: 'command' as const, command: ['sh', '-c', script], graceMs: 400 };
  await client.call('start', { name: 'leaves', spec });
  await client.call('wait', { name: 'leaves', for: 'exit' });
  const first = client.call('stop', { name: 'leaves' });
  await eventually(async () => (await box.status('leaves')).leftovers.length > 0);
  const answers = await Promise.all([
    first,
    client.call('stop', { name: 'leaves' }),
    client.call('stop', { name: 'leaves' }),
  ]);
  for (const { worker } of answers) expect(worker.leftovers).toEqual([]);
  expect(livingRuns('leaves')).toEqual([]);
});

test('C03: clients that die while they wait take their connections with them', async () => {
  await client.call('start', { name: 'awaited', spec: sleeper });
  const descriptors = () => readdirSync(`/proc/${daemon}/fd`).length;
  const before = descriptors();
  const sockets = Array.from({ length: 30 }, (_, id) => {
    const socket = createConnection(box.socket);
    socket.write(
      `${JSON.stringify({ jsonrpc: '2.0', id, method: 'wait', params: { name: 'awaited', for: 'exit' } })}\n`,
    );
    return socket;
  });
  await eventually(() => descriptors() >= before + sockets.length);
  for (const socket of sockets) socket.destroy();
  await eventually(() => descriptors() <= before + 2, { what: 'the descriptors are back' });
});
