/**
 * S03: a daemon that may open 40 files, and 100 clients. It refuses in words those it has no descriptor for, keeps the
 * last ones for its own work, does not spin, and serves again once they have left.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { descriptorsOf } from '../../helpers/vitals.ts';

const openFiles = 40;
const clients = 100;
const asked = '{"jsonrpc":"2.0","method":"daemon.info","id":1}\n';

interface Caller {
  readonly socket: Socket;
  said: string;
  closed: boolean;
}

const call = (path: string): Caller => {
  const socket = connect(path);
  const caller: Caller = { socket, said: '', closed: false };
  socket.setEncoding('utf8').on('data', (text: string) => {
    caller.said += text;
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    caller.closed = true;
  });
  socket.write(asked);
  return caller;
};

/** User and system time, in clock ticks of 10 ms. */
const ticksOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

test('S03: 40 descriptors, 100 clients: refused in words, no spinning, its own work goes on, served again after', async () => {
  await using box = new CrashBox().under('prlimit', `--nofile=${openFiles}:${openFiles}`, '--');
  const daemon = await box.daemon();
  const before = await box.client();
  await before.call('start', { name: 'w', spec: command('sleep', '1000') });
  const callers = Array.from({ length: clients }, () => call(box.socket));
  try {
    const served = () => callers.filter(({ said }) => said.includes('"result"'));
    const refused = () => callers.filter(({ said }) => said.includes('"error"'));
    await eventually(() => callers.filter(({ closed }) => closed).length + served().length >= clients, {
      what: 'each is served, or refused',
    });
    expect(refused().length).toBeGreaterThan(0);
    const answer = JSON.parse(refused()[0]?.said ?? '') as { id: unknown; error: { message: string; data: object } };
    expect(answer.id).toBeNull();
    expect(answer.error).toMatchObject({
      message: expect.stringMatching(/40 files.*ulimit -n/),
      data: { code: 'limit.exceeded', limit: 'openFiles', openFiles },
    });
    // They stay, and it rests.
    const [ticks, since] = [ticksOf(daemon.pid), performance.now()];
    await sleep(2000);
    const share = ((ticksOf(daemon.pid) - ticks) * 10) / (performance.now() - since);
    expect(share).toBeLessThan(0.2);
    // What is kept is enough to look at every process, and to write.
    expect(descriptorsOf(daemon.pid)).toBeLessThan(openFiles - 2);
    const { outcome, worker } = await before.call('stop', { name: 'w' });
    expect([outcome, worker.phase, box.livingRuns('w')]).toEqual(['stopped', 'stopped', []]);
  } finally {
    for (const { socket } of callers) socket.destroy();
  }
  const again = await eventually(
    async () => {
      const next = call(box.socket);
      try {
        await eventually(() => next.said.includes('"') || next.closed);
        return next.said.includes('"result"');
      } finally {
        next.socket.destroy();
      }
    },
    { withinMs: 5000, what: 'served again within 1 s of their leaving (asserted: 5)' },
  );
  expect(again).toBe(true);
  expect((await before.call('start', { name: 'w' })).outcome).toBe('started');
  expect(box.said()).toMatch(/no descriptors are left for one more connection/);
});

test('S03, K01: without a descriptor, and its shim killed, the daemon lives, says what it lacks, and has another when it can', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const { pid } = await box.status('w');
  const shim = box.shimPid;
  const limit = (most: number) => execFileSync('prlimit', [`--pid=${daemon.pid}`, `--nofile=${most}:`]);
  limit(descriptorsOf(daemon.pid));
  await expect(client.call('daemon.restart', {})).rejects.toThrow(/cannot take over.*EMFILE/);
  process.kill(shim, 'SIGKILL');
  const problem = async () => (await client.call('daemon.info', {})).problems?.find(({ kind }) => kind === 'shim-gone');
  await eventually(async () => (await problem())?.message.includes('EMFILE'), { what: 'it says what it lacks' });
  limit(1000);
  await eventually(async () => (await problem()) === undefined, { what: 'another shim', withinMs: 20_000 });
  expect((await client.call('stop', { name: 'w' })).worker).toMatchObject({ phase: 'stopped', pid: null });
  expect(box.livingRuns('w')).toEqual([]);
  expect((await client.call('daemon.info', {})).pid).toBe(daemon.pid);
  expect(pid).not.toBeNull();
});
