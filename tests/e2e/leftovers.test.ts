/** Leftovers: a run ends with its leader; what it left alive is shown, still logged, and ended when that is due. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../../src/shared/client.ts';
import type { StopResult } from '../../src/shared/protocol.ts';
import type { WorkerView } from '../../src/shared/worker.ts';
import { command, shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { fixtures, Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const view = async (name: string): Promise<WorkerView> => {
  const [worker] = (await client.call('status', { names: [name] })).workers;
  if (worker === undefined) throw new Error(`no worker ${name}`);
  return worker;
};
const untilEnded = async (name: string) => (await client.call('wait', { name, for: 'exit' })).worker;
const isAlive = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
};
const daemonizes = join(fixtures, 'daemonizes.sh');

describe('W09: a child that outlives the leader', () => {
  test('holds the exit up by nothing, and what it prints later is still logged', async () => {
    const go = join(box.directory, 'go');
    const text = '(while [ ! -e "$1" ]; do sleep 0.02; done; echo later; sleep 600) & echo early; exit 7';
    const began = performance.now();
    await client.call('start', { name: 'leaver', spec: shell(text, go) });
    const ended = await untilEnded('leaver');
    // Within 500 ms; five times that.
    expect(performance.now() - began).toBeLessThan(2500);
    expect(ended).toMatchObject({ phase: 'failed', exit: { kind: 'code', code: 7 }, pid: null });
    expect(ended.leftovers.length).toBeGreaterThan(0);
    const lines = async () => (await client.call('logs', { name: 'leaver' })).entries.map(({ line }) => line);
    expect(await lines()).toEqual(['early']);
    writeFileSync(go, '');
    await eventually(async () => (await lines()).includes('later'));
    expect((await box.workerctl(['logs', 'leaver'])).stdout).toBe('early\nlater\n');
    expect((await client.call('stop', { name: 'leaver' })).outcome).toBe('stopped');
    expect((await view('leaver')).leftovers).toEqual([]);
  });

  test('of the issue: exit 7 is told at once though a sleeper holds the pipes', async () => {
    const began = performance.now();
    const run = await box.workerctl(['run', '-n', 'sleeper', '--', 'sh', '-c', 'sleep 30 & exit 7']);
    expect(run.code).toBe(7);
    expect(performance.now() - began).toBeLessThan(10_000);
    const [sleeper] = (await view('sleeper')).leftovers;
    await eventually(() => readFileSync(`/proc/${sleeper?.pid}/cmdline`, 'utf8') === ['sleep', '30', ''].join('\0'));
    await client.call('stop', { name: 'sleeper' });
  });
});

describe('W24: a worker that daemonizes', () => {
  test('has exited with 0; the rest is in leftovers, shown by status, and stop ends it', async () => {
    const tag = join(box.directory, 'daemon');
    await client.call('start', { name: 'daemonizer', spec: command(daemonizes, tag) });
    const ended = await untilEnded('daemonizer');
    expect(ended).toMatchObject({ phase: 'exited', exit: { kind: 'code', code: 0 } });
    const pid = Number(readFileSync(tag, 'utf8'));
    expect(isAlive(pid)).toBe(true);
    const left = ended.leftovers.find((each) => each.pid === pid);
    expect(left?.command).toContain(tag);
    const block = await box.workerctl(['status', 'daemonizer']);
    expect(block.code).toBe(3);
    expect(block.stdout).toMatch(new RegExp(`left over +${pid} `));

    const { code, stdout } = await box.workerctl(['stop', 'daemonizer', '--json']);
    expect(code).toBe(0);
    const { outcome, worker } = JSON.parse(stdout) as StopResult;
    expect(outcome).toBe('stopped');
    // Its phase stays: it ended by itself, and well.
    expect(worker).toMatchObject({ phase: 'exited', exit: { kind: 'code', code: 0 }, leftovers: [], generation: 1 });
    expect(isAlive(pid)).toBe(false);
    expect((await client.call('stop', { name: 'daemonizer' })).outcome).toBe('not-running');
  });

  test('and whose rest ignores TERM: stop ends it by force at the end of the grace, or at once with --force', async () => {
    const text = `trap "" TERM; exec ${daemonizes} "$1"`;
    for (const [name, more] of [
      ['deaf-grace', { graceMs: 300 }],
      ['deaf-force', { force: true }],
    ] as const) {
      const tag = join(box.directory, name);
      await client.call('start', { name, spec: { ...shell(text, tag), graceMs: 60_000 } });
      await untilEnded(name);
      const pid = Number(readFileSync(tag, 'utf8'));
      expect(isAlive(pid)).toBe(true);
      const began = performance.now();
      expect((await client.call('stop', { name, ...more })).outcome).toBe('stopped');
      expect(isAlive(pid)).toBe(false);
      expect(performance.now() - began).toBeLessThan(20_000);
    }
  });

  test('leftovers that end by themselves are no reason to say stopped', async () => {
    const go = join(box.directory, 'leave');
    const text = '(while [ ! -e "$1" ]; do sleep 0.02; done) & exit 0';
    await client.call('start', { name: 'transient', spec: shell(text, go) });
    const { leftovers } = await untilEnded('transient');
    expect(leftovers.length).toBeGreaterThan(0);
    writeFileSync(go, '');
    await eventually(() => leftovers.every(({ pid }) => !isAlive(pid)));
    const { outcome, worker } = await client.call('stop', { name: 'transient' });
    expect(outcome).toBe('not-running');
    expect(worker.leftovers).toEqual([]);
  });

  test('rm ends what it left, too', async () => {
    const tag = join(box.directory, 'removed');
    await client.call('start', { name: 'removed', spec: command(daemonizes, tag) });
    await untilEnded('removed');
    const pid = Number(readFileSync(tag, 'utf8'));
    expect((await box.workerctl(['rm', 'removed'])).code).toBe(0);
    expect(isAlive(pid)).toBe(false);
    expect((await box.workerctl(['status', 'removed'])).code).toBe(4);
  });
});

describe('an orderly end of the daemon', () => {
  test('ends what workers that have ended by themselves left behind', async () => {
    await using own = new Sandbox();
    await own.startDaemon();
    const tag = join(own.directory, 'daemon');
    expect((await own.workerctl(['run', '--', daemonizes, tag])).code).toBe(0);
    const pid = Number(readFileSync(tag, 'utf8'));
    expect(isAlive(pid)).toBe(true);
    expect((await own.workerd(['stop'])).code).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });
});

describe('the next generation', () => {
  // Says "taken" where something of the generation before still holds the lock.
  const text = `flock -n 9 || { echo taken; exit 9; }
    echo '{"state":{"mine":true}}' >&3
    ${daemonizes} "$1-$WORKERD_GENERATION" 9>&9; exit "$2"`;
  const holder = (tag: string, code: number) => shell(`exec 9>"$1.lock"; ${text}`, tag, String(code));

  test('by a verb starts only once the leftovers of the one before are gone', async () => {
    const tag = join(box.directory, 'by-verb');
    await client.call('start', { name: 'by-verb', spec: { ...holder(tag, 0), graceMs: 500 } });
    await untilEnded('by-verb');
    for (const generation of [2, 3]) {
      const before = Number(readFileSync(`${tag}-${generation - 1}`, 'utf8'));
      expect(isAlive(before)).toBe(true);
      await client.call(generation === 2 ? 'start' : 'restart', { name: 'by-verb' });
      expect(isAlive(before)).toBe(false);
      expect(await untilEnded('by-verb')).toMatchObject({ generation, exit: { kind: 'code', code: 0 } });
    }
    await client.call('stop', { name: 'by-verb' });
  });

  test('by the restart policy, too', async () => {
    const tag = join(box.directory, 'by-policy');
    const spec = { ...holder(tag, 1), graceMs: 500, restart: { policy: 'always' as const } };
    await client.call('start', { name: 'by-policy', spec });
    await eventually(() => existsSync(`${tag}-3`), { what: 'three generations' });
    const { runs } = await client.call('history', { name: 'by-policy' });
    for (const { exit } of runs.filter((run) => run.generation <= 2)) expect(exit).toEqual({ kind: 'code', code: 1 });
    for (const generation of [1, 2]) expect(isAlive(Number(readFileSync(`${tag}-${generation}`, 'utf8')))).toBe(false);
    const { worker } = await client.call('stop', { name: 'by-policy' });
    expect(worker).toMatchObject({ phase: 'stopped', leftovers: [] });
    expect(isAlive(Number(readFileSync(`${tag}-3`, 'utf8')))).toBe(false);
    expect((await client.call('logs', { name: 'by-policy' })).entries).toEqual([]);
  });

  test('what an ended run left is ended by a stop that calls the restart off', async () => {
    const tag = join(box.directory, 'called-off');
    const spec = { ...holder(tag, 1), graceMs: 500, restart: { policy: 'always' as const } };
    await client.call('start', { name: 'called-off', spec });
    const waiting = async () => {
      const { workers } = await client.call('status', { names: ['called-off'] });
      return workers[0]?.phase === 'backoff' && workers[0].leftovers.length > 0 && workers[0].generation;
    };
    const generation = await eventually(waiting, { what: 'a restart to wait for, and something left' });
    const { outcome, worker } = await client.call('stop', { name: 'called-off' });
    expect({ outcome, worker }).toMatchObject({ outcome: 'stopped', worker: { phase: 'stopped', leftovers: [] } });
    expect(isAlive(Number(readFileSync(`${tag}-${generation}`, 'utf8')))).toBe(false);
  });
});

test('a worker that forks twice and leaves at once is never begun beside what an earlier run of it left', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  const there = join(box.directory, 'there');
  writeFileSync(there, '');
  const spec = { kind: 'command' as const, command: ['sh', join(fixtures, 'daemonizes.sh'), there] };
  const left = () =>
    box.processes().filter(({ command }) => / daemonized /.test(command) && !command.includes('setsid'));
  for (let run = 0; run < 25; run += 1) {
    await client.call('start', { name: 'double', spec });
    await client.call('wait', { name: 'double', for: 'exit' });
    await eventually(async () => (await box.status('double')).leftovers.length > 0, {
      what: `run ${run}: it is named`,
    });
  }
  await eventually(() => left().length === 1, { what: 'what the last run left, and nothing else' });
  expect((await client.call('stop', { name: 'double' })).worker.leftovers).toEqual([]);
}, 60_000);
