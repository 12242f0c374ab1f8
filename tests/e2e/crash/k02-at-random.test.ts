/**
 * K01, K02 at random: shim and daemon killed alone, together and in quick alternation, under workers of every kind that
 * are started, stopped and sent to meanwhile. At the end processes, registry and logs are of one mind.
 * WORKERD_TEST_SEED sets the seed, which is in the test's name.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { connect, type ErrorCode, WorkerdError } from '../../../src/shared/client.ts';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import { command, module } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { checkGaps } from '../../helpers/gaps.ts';
import { fixtures, Sandbox } from '../../helpers/sandbox.ts';
import { Chance, seedFromEnvironment } from '../../soak/chance.ts';
import { mismatches } from '../../soak/quiet.ts';
import { signal, World } from '../../soak/world.ts';

// The same lot each time, so that what fails belongs to the change at hand; `npm run test:soak` draws others.
const seed = process.env['WORKERD_TEST_SEED'] === undefined ? 1_498_885_160 : seedFromEnvironment();
const seconds = 15;
const sequence = 'prints-a-sequence.mjs';
const workersIn = (directory: string): Readonly<Record<string, SpecInput>> => ({
  'sequence-command': command(process.execPath, join(fixtures, sequence)),
  'sequence-process': module('process', sequence),
  'sequence-thread': module('thread', sequence),
  reads: { kind: 'command', command: ['cat'], stdin: true },
  'ready-command': {
    kind: 'command',
    command: ['sh', '-c', 'sleep 0.1; echo "{\\"ready\\":true}" >&3; exec sleep 1000'],
    ready: { by: 'worker' },
  },
  'ready-process': { ...module('process', join(directory, 'ready.mjs')), ready: { by: 'worker' } },
  'ready-thread': { ...module('thread', join(directory, 'ready.mjs')), ready: { by: 'worker' } },
  always: { kind: 'command', command: ['sleep', '1000'], restart: { policy: 'always' } },
  'always-thread': { ...module('thread', sequence), restart: { policy: 'always' } },
  double: command('sh', join(fixtures, 'daemonizes.sh'), join(directory, 'daemonized')),
});
/** What may be said instead of doing it: it came to nothing with the shim, or nobody knows. */
const legal: ReadonlySet<ErrorCode> = new Set([
  'worker.start-failed',
  'worker.not-running',
  'worker.busy',
  'daemon.unreachable',
  'daemon.stopping',
]);

test(`shim and daemon are killed at random (seed ${seed}): nothing hangs, is doubled or lost`, async () => {
  await using box = new Sandbox();
  const world = new World(box);
  const ready = `import { setTimeout as sleep } from 'node:timers/promises';
    export default async (ctx) => {
      await sleep(50);
      ctx.ready();
      while (!ctx.shouldStop()) await sleep(20);
    };`;
  writeFileSync(join(box.directory, 'ready.mjs'), ready);
  const workers = workersIn(box.directory);
  const names = Object.keys(workers);
  const chance = new Chance(seed);
  await world.start();
  const client = await connect({ home: box.home, client: 'random', reconnectMs: 30_000 });
  const problems: string[] = [];
  const kills: string[] = [];
  let [sent, number] = [0, 0];
  const ask = async (name: string): Promise<void> => {
    const verb = chance.weighted({ start: 10, stop: 4, restart: 3, send: 6, publish: 3 });
    const began = performance.now();
    try {
      if (verb === 'start') await client.call('start', { name, spec: workers[name] as SpecInput, timeoutMs: 40_000 });
      else if (verb === 'publish') await client.call('publish', { name, state: { told: ++number } });
      else if (verb === 'send') {
        number += 1;
        await client.call('send', { name: 'reads', text: `text ${number}` });
        sent += 1;
      } else await client.call(verb, { name });
    } catch (error) {
      const known = error instanceof WorkerdError && (legal.has(error.code) || error.code === 'worker.not-found');
      if (!known) problems.push(`${verb} ${name}: ${String(error)}`);
    }
    const tookMs = performance.now() - began;
    if (tookMs > 40_000) problems.push(`${verb} ${name}: answered after ${Math.round(tookMs)} ms`);
  };
  for (const name of names) await client.call('start', { name, spec: workers[name] as SpecInput });
  const until = performance.now() + seconds * 1000;
  const asking = names.map(async (name) => {
    while (performance.now() < until) {
      await ask(name);
      await pause(chance.between(0, 400));
    }
  });
  while (performance.now() < until) {
    const deed = chance.weighted({ shim: 4, daemon: 2, both: 3, alternately: 2 });
    kills.push(deed);
    const killAll = (pids: readonly number[]) => {
      for (const pid of pids) signal(pid, 'SIGKILL');
    };
    const shim = () => killAll(world.shims());
    const daemon = () => killAll(world.daemons());
    if (deed === 'shim') shim();
    else if (deed === 'daemon') daemon();
    else if (deed === 'both') for (const kill of chance.is(0.5) ? [shim, daemon] : [daemon, shim]) kill();
    else {
      for (let round = 0; round < 3; round += 1) {
        shim();
        await pause(chance.between(0, 150));
        daemon();
        await world.start().catch(() => 0);
        await pause(chance.between(0, 150));
      }
    }
    // A daemon that is gone is not started by those who wait for it.
    await world.start().catch(() => world.start());
    await pause(chance.between(0, 900));
  }
  await Promise.all(asking);
  expect(problems).toEqual([]);
  await world.start();
  const settled = async () => {
    const all = (await client.call('status', {})).workers;
    const faults = mismatches(all, world.marked());
    const moving = all.filter(({ phase }) => phase === 'starting' || phase === 'stopping').map(({ name }) => name);
    if (faults.length > 0 || moving.length > 0) throw new Error([...faults, ...moving].join('; '));
    return all;
  };
  const all = await eventually(settled, { what: 'registry and processes agree', withinMs: 30_000 });
  expect(all.map(({ name }) => name)).toEqual([...names].sort());
  // Every end there was is what can have been; an end that nobody saw says so.
  for (const { name } of all) {
    const { runs } = await client.call('history', { name });
    for (const { exit, generation } of runs) {
      const known = ['code', 'signal', 'returned', 'lost', 'terminated'].includes(exit?.kind ?? '');
      expect(known, `${name} ${generation}: ${JSON.stringify(exit)}`).toBe(true);
      if (exit?.kind === 'lost') expect(exit.reason).toMatch(/^the shim died|^thread host died/);
      if (exit?.kind === 'code' && name !== 'double') expect(exit.code, `${name} ${generation}`).toBe(0);
    }
    if (!name.startsWith('sequence') || runs.length === 0) continue;
    for (const { generation, exit } of runs) {
      // One that nobody could tell of is read by nobody.
      if (exit?.kind === 'lost' && exit.reason !== 'the shim died') continue;
      const path = join(box.home, 'logs', name, `${generation}.log`);
      checkGaps(`${name} ${generation}`, `${readFileSync(path, 'utf8').replace(/[^\n]*$/, '')}`, 3 * kills.length);
    }
  }
  const texts = readdirSync(join(box.home, 'logs', 'reads'))
    .filter((file) => file.endsWith('.log'))
    .flatMap((file) =>
      readFileSync(join(box.home, 'logs', 'reads', file), 'utf8')
        .split('\n')
        .slice(0, -1),
    );
  expect(new Set(texts).size, 'no text came twice').toBe(texts.length);
  console.log(`${kills.length} kills, ${sent} texts sent and ${texts.length} read`);
  for (const name of names) {
    const { worker } = await client.call('stop', { name });
    expect([worker.phase === 'running', worker.leftovers], name).toEqual([false, []]);
  }
  expect(world.marked().filter(({ name }) => name !== null)).toEqual([]);
  const left = () => readdirSync(join(box.home, 'run')).filter((run) => run !== 'pool' && !run.startsWith('_host.'));
  await eventually(() => left().length === 0, { what: 'no directory of a run is left' }).catch((error: Error) => {
    throw new Error(`${error.message}: ${left().join()}`);
  });
  client.close();
}, 180_000);
