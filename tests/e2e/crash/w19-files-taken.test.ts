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
  'the log cut': (directory) => truncateSync(join(directory, '1.log'), 10),
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

test('W19: of one worker, in every way, again and again', async () => {
  await using box = new Sandbox();
  const daemon = await box.startDaemon();
  const client = await box.client();
  const directory = join(box.home, 'logs', 'w');
  await client.call('start', { name: 'w', spec: ticker });
  await client.call('start', { name: 'other', spec: ticker });
  const following = box.spawn('workerctl', ['logs', '-f', 'w', '-n', '1'], { withinMs: 110_000 });
  const byRpc: string[] = [];
  const reading = (async () => {
    for await (const { line } of client.logs({ name: 'w', tail: 1, follow: true })) byRpc.push(line);
  })();
  const newest = (lines: readonly string[]) =>
    Number(/^line (\d+)$/.exec(lines.findLast((line) => /^line \d+$/.test(line)) ?? '')?.[1] ?? 0);
  const seen = () => following.stdout().split('\n').slice(0, -1);
  for (const [what, harm] of Object.entries(harms)) {
    await eventually(() => newest(seen()) > 0 && newest(byRpc) > 0);
    const before = Math.max(newest(seen()), newest(byRpc));
    harm(directory);
    const on = () => newest(seen()) > before + 1500 && newest(byRpc) > before + 1500;
    await eventually(on, { withinMs: 20_000, what: `${what}: it goes on` });
    expect(readdirSync(directory), what).toEqual(expect.arrayContaining(['1.idx', '1.log']));
    // Where it is now is where whoever comes now finds it.
    const { entries } = await client.call('logs', { name: 'w', tail: 50 });
    expect(newest(entries.map(({ line }) => line)), what).toBeGreaterThan(before);
    rmSync(`${directory}-mine`, { recursive: true, force: true });
  }
  expect(await box.status('w')).toMatchObject({ phase: 'running', generation: 1 });
  await client.call('stop', { name: 'w' });
  await client.call('stop', { name: 'other' });
  await client.call('remove', { name: 'w' });
  expect((await following.finished).code).toBe(0);
  await reading;
  for (const lines of [seen(), byRpc]) {
    const numbers = lines.flatMap((line) => /^line (\d+)$/.exec(line)?.[1] ?? []).map(Number);
    expect(numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0))).toBe(true);
  }
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
