/**
 * D13: the registry is missing, empty, garbage, cut off, another's or not writable: it is refused by its name, or moved
 * aside and rebuilt from what the shim knows. Never an empty list while workers live.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import type { WorkerView } from '../../../src/shared/worker.ts';
import { part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const specs = {
  command: { ...part('command', 'counts'), env: { KEPT: 'value' }, restart: { policy: 'always' } },
  process: part('process', 'counts', { params: { of: 'mine' }, restart: 'on-failure' }),
  thread: part('thread', 'counts', { ready: false }),
} satisfies Record<string, SpecInput>;
const names = ['command', 'process', 'thread'] as const;

const list = async (box: CrashBox): Promise<readonly WorkerView[]> => {
  const client = await box.client();
  try {
    return (await client.call('status', { showEnv: true })).workers;
  } finally {
    client.close();
  }
};
/** What must be the same; the thread's id is known to the lost registry alone, start times to the millisecond as well. */
const identity = ({ name, kind, phase, pid, generation, spec, enabled, restarts }: WorkerView) => ({
  name,
  kind,
  phase,
  pid,
  generation,
  spec,
  enabled,
  restarts,
});
const living = (all: readonly WorkerView[]) => all.filter(({ pid }) => pid !== null).map(identity);

const begin = async (box: CrashBox) => {
  const daemon = await box.daemon();
  const client = await box.client();
  const caller = { env: { PATH: process.env['PATH'] ?? '', OF: 'the caller' }, cwd: box.directory, umask: 0o27 };
  for (const name of names) await client.call('start', { name, spec: specs[name], caller });
  await client.call('define', { name: 'idle', spec: specs.command, caller });
  await client.call('enable', { name: 'idle' });
  const before = living(await list(box));
  expect(before.map(({ name }) => name)).toEqual([...names]);
  client.close();
  await daemon.kill();
  return before;
};

const registry = (box: CrashBox) => join(box.home, 'registry.db');
const companions = ['', '-wal', '-shm'] as const;
const each = (box: CrashBox, act: (path: string) => void) => {
  for (const companion of companions) {
    try {
      act(`${registry(box)}${companion}`);
    } catch {
      // There is none.
    }
  }
};

/** The workers are the same processes, go on publishing, and are stopped as ever. */
const areAsBefore = async (box: CrashBox, before: readonly object[], what: string) => {
  expect(living(await list(box)), what).toEqual(before);
  for (const name of names) {
    const { stateRevision } = await box.status(name);
    await eventually(async () => (await box.status(name)).stateRevision > stateRevision, { what: `${name}: ${what}` });
  }
};

const damages: readonly (readonly [string, (box: CrashBox) => void])[] = [
  ['missing', (box) => each(box, (path) => rmSync(path))],
  ['of 0 bytes', (box) => each(box, (path) => truncateSync(path, 0))],
  ['garbage', (box) => each(box, (path) => writeFileSync(path, Buffer.alloc(statSync(path).size, 'garbage ')))],
];

describe('D13: a registry that is', () => {
  test.each(
    damages,
  )('%s: what lives is listed as it was, restarted by its policy, and stopped', async (what, damage) => {
    await using box = new CrashBox();
    const before = await begin(box);
    damage(box);
    const daemon = await box.daemon();
    await areAsBefore(box, before, what);
    expect(box.said()).toContain('taken over from the shim');
    if (what === 'garbage') {
      expect(box.said()).toContain('the registry is damaged: it was moved aside');
      expect(readdirSync(box.home).some((name) => name.startsWith('registry.db.damaged-'))).toBe(true);
    }
    // What was rebuilt is written: the next daemon knows it by itself, and the policies hold.
    await daemon.kill();
    await box.daemon();
    await areAsBefore(box, before, `${what}, and the daemon killed again`);
    const { pid } = await box.status('command');
    process.kill(pid ?? 0, 'SIGKILL');
    await eventually(async () => {
      const { phase, generation } = await box.status('command');
      return phase === 'running' && generation === 2;
    });
    const client = await box.client();
    for (const name of names) expect((await client.call('stop', { name })).worker.phase).toBe('stopped');
    for (const name of names) expect(box.livingRuns(name)).toEqual([]);
  });

  test('cut off at 20 places: never an empty list, nothing is started twice', async () => {
    await using box = new CrashBox();
    const before = await begin(box);
    // All of it in one file, so that there is something to cut: a daemon that ends leaves no journal.
    const whole = join(box.directory, 'whole.db');
    await box.daemon();
    await (await box.client()).call('daemon.stop', { keepWorkers: true });
    await eventually(() => !box.processes().some(({ command }) => command.includes('workerd.cjs start')));
    copyFileSync(registry(box), whole);
    const size = statSync(whole).size;
    for (let place = 0; place < 20; place += 1) {
      each(box, (path) => rmSync(path));
      copyFileSync(whole, registry(box));
      truncateSync(registry(box), Math.floor((size * place) / 20));
      const daemon = await box.daemon();
      expect(living(await list(box)), `cut off after ${place}/20 of ${size} bytes`).toEqual(before);
      await daemon.kill();
    }
    await box.daemon();
    // A thread lives in its host, which carries no name; the shell of the command has a sleep beside it at times.
    expect(box.livingRuns('process')).toHaveLength(1);
    expect(box.processes().filter(({ command }) => command.includes('thread-host.js'))).toHaveLength(1);
    expect(box.processes().filter(({ command }) => /plays-a-part\.sh/.test(command))).toHaveLength(1);
  }, 120_000);

  test('cut off in its history: the definitions of workers that do not run are read out of it', async () => {
    await using box = new CrashBox();
    const daemon = await box.daemon();
    const client = await box.client();
    for (let number = 0; number < 20; number += 1)
      await client.call('define', { name: `idle-${number}`, spec: specs.command });
    for (let number = 0; number < 100; number += 1) {
      await client.call('start', { name: 'often', spec: { kind: 'command', command: ['true'] } });
      await client.call('wait', { name: 'often', for: 'exit' });
    }
    const names = (await list(box)).map(({ name }) => name);
    client.close();
    await daemon.kill('SIGTERM');
    const { size } = statSync(registry(box));
    truncateSync(registry(box), size - 4096);
    await box.daemon();
    const now = await list(box);
    expect(box.said()).toContain('moved aside');
    expect(now.map(({ name }) => name)).toEqual(names);
    expect(now.find(({ name }) => name === 'often')?.generation).toBe(100);
  });

  test.each([
    ['a run', "UPDATE runs SET run = '{CANARY-1234' WHERE name = 'command'"],
    ['a run that is not whole', "UPDATE runs SET run = '{}'"],
    ['a definition', "UPDATE workers SET spec = 'CANARY-1234' WHERE name = 'command'"],
    ['an intent', "UPDATE workers SET intent = 'null'"],
  ])('sound, but for %s that cannot be read: rebuilt all the same', async (what, statement) => {
    await using box = new CrashBox();
    const before = await begin(box);
    const db = new DatabaseSync(registry(box));
    db.exec(statement);
    db.close();
    await box.daemon();
    await areAsBefore(box, before, what);
    expect((await list(box)).map(({ name }) => name)).toEqual(['command', 'idle', 'process', 'thread']);
    expect(box.said()).toMatch(/registry\.db is damaged: what it says of \w+ cannot be read \(column/);
    expect(box.said()).not.toContain('CANARY');
  });

  test('an older copy: what lives is not started a second time', async () => {
    await using box = new CrashBox();
    const first = await box.daemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: specs.command });
    client.close();
    await first.kill();
    const copy = join(box.directory, 'copy');
    each(box, (path) => copyFileSync(path, `${copy}${path.slice(registry(box).length)}`));
    const second = await box.daemon();
    const { worker } = await (await box.client()).call('restart', { name: 'w' });
    await second.kill();
    each(box, (path) => rmSync(path));
    for (const companion of companions) {
      try {
        renameSync(`${copy}${companion}`, `${registry(box)}${companion}`);
      } catch {
        // There was none.
      }
    }
    await box.daemon();
    expect(await box.status('w')).toMatchObject({ phase: 'running', pid: worker.pid, generation: 2 });
    expect(box.livingRuns('w')).toContain(worker.pid);
  });

  test('missing, and a worker has ended meanwhile: it is listed with its end, and its policy holds', async () => {
    await using box = new CrashBox();
    const daemon = await box.daemon();
    const client = await box.client();
    for (const name of ['once', 'again']) {
      const spec: SpecInput = { ...specs.command, restart: { policy: name === 'again' ? 'always' : 'no' } };
      await client.call('start', { name, spec });
    }
    const pids = await Promise.all(['once', 'again'].map(async (name) => (await box.status(name)).pid ?? 0));
    client.close();
    await daemon.kill();
    each(box, (path) => rmSync(path));
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await box.daemon();
    await eventually(async () => (await box.status('once')).phase === 'failed');
    expect(await box.status('once')).toMatchObject({ exit: { kind: 'signal', signal: 'SIGKILL' }, generation: 1 });
    await eventually(async () => (await box.status('again')).phase === 'running');
    expect(await box.status('again')).toMatchObject({ generation: 2, restarts: 1 });
  });
});

describe('D13: refused by its name, and left as it is', () => {
  const refused = async (box: CrashBox, words: RegExp) => {
    const { code, stderr } = await box.workerd(['start']);
    expect(stderr).toContain(registry(box));
    expect(stderr).toMatch(words);
    return code;
  };

  const isRoot = process.getuid?.() === 0;
  test.skipIf(!isRoot)('another’s (only root can make one to try)', async () => {
    await using box = new CrashBox();
    const before = await begin(box);
    chownSync(registry(box), 65_534, 65_534);
    expect(await refused(box, /belongs to uid 65534/)).toBe(77);
    expect(statSync(registry(box)).uid).toBe(65_534);
    chownSync(registry(box), 0, 0);
    await box.daemon();
    expect(living(await list(box))).toEqual(before);
  });

  test.skipIf(isRoot)('read-only (root may write all the same)', async () => {
    await using box = new CrashBox();
    const before = await begin(box);
    chmodSync(registry(box), 0o400);
    expect(await refused(box, /cannot be read and written by us/)).toBe(77);
    chmodSync(registry(box), 0o600);
    await box.daemon();
    expect(living(await list(box))).toEqual(before);
  });

  test('with a second name (a hard link)', async () => {
    await using box = new CrashBox();
    const before = await begin(box);
    const second = join(box.directory, 'second');
    linkSync(registry(box), second);
    const bytes = readFileSync(second);
    expect(await refused(box, /hard link/)).toBe(77);
    expect(readFileSync(second).equals(bytes)).toBe(true);
    rmSync(second);
    await box.daemon();
    expect(living(await list(box))).toEqual(before);
  });
});
