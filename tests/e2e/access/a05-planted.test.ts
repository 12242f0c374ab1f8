/**
 * A05: links and files planted where the shim writes a worker's log or keeps its FIFOs: nothing is written through
 * them, the refusal names them, and the worker runs on.
 */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const precious = 'precious';
const talks = shell('while :; do echo tick; echo tock >&2; sleep 0.05; done');

/** A file of the user's that must not change. */
const letterIn = (box: CrashBox): string => {
  const letter = join(box.directory, 'letter');
  writeFileSync(letter, precious);
  return letter;
};

test.each([
  ['a hard link at the log', (letter: string, logs: string) => linkSync(letter, join(logs, '1.log')), /1\.log/],
  ['a hard link at the index', (letter: string, logs: string) => linkSync(letter, join(logs, '1.idx')), /1\.idx/],
  ['a link at the log', (letter: string, logs: string) => symlinkSync(letter, join(logs, '1.log')), /1\.log/],
  ['a link at the index', (letter: string, logs: string) => symlinkSync(letter, join(logs, '1.idx')), /1\.idx/],
])('A05: %s while it is being written: refused by name, the log goes on once it is gone', async (_, plant, named) => {
  await using box = new CrashBox();
  const letter = letterIn(box);
  await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: talks });
  const logs = join(box.home, 'logs', 'w');
  await eventually(() => readdirSync(logs).length === 2);
  for (const name of readdirSync(logs)) rmSync(join(logs, name));
  plant(letter, logs);
  await eventually(() =>
    box
      .said()
      .split('\n')
      .some((line) => /cannot write/.test(line) && named.test(line)),
  );
  expect(readFileSync(letter, 'utf8')).toBe(precious);
  expect(await box.status('w')).toMatchObject({ phase: 'running' });
  for (const name of readdirSync(logs)) rmSync(join(logs, name));
  await eventually(() => readFileSync(join(logs, '1.log'), 'utf8').includes('tick'));
  expect(readFileSync(letter, 'utf8')).toBe(precious);
});

test('A05: a log that lies there before the first run is not taken for its own, and a directory elsewhere is not used', async () => {
  await using box = new CrashBox();
  const letter = letterIn(box);
  const [early, linked] = ['early', 'linked'].map((name) => join(box.home, 'logs', name)) as [string, string];
  const elsewhere = join(box.directory, 'elsewhere');
  mkdirSync(early, { recursive: true, mode: 0o700 });
  mkdirSync(elsewhere);
  linkSync(letter, join(early, '1.log'));
  symlinkSync(elsewhere, linked);
  await box.daemon();
  const client = await box.client();
  for (const name of ['early', 'linked']) await client.call('start', { name, spec: talks });
  await eventually(() => box.said().includes(linked));
  await eventually(() => existsSync(join(early, '2.log')));
  expect([readFileSync(letter, 'utf8'), readdirSync(elsewhere)]).toEqual([precious, []]);
});

test.each([
  'out',
  'err',
  'up',
  'down',
])('A05: a file in the place of the FIFO `%s`: not read, not written', async (name) => {
  await using box = new CrashBox();
  const letter = letterIn(box);
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: talks });
  client.close();
  const { pid } = await box.status('w');
  process.kill(box.shimPid, 'SIGKILL');
  await daemon.kill();
  const [run] = readdirSync(join(box.home, 'run')).filter((entry) => entry.startsWith('w.'));
  const fifo = join(box.home, 'run', run ?? '', name);
  rmSync(fifo);
  linkSync(letter, fifo);
  await box.daemon();
  expect(await box.status('w')).toMatchObject({ phase: 'running', pid });
  const shim = box.shimPid;
  await (await box.client()).call('stop', { name: 'w', graceMs: 500 });
  expect([box.shimPid, box.livingRuns('w')]).toEqual([shim, []]);
  expect(readFileSync(letter, 'utf8')).toBe(precious);
});
