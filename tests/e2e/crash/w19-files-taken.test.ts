/**
 * W19: somebody removes, cuts or renames the log files, the index or the directory of one worker while it writes. It is
 * logged again within a second, in place; who follows it has no line twice and all that come after; others do not notice.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { shell } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { Sandbox } from '../../helpers/sandbox.ts';

const ticker = shell('n=0; while :; do n=$((n + 1)); echo "line $n"; [ $((n % 20)) = 0 ] && sleep 0.02; done');

const harms: Readonly<Record<string, (directory: string) => void>> = {
  'the log removed': (directory) => rmSync(join(directory, '1.log')),
  'the log cut': (directory) => truncateSync(join(directory, '1.log'), 3),
  'the log renamed': (directory) => renameSync(join(directory, '1.log'), join(directory, 'mine')),
  'the index removed': (directory) => rmSync(join(directory, '1.idx')),
  'the index cut': (directory) => truncateSync(join(directory, '1.idx'), 30),
  'the directory removed': (directory) => rmSync(directory, { recursive: true }),
  'the directory renamed': (directory) => renameSync(directory, `${directory}-mine`),
};

/** Of a process, in clock ticks. */
const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
};

const newest = (lines: readonly string[]) =>
  Number(/^line (\d+)$/.exec(lines.findLast((line) => /^line \d+$/.test(line)) ?? '')?.[1] ?? 0);
const numbersIn = (lines: readonly string[]) =>
  lines.flatMap((line) => /^line (\d+)$/.exec(line)?.[1] ?? []).map(Number);

test('W19: in every way, a worker each; who follows has nothing twice, and all that comes after', async () => {
  await using box = new Sandbox();
  const daemon = await box.startDaemon();
  const client = await box.client();
  const harmed = Object.entries(harms).map(([what, harm], index) => ({ what, harm, name: `w${index}` }));
  for (const { name } of [...harmed, { name: 'other' }]) await client.call('start', { name, spec: ticker });
  const following = box.spawn('workerctl', ['logs', '-f', '-n', '1', 'w*'], { withinMs: 110_000 });
  const seen = (name: string) =>
    following
      .stdout()
      .split('\n')
      .slice(0, -1)
      .flatMap((line) => (line.startsWith(`${name} | `) ? [line.slice(name.length + 3)] : []));
  const reached: string[][] = [];
  await Promise.all(
    harmed.map(async ({ what, harm, name }) => {
      const directory = join(box.home, 'logs', name);
      const byRpc: string[] = [];
      const reading = (async () => {
        for await (const { line } of client.logs({ name, tail: 1, follow: true })) byRpc.push(line);
      })();
      await eventually(() => newest(seen(name)) > 0 && newest(byRpc) > 0, { withinMs: 20_000 });
      const before = Math.max(newest(seen(name)), newest(byRpc));
      harm(directory);
      // The writer looks once a second; until then it may write to what was taken away.
      const isBack = async () => {
        const { entries } = await client.call('logs', { name, tail: 50 });
        const names = readdirSync(directory);
        return newest(entries.map(({ line }) => line)) > before && names.includes('1.idx') && names.includes('1.log');
      };
      await eventually(isBack, { withinMs: 20_000, what: `${what}: it is logged again in place` });
      const there = Math.max(newest(seen(name)), newest(byRpc), before) + 1000;
      await eventually(() => newest(seen(name)) > there && newest(byRpc) > there, {
        withinMs: 20_000,
        what: `${what}: those who follow go on`,
      });
      expect(await box.status(name)).toMatchObject({ phase: 'running', generation: 1 });
      await client.call('remove', { name, force: true });
      await reading;
      reached.push(byRpc);
    }),
  );
  expect((await following.finished).code).toBe(0);
  for (const lines of [...reached, ...harmed.map(({ name }) => seen(name))]) {
    const numbers = numbersIn(lines);
    expect(numbers.filter((number, index) => number <= (numbers[index - 1] ?? 0))).toEqual([]);
  }
  await client.call('stop', { name: 'other' });
  const { stdout } = await box.workerctl(['logs', 'other', '-n', 'all', '--raw']);
  const others = stdout.split('\n').slice(0, -1);
  expect(others).toEqual(others.map((_, index) => `line ${index + 1}`));
  expect((await client.call('daemon.info', {})).pid).toBe(daemon);
}, 120_000);

test('W19: a directory that cannot be made is flagged, and nobody runs in circles over it', async () => {
  await using box = new Sandbox();
  const daemon = await box.startDaemon();
  const client = await box.client();
  const directory = join(box.home, 'logs', 'w');
  await client.call('start', { name: 'w', spec: ticker });
  await eventually(async () => (await client.call('logs', { name: 'w' })).entries.length === 100);
  renameSync(directory, join(box.directory, 'taken'));
  mkdirSync(join(box.directory, 'elsewhere'));
  symlinkSync(join(box.directory, 'elsewhere'), directory);
  const flagged = () => box.workerctl(['status']).then(({ stderr }) => /logs.w/.test(stderr) && stderr);
  expect(await eventually(flagged, { withinMs: 20_000 })).toMatch(/it is not a directory/);
  const shim = box.processes().find(({ command }) => /shim\.cjs/.test(command))?.pid ?? 0;
  const before = [cpuOf(daemon), cpuOf(shim)];
  const began = performance.now();
  await new Promise((next) => setTimeout(next, 1000));
  const ticks = [cpuOf(daemon) - (before[0] ?? 0), cpuOf(shim) - (before[1] ?? 0)];
  // Of 100 a second: dropping takes what reading takes.
  const allowed = ((performance.now() - began) / 1000) * 60;
  expect(Math.max(...ticks)).toBeLessThan(allowed);
  expect(readdirSync(join(box.directory, 'elsewhere'))).toEqual([]);
  rmSync(directory);
  await eventually(async () => (await client.call('logs', { name: 'w' })).entries.length === 100, { withinMs: 20_000 });
  expect((await box.workerctl(['logs', 'w', '-n', 'all'])).stderr).toMatch(/bytes of run 1 are missing here/);
}, 60_000);
