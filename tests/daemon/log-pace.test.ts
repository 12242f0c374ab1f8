/** The security model's bound on the daemon's own log: ten lines a second of a kind, then a count; and its file's. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createLog, FileSink, maxLogBytes } from '../../src/daemon/log.ts';
import { LogPace } from '../../src/daemon/log-pace.ts';
import { eventually } from '../helpers/eventually.ts';

const paced = () => {
  const clock = { now: 0, timers: [] as { at: number; callback: () => void }[] };
  const pace = new LogPace({
    mono: () => clock.now,
    after: (ms, callback) => void clock.timers.push({ at: clock.now + ms, callback }),
  });
  const said: string[] = [];
  return {
    said,
    flush: () => pace.flush(),
    say: (message: string, times: number) => {
      for (let n = 0; n < times; n += 1) {
        if (pace.admit(message, (more) => said.push(`${message} +${more}`))) said.push(message);
      }
    },
    pass: (ms: number) => {
      clock.now += ms;
      for (const timer of clock.timers.splice(0)) {
        if (timer.at <= clock.now) timer.callback();
        else clock.timers.push(timer);
      }
    },
  };
};
const times = (message: string, count: number): readonly string[] => Array.from({ length: count }, () => message);

test('ten lines a second of a message, then how many more; another message is none of its business', () => {
  const { said, say, pass } = paced();
  say('started', 1000);
  say('ended', 3);
  expect(said).toEqual([...times('started', 10), ...times('ended', 3)]);
  pass(999);
  say('started', 1);
  expect(said).toHaveLength(13);
  pass(1);
  expect(said.at(-1)).toBe('started +991');
  say('started', 10);
  expect(said.slice(14)).toEqual(times('started', 10));
  pass(1000);
  expect(said, 'as many as may be: nothing is left to say').toHaveLength(24);
});

test('what is counted is said before the log ends, and before the next second is', () => {
  const { said, say, flush } = paced();
  say('started', 12);
  flush();
  flush();
  expect(said).toEqual([...times('started', 10), 'started +2']);
});

test('messages without end do not pile up', () => {
  const { said, say, pass } = paced();
  for (let n = 0; n < 10_000; n += 1) say(`message ${n}`, 1);
  say('last', 11);
  pass(1000);
  expect(said).toHaveLength(10_011);
});

const scratch = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'wd-log-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'workerd.log');
};

test('the log itself keeps to it', async () => {
  const file = scratch();
  const log = createLog({ level: 'info', terminal: false, file });
  for (let n = 0; n < 50; n += 1) log.info({ n }, 'worker started');
  log.warn({}, 'something else');
  const lines = () =>
    readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: string; n?: number; more?: number; msg: string });
  expect(lines().map(({ n, msg }) => n ?? msg)).toEqual([...Array(10).keys(), 'something else']);
  await eventually(() => lines().length > 11);
  expect(lines().at(-1)).toMatchObject({ level: 'info', more: 40, msg: 'worker started: so many more' });
  for (let n = 0; n < 50; n += 1) log.info({ n }, 'worker started');
  log.sayCounted();
  expect(lines().at(-1), 'before its process becomes another').toMatchObject({ more: 40 });
  expect(lines()).toHaveLength(12 + 11);
});

test('a file that is full is kept beside the new one, and the one before that goes', () => {
  const file = scratch();
  const sink = new FileSink(file);
  const line = `${'x'.repeat(1024 * 1024 - 1)}\n`;
  for (let n = 0; n < 25; n += 1) sink.write(line);
  expect(statSync(`${file}.1`).size).toBe(maxLogBytes + line.length);
  expect(statSync(file).size).toBe(3 * line.length);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('one that somebody took away is begun anew, and not written on for ever where nobody sees it', () => {
  const file = scratch();
  const sink = new FileSink(file);
  const line = `${'x'.repeat(1024 * 1024 - 1)}\n`;
  for (let n = 0; n < 3; n += 1) sink.write(line);
  rmSync(file);
  for (let n = 0; n < 12; n += 1) sink.write(line);
  expect(statSync(file).size).toBe(4 * line.length);
});
