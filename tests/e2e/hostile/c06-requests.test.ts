/** C06, C07, D08: requests whose asker has gone or comes late, and signals that mean nothing. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '../../../src/shared/client.ts';
import { deaf, shell } from '../../fixtures/workers/behaviours.ts';
import { Canary } from '../../helpers/canary.ts';
import { eventually } from '../../helpers/eventually.ts';
import { RawClient } from '../../helpers/fake-server.ts';
import { Sandbox } from '../../helpers/sandbox.ts';
import { noFaults } from '../../helpers/vitals.ts';

let box: Sandbox;
let daemon: number;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  daemon = await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

describe('C06: a client that asks and leaves', () => {
  it.each([
    ['at once', (raw: RawClient) => raw.socket.destroy()],
    ['by ending its side', (raw: RawClient) => raw.socket.end()],
  ])('%s: what it asked for is carried out', async (how, leave) => {
    const name = `left-${how.replaceAll(' ', '-')}`;
    await client.call('start', { name, spec: { ...deaf, graceMs: 200 } });
    const raw = new RawClient(box.socket);
    raw.ask({ jsonrpc: '2.0', id: 1, method: 'stop', params: { name } });
    await eventually(async () => (await box.status(name)).phase !== 'running' || raw.socket.bytesWritten > 0);
    await new Promise((resolve) => setImmediate(resolve));
    leave(raw);
    const { worker } = await client.call('wait', { name, for: 'stopped', timeoutMs: 20_000 });
    expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGKILL' } });
  });

  it('leaves no fault in the log, whatever it waited for', async () => {
    await client.call('start', { name: 'awaited', spec: shell('sleep 1000') });
    for (const method of ['wait', 'stop']) {
      const raw = new RawClient(box.socket);
      const rest = method === 'wait' ? { for: 'exit' } : { graceMs: 100 };
      raw.ask(
        { jsonrpc: '2.0', id: 'first', method: 'hello' },
        { jsonrpc: '2.0', id: 1, method, params: { name: 'awaited', ...rest } },
      );
      await raw.received(1);
      raw.socket.destroy();
    }
    await client.call('wait', { name: 'awaited', for: 'stopped' });
    noFaults(box.home);
  });
});

it('C07: wait raced with the end of the worker, 1,000 times: never hangs, always the true code', async () => {
  const canary = new Canary(box.socket);
  const lanes = 20;
  const rounds = 10;
  const waits = 5;
  const lane = async (number: number) => {
    const name = `raced-${number}`;
    for (let round = 0; round < rounds; round += 1) {
      const code = (number * rounds + round) % 256;
      await client.call('start', { name, spec: shell(`exit ${code}`), wait: 'running', timeoutMs: 60_000 });
      // Before, while and after it ends: the race is the test.
      const waiting = Array.from({ length: waits }, async (_, turn) => {
        await sleep(turn);
        return client.call('wait', { name, for: 'exit', timeoutMs: 60_000 });
      });
      for (const { worker } of await Promise.all(waiting)) {
        expect({ name, round, exit: worker.exit }).toEqual({ name, round, exit: { kind: 'code', code } });
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
  await canary.unhurt(250);
}, 120_000);

it('D08: signals without a meaning change nothing, one by one and in a storm; no TCP port opens', async () => {
  await client.call('start', { name: 'kept', spec: shell('sleep 1000') });
  const before = await box.status('kept');
  const { startedAt } = await client.call('daemon.info', {});
  const shim = box.processes().find(({ command }) => command.includes('shim.cjs'))?.pid ?? 0;
  const meaningless = ['SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGWINCH', 'SIGTSTP', 'SIGCONT'] as const;
  for (let round = 0; round < 20; round += 1) {
    for (const signal of meaningless) for (const pid of [daemon, shim]) process.kill(pid, signal);
  }
  process.kill(shim, 'SIGHUP');
  // The same life of the same process, and it answers.
  expect(await client.call('daemon.info', {})).toMatchObject({ pid: daemon, startedAt });
  expect(await box.status('kept')).toMatchObject({ pid: before.pid, phase: 'running' });
  const inodes = new Set(
    [daemon, shim].flatMap((pid) =>
      readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
          return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
        } catch {
          return [];
        }
      }),
    ),
  );
  expect(inodes.size).toBeGreaterThan(1);
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
    const lines = readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1);
    expect(lines.filter((line) => inodes.has(line.trim().split(/\s+/)[9] ?? ''))).toEqual([]);
  }
  process.kill(daemon, 'SIGHUP');
  await eventually(
    async () => {
      const again = await box.client();
      return (await again.call('daemon.info', {})).startedAt !== startedAt;
    },
    { what: 'the next life' },
  );
  expect(await box.status('kept')).toMatchObject({ pid: before.pid, phase: 'running', restarts: 0 });
});
