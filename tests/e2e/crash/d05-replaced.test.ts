/** D05, D10: the daemon is replaced under load by another build: no request fails, nobody notices, and a build that cannot stays out. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type Client, connect } from '../../../src/shared/client.ts';
import { deaf } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { root, Sandbox } from '../../helpers/sandbox.ts';

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const step of cleanUp.splice(0)) step();
});

/** An installation of its own, whose files can be broken and upgraded. */
class Installation {
  readonly directory = realpathSync(mkdtempSync(join(tmpdir(), 'wd-build-')));
  readonly #box: Sandbox;
  constructor(box: Sandbox) {
    this.#box = box;
    cpSync(join(root, 'dist'), join(this.directory, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(this.directory, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(this.directory, 'node_modules'));
    cleanUp.push(() => rmSync(this.directory, { recursive: true, force: true }));
  }
  workerd(...args: readonly string[]) {
    const program = join(this.directory, 'dist', 'workerd.cjs');
    return spawnSync(process.execPath, [program, ...args], { env: this.#box.env(), encoding: 'utf8' });
  }
  /** Puts another text into the place of one of its files; gives back what puts the old one back. */
  change(name: string, edit: (text: string) => string): () => void {
    const path = join(this.directory, name);
    const old = readFileSync(path, 'utf8');
    writeFileSync(path, edit(old));
    return () => writeFileSync(path, old);
  }
}
const infoOf = async (box: Sandbox) => {
  await using client = await connect({ home: box.home });
  return await client.call('daemon.info', {});
};
const awayNote = /^workerctl: the daemon went away; waiting up to 30 s for it to come back\n/gm;
const sleeper = { kind: 'command', command: ['sleep', '1000'] } as const;

describe('replaced while everybody asks', () => {
  test('no request of the library or the command line fails, and each is done once', { timeout: 120_000 }, async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    await using owner = await connect({ home: box.home });
    await owner.call('start', { name: 'steady', spec: sleeper });
    const before = await box.status('steady');
    const over = new AbortController();
    const done = { calls: 0, commands: 0 };
    /** Verbs in a loop; generations tell that each start was one start. */
    const drive = async (number: number): Promise<number> => {
      await using client: Client = await connect({ home: box.home });
      const name = `w${number}`;
      let starts = 0;
      while (!over.signal.aborted) {
        const started = await client.call('start', { name, spec: sleeper });
        starts += 1;
        expect(started).toMatchObject({ outcome: 'started', worker: { phase: 'running', generation: starts } });
        await client.call('status', { names: [name] });
        expect(await client.call('restart', { name })).toMatchObject({ outcome: 'restarted' });
        starts += 1;
        await client.call('publish', { name, state: { starts } });
        expect(await client.call('stop', { name })).toMatchObject({ outcome: 'stopped', worker: { phase: 'stopped' } });
        expect(await client.call('wait', { name, for: 'exit' })).toMatchObject({ worker: { generation: starts } });
        done.calls += 6;
      }
      return starts;
    };
    const command = async (number: number): Promise<void> => {
      while (!over.signal.aborted) {
        const name = `c${number}`;
        const { code, stderr } = await box.workerctl(['run', '--rm', '-n', name, '--', 'sh', '-c', 'exit 5']);
        // That it waits is said where a replacement takes long, as on a busy machine.
        expect({ code, stderr: stderr.replace(awayNote, '') }).toEqual({ code: 5, stderr: '' });
        done.commands += 1;
      }
    };
    const driven = [1, 2, 3, 4].map(drive);
    const commanded = [1, 2].map(command);
    const failed = Promise.all([...driven, ...commanded]);
    failed.catch(() => over.abort());
    let { startedAt } = await infoOf(box);
    for (let round = 0; round < 8 && !over.signal.aborted; round += 1) {
      const { calls, commands } = done;
      const { code, stderr } = await box.workerd(['restart']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const info = await infoOf(box);
      expect(info.startedAt).not.toBe(startedAt);
      ({ startedAt } = info);
      await Promise.race([failed, eventually(() => done.calls > calls + 20 && done.commands > commands)]);
    }
    over.abort();
    await failed;
    const starts = await Promise.all(driven);
    for (const [index, count] of starts.entries()) expect((await box.status(`w${index + 1}`)).generation).toBe(count);
    expect(await box.status('steady')).toMatchObject({ pid: before.pid, startedAt: before.startedAt, generation: 1 });
  });

  test('a start that waits is gone on with by the next daemon: started once, and answered when it is ready', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const script = 'echo begun; read go; echo \'{"ready":true}\' >&3; sleep 1000';
    const spec = { kind: 'command', command: ['sh', '-c', script], stdin: true, ready: { by: 'worker' } } as const;
    const held = client.call('start', { name: 'w', spec });
    await client.call('start', { name: 'slow', spec: deaf });
    await eventually(async () => (await box.status('w')).phase === 'running');
    const stopping = client.call('stop', { name: 'slow', graceMs: 3000 });
    for (let round = 0; round < 2; round += 1) expect((await box.workerd(['restart'])).code).toBe(0);
    await client.call('send', { name: 'w', text: 'go' });
    expect(await held).toMatchObject({ outcome: 'started', worker: { ready: true, generation: 1 } });
    expect(await stopping).toMatchObject({ outcome: 'stopped', worker: { exit: { signal: 'SIGKILL' } } });
  });

  test('a start that fails with the next daemon fails as it would have', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const script = { command: ['sh', '-c', 'read go; exit 4'], stdin: true, ready: { by: 'worker' } } as const;
    const held = client.call('start', { name: 'w', spec: { kind: 'command', ...script } });
    const failure = held.catch((error: unknown) => error);
    await eventually(async () => (await box.status('w')).phase === 'running');
    expect((await box.workerd(['restart'])).code).toBe(0);
    await client.call('send', { name: 'w', text: 'go' });
    expect(await failure).toMatchObject({ code: 'worker.start-failed', data: { exit: { kind: 'code', code: 4 } } });
  });

  test('restarts at once are one; a stop during it ends the daemon', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const all = await Promise.all(Array.from({ length: 5 }, () => box.workerd(['restart'])));
    expect(all.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
    const both = await Promise.all([box.workerd(['restart']), box.workerd(['stop'])]);
    expect(both[1]?.code).toBe(0);
    await box.workerd(['stop']);
    expect((await box.workerd(['status'])).code).toBe(3);
  });
});

test('a replacement that cannot be announced is refused in words, and nothing has changed', async () => {
  await using box = new Sandbox();
  const pid = await box.startDaemon();
  const client = await box.client();
  const before = await infoOf(box);
  // As on a full disk, for everybody.
  const note = `${box.socket}.handover`;
  mkdirSync(note);
  const { code, stderr } = await box.workerd(['restart']);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/the running daemon stays: .*\.handover, cannot be written/),
  ]);
  expect(await infoOf(box)).toEqual(before);
  expect(await client.call('start', { name: 'w', spec: sleeper })).toMatchObject({ outcome: 'started' });
  expect(readdirSync(box.home).filter((name) => name.includes('.handover.'))).toEqual([]);
  rmdirSync(note);
  expect((await box.workerd(['restart'])).code).toBe(0);
  expect((await infoOf(box)).pid).toBe(pid);
});

describe('the build on disk', () => {
  test('a newer one takes over, with the pid and the workers of the old one', async () => {
    await using box = new Sandbox();
    const build = new Installation(box);
    expect(build.workerd('start', '--detach').status).toBe(0);
    const client = await box.client();
    await client.call('start', { name: 'w', spec: sleeper });
    const [before, worker] = [await infoOf(box), await box.status('w')];
    build.change('package.json', (text) => text.replace(/"version": "[^"]*"/, '"version": "9.9.9"'));
    expect(build.workerd('restart').status).toBe(0);
    expect(await infoOf(box)).toMatchObject({ version: '9.9.9', pid: before.pid });
    expect(await box.status('w')).toMatchObject({ pid: worker.pid, startedAt: worker.startedAt });
  });

  const broken: readonly (readonly [string, string, (text: string) => string, RegExp])[] = [
    [
      'throws at its start',
      'dist/daemon.cjs',
      (text) => `throw new Error('half an upgrade');\n${text}`,
      /half an upgrade/,
    ],
    ['is no program', 'dist/daemon.cjs', () => 'not a program {', /SyntaxError/],
    ['is empty', 'dist/daemon.cjs', () => '', /said nothing/],
    ['hangs or ends in silence', 'dist/workerd.cjs', () => 'process.exit(3)', /ended with 3/],
    [
      'speaks another protocol to the shim',
      'dist/daemon.cjs',
      (text) => withShimProtocol(text),
      /protocol 2 to the shim/,
    ],
  ];
  const withShimProtocol = (text: string): string => {
    const changed = text.replace(/shimProtocolVersion = 1;/, 'shimProtocolVersion = 2;');
    expect(changed).not.toBe(text);
    return changed;
  };
  test.each(
    broken,
  )('one that %s stays out: the old daemon is in charge, and says why', async (_what, file, edit, why) => {
    await using box = new Sandbox();
    const build = new Installation(box);
    expect(build.workerd('start', '--detach').status).toBe(0);
    const client = await box.client();
    await client.call('start', { name: 'w', spec: sleeper });
    const before = await infoOf(box);
    const repair = build.change(file, edit);
    const refused = client.call('daemon.restart', {});
    await expect(refused).rejects.toMatchObject({ code: 'limit.exceeded', message: expect.stringMatching(why) });
    process.kill(before.pid, 'SIGHUP');
    const log = () => readFileSync(join(box.home, 'workerd.log'), 'utf8');
    await eventually(() => log().includes('not replaced'), { what: 'it says in its log that it stays' });
    expect(await infoOf(box)).toEqual(before);
    await client.call('restart', { name: 'w' });
    repair();
    expect(build.workerd('restart').status).toBe(0);
    expect(await infoOf(box)).toMatchObject({ pid: before.pid });
    expect((await infoOf(box)).startedAt).not.toBe(before.startedAt);
  });
});
