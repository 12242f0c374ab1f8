/**
 * The log's writer beside its readers, whatever happens between: rotation, segments dropped while they are read, and
 * somebody who takes files away or cuts them. Each byte comes once and in order, or it is said that it is missing.
 */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readPage } from '../../src/daemon/log-pages.ts';
import { RotatingLog } from '../../src/daemon/shim/rotating-log.ts';
import { readLines } from '../../src/shared/log-blocks.ts';
import { listSegments } from '../../src/shared/log-file.ts';
import { RunFollower } from '../../src/shared/log-follow.ts';
import { LineAssembler, type LogChunk, type LogLine } from '../../src/shared/log-lines.ts';
import { startOf } from '../../src/shared/log-position.ts';
import { readChunks } from '../../src/shared/log-reader.ts';
import { tailLines } from '../../src/shared/tail.ts';

let directory: string;
let remarks: string[];
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'workerd-harm-')), 'w');
  remarks = [];
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(join(directory, '..'), { recursive: true, force: true });
});

const writer = (more: { generation?: number; maxBytes?: number; files?: number } = {}) =>
  new RotatingLog({
    directory,
    generation: 1,
    maxBytes: 1024 * 1024,
    files: 1000,
    onRemark: (message) => remarks.push(message),
    ...more,
  });

interface Piece {
  readonly stream: 'o' | 'e';
  readonly bytes: Buffer;
}
/** A newline now and then; every other byte tells its neighbours apart. */
const piece: fc.Arbitrary<Piece> = fc.record({
  stream: fc.constantFrom('o' as const, 'e' as const),
  bytes: fc
    .uint8Array({ minLength: 1, maxLength: 80 })
    .map((bytes) => Buffer.from(bytes.map((byte) => (byte < 40 ? 10 : byte)))),
});
const step = fc.oneof({ weight: 3, arbitrary: piece }, { weight: 1, arbitrary: fc.constant('look' as const) });

/** What a reader with gaps was given, held against all that was written: no byte twice, none missing unsaid. */
class Account {
  reached: number;
  gone = 0;

  constructor(from = 0) {
    this.reached = from;
  }

  take(chunks: Iterable<LogChunk>, all: Buffer): void {
    for (const { bytes, offset, lost } of chunks) {
      if (lost !== undefined) {
        expect(lost.why).toBe('gone');
        this.gone += lost.bytes;
        this.reached += lost.bytes;
      }
      expect(offset).toBe(this.reached);
      expect(bytes.equals(all.subarray(offset, offset + bytes.length))).toBe(true);
      this.reached += bytes.length;
    }
  }
}

describe('readers beside a writer', () => {
  test('a follower that looks now and then has each byte once, and is told of those that rotated away', () => {
    const sizes = { maxBytes: fc.integer({ min: 60, max: 900 }), files: fc.integer({ min: 1, max: 4 }) };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.record(sizes), (steps, bounds) => {
        rmSync(directory, { recursive: true, force: true });
        const log = writer(bounds);
        const followers = [new RunFollower(directory, 1, { from: 0, gaps: true })];
        const accounts = [new Account()];
        let all = Buffer.alloc(0);
        for (const one of steps) {
          if (one === 'look') accounts[0]?.take(followers[0]?.read() ?? [], all);
          else {
            log.write(one.stream, one.bytes);
            all = Buffer.concat([all, one.bytes]);
          }
        }
        log.close();
        // One that comes late: what is there is read, from the first byte that is.
        followers.push(new RunFollower(directory, 1, { from: 0, gaps: true }));
        accounts.push(new Account());
        for (const [index, follower] of followers.entries()) {
          accounts[index]?.take(follower.read(true), all);
          follower.close();
          expect(accounts[index]?.reached).toBe(all.length);
        }
        const kept = listSegments(directory).reduce((sum, { logPath }) => sum + statSync(logPath).size, 0);
        expect(accounts[1]?.gone).toBe(all.length - kept);
        if (bounds.files > 1) expect(accounts[0]?.gone).toBeLessThanOrEqual(accounts[1]?.gone ?? 0);
      }),
      { numRuns: 120 },
    );
  });

  test('pages that go on from each other’s cursors have each line once, while it is written and rotated', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 100, max: 900 }), (steps, maxBytes) => {
        rmSync(directory, { recursive: true, force: true });
        const log = writer({ maxBytes });
        const expected = new Map([
          ['stdout', Buffer.alloc(0)],
          ['stderr', Buffer.alloc(0)],
        ]);
        const found = new Map<string, string[]>([
          ['stdout', []],
          ['stderr', []],
        ]);
        let position = startOf(1);
        const page = (follow: boolean): void => {
          for (let atEnd = false; !atEnd; ) {
            const answer = readPage(directory, position, { follow, maxBytes: 1 });
            for (const { stream, line } of answer.lines) found.get(stream)?.push(line.toString('latin1'));
            position = answer.position;
            atEnd = answer.atEnd;
          }
        };
        for (const one of steps) {
          if (one === 'look') page(true);
          else {
            const stream = one.stream === 'o' ? 'stdout' : 'stderr';
            log.write(one.stream, one.bytes);
            expected.set(stream, Buffer.concat([expected.get(stream) ?? Buffer.alloc(0), one.bytes]));
          }
        }
        log.close();
        page(false);
        for (const [stream, bytes] of expected) {
          const lines = bytes.toString('latin1').split('\n');
          if (lines.at(-1) === '') lines.pop();
          expect(found.get(stream)).toEqual(lines);
        }
      }),
      { numRuns: 80 },
    );
  });
});

const filled = (lines: number, maxBytes: number, files = 1000): string => {
  const log = writer({ maxBytes, files });
  let all = '';
  for (let index = 0; index < lines; index += 1) {
    log.write(index % 3 === 0 ? 'e' : 'o', Buffer.from(`line ${index}\n`));
    all += `line ${index}\n`;
  }
  log.close();
  return all;
};
const bytesOf = (from?: number): string =>
  Buffer.concat([...readChunks(directory, 1, { from })].map(({ bytes }) => bytes)).toString();

describe('an index that is gone', () => {
  const ways = ['deleted', 'emptied', 'cut in half', 'cut within its first line'] as const;
  const harm = (path: string, how: (typeof ways)[number]): void => {
    if (how === 'deleted') rmSync(path);
    else truncateSync(path, how === 'emptied' ? 0 : how === 'cut in half' ? statSync(path).size >> 1 : 3);
  };

  test.each(ways)('%s: of any segments, every reader comes to its end with every byte', (how) => {
    for (const which of [[0], [1], [2], [1, 2], [0, 1, 2, 3], [0, 3]]) {
      rmSync(directory, { recursive: true, force: true });
      const all = filled(150, 600);
      const segments = listSegments(directory).filter(({ number }) => number !== null);
      expect(segments.length).toBeGreaterThan(3);
      for (const index of which) harm(segments[index]?.idxPath ?? '', how);
      expect(bytesOf()).toBe(all);
      expect(bytesOf(700)).toBe(all.slice(700));
      const lines = [...readLines(directory)].map(({ line }) => line.toString());
      for (const count of [1, 20, 140]) {
        const last = tailLines(directory, count).lines.map(({ line }) => line.toString());
        expect(last).toEqual(lines.slice(-count));
      }
      const follower = new RunFollower(directory, 1, { from: 0, gaps: true });
      const account = new Account();
      account.take(follower.read(), Buffer.from(all));
      expect(account).toMatchObject({ reached: all.length, gone: 0 });
      follower.close();
    }
  });

  test('of a run that is over, the newest: its lines are shown all the same', () => {
    const all = filled(20, 100_000);
    rmSync(join(directory, '1.idx'));
    expect(bytesOf()).toBe(all);
    expect(tailLines(directory, 2).lines.map(({ line }) => line.toString())).toEqual(['line 18', 'line 19']);
  });

  test('under its writer: made anew, by the next write or at the end', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    for (const how of ways) {
      for (const writes of [true, false]) {
        rmSync(directory, { recursive: true, force: true });
        const log = writer({ maxBytes: 500 });
        let all = '';
        for (let index = 0; index < 60; index += 1) {
          log.write('o', Buffer.from(`line ${index}\n`));
          all += `line ${index}\n`;
        }
        harm(join(directory, '1.idx'), how);
        vi.advanceTimersByTime(1001);
        if (writes) {
          log.write('e', Buffer.from('after\n'));
          all += 'after\n';
        }
        log.close();
        expect(bytesOf()).toBe(all);
        expect(remarks.splice(0)).toHaveLength(1);
      }
    }
  });
});

test.each(['fifo', 'directory', 'link'])('a %s under the name of a segment or an index is none', (what) => {
  const plant = (path: string) => {
    if (what === 'fifo') execFileSync('mkfifo', [path]);
    else if (what === 'directory') mkdirSync(path);
    else symlinkSync('/dev/zero', path);
  };
  const all = filled(150, 600);
  for (const name of ['1.99.log', '1.0.log', '2.log']) plant(join(directory, name));
  rmSync(join(directory, '1.2.idx'));
  plant(join(directory, '1.2.idx'));
  expect(bytesOf()).toBe(all);
  expect(tailLines(directory, 1, { generation: 1 }).lines[0]).toMatchObject({ line: Buffer.from('line 149') });
  const next = writer({ generation: 3 });
  next.write('o', Buffer.from('more'));
  next.close();
  expect(tailLines(directory, 1).lines[0]).toMatchObject({ line: Buffer.from('more') });
});

describe('between the two renames of a rotation', () => {
  test('every reader takes the index under its old name for what it is', () => {
    const all = filled(150, 600);
    const number = listSegments(directory).length;
    renameSync(join(directory, '1.log'), join(directory, `1.${number}.log`));
    expect(bytesOf()).toBe(all);
    const [first] = readChunks(directory, 1, { from: all.length - 8 });
    expect(first?.bytes.toString()).toBe(all.slice(-8));
    expect(tailLines(directory, 1).lines[0]).toMatchObject({ line: Buffer.from('line 149') });
  });
});

describe('somebody with an axe', () => {
  const harms = {
    'deletes the log': () => rmSync(join(directory, '1.log'), { force: true }),
    'renames the log': () => renameSync(join(directory, '1.log'), join(directory, 'mine')),
    'empties the log': () => truncateSync(join(directory, '1.log')),
    'cuts the log': () => truncateSync(join(directory, '1.log'), 5),
    'deletes the index': () => rmSync(join(directory, '1.idx'), { force: true }),
    'cuts the index': () => truncateSync(join(directory, '1.idx'), 20),
    'deletes the directory': () => rmSync(directory, { recursive: true }),
    'renames the directory': () => renameSync(directory, `${directory}-mine`),
  };

  test.each(Object.entries(harms))('%s: a follower has nothing twice, and all that comes after', (_what, harm) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    for (const maxBytes of [300, 1_000_000]) {
      // Noticed by the next write; or by then it has grown beyond what it was.
      for (const [pause, regrown] of [
        [0, 10],
        [0, 60],
        [1001, 10],
      ] as const) {
        for (const place of [directory, `${directory}-mine`]) rmSync(place, { recursive: true, force: true });
        const log = writer({ maxBytes });
        const follower = new RunFollower(directory, 1, { from: 0, gaps: true });
        const assembler = new LineAssembler();
        const found: LogLine[] = [];
        const look = (ended = false) => {
          for (const chunk of follower.read(ended)) found.push(...assembler.push(chunk));
        };
        let number = 0;
        const write = (count: number) => {
          for (let index = 0; index < count; index += 1) log.write('o', Buffer.from(`line ${number++}\n`));
        };
        write(20);
        look();
        write(5);
        harm();
        vi.advanceTimersByTime(pause);
        for (let index = 0; index < regrown; index += 1) {
          write(1);
          if (regrown === 10 && index % 7 === 0) look();
        }
        look();
        vi.advanceTimersByTime(1001);
        const after = number;
        write(30);
        look();
        write(3);
        log.close();
        look(true);
        follower.close();
        const numbers = found
          .filter(({ lost, partial }) => lost === undefined && !partial)
          .flatMap(({ line }) => /^line (\d+)$/.exec(line.toString())?.[1] ?? [])
          .map(Number);
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        expect(numbers.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, index) => index));
        expect(numbers.filter((seen) => seen >= after)).toEqual(
          Array.from({ length: 33 }, (_, index) => after + index),
        );
        const lost = found.reduce((sum, one) => sum + (one.lost?.bytes ?? 0), 0);
        if (numbers.length < number) expect(lost).toBeGreaterThan(0);
      }
    }
  });
});

describe('what is missing', () => {
  test('a log that cannot be written until the end: its bytes are marked, where it ended or went on', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const log = writer();
    log.write('o', Buffer.from('before\nhalf'));
    rmSync(directory, { recursive: true });
    writeFileSync(directory, 'in its way');
    vi.advanceTimersByTime(1001);
    log.write('o', Buffer.from('lost'));
    expect(log.droppedBytes).toBe(4);
    rmSync(directory);
    log.close();
    expect([...readChunks(directory, 1, { gaps: true })].map(({ lost }) => lost)).toEqual([
      { bytes: 4, why: 'unwritten' },
    ]);
  });

  test('it parts the lines around it, in order, and does not count as one of the last', () => {
    const log = writer();
    log.write('o', Buffer.from('one\ntwo'));
    log.close();
    const idx = join(directory, '1.idx');
    writeFileSync(idx, `${readFileSync(idx, 'latin1')}${Date.now()} ! 77\n`);
    const next = writer();
    next.write('o', Buffer.from('rest\nthree\n'));
    next.close();
    const shown = (lines: readonly LogLine[]) =>
      lines.map(({ line, partial, lost }) => lost?.bytes ?? `${line}${partial ? '…' : ''}`);
    expect(shown([...readLines(directory, { gaps: true })])).toEqual(['one', 'two…', 77, 'rest', 'three']);
    expect(shown(tailLines(directory, 3, { gaps: true }).lines)).toEqual(['two…', 77, 'rest', 'three']);
    expect(shown([...readLines(directory)])).toEqual(['one', 'tworest', 'three']);
  });
});

describe('since a time', () => {
  test('what was dropped before it is not missing', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.UTC(2026, 0, 1);
    vi.setSystemTime(start);
    const log = writer({ maxBytes: 2000, files: 2 });
    for (let index = 0; index < 1000; index += 1) {
      vi.setSystemTime(start + index * 1000);
      log.write('o', Buffer.from(`line ${index}\n`));
    }
    log.close();
    const since = start + 990_000;
    const expected = Array.from({ length: 10 }, (_, index) => `line ${990 + index}`);
    const text = ({ line, lost }: LogLine) => (lost === undefined ? line.toString() : lost);
    expect([...readLines(directory, { since, gaps: true })].map(text)).toEqual(expected);
    expect(tailLines(directory, 100, { since, gaps: true }).lines.map(text)).toEqual(expected);
    const page = readPage(directory, startOf(1), { since, follow: false, maxBytes: 100_000 });
    expect(page.lines.map(text)).toEqual(expected);
  });

  test('a line that began before it comes whole, one that ended before it not at all', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.UTC(2026, 0, 1);
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 60 }), fc.integer({ min: 0, max: 60 }), (pieces, cut) => {
        rmSync(directory, { recursive: true, force: true });
        vi.setSystemTime(start);
        const log = writer({ maxBytes: 500 });
        for (const [index, { stream, bytes }] of pieces.entries()) {
          vi.setSystemTime(start + index * 1000);
          log.write(stream, bytes);
        }
        log.close();
        const since = start + cut * 1000;
        const all = [...readLines(directory)].filter(({ at }) => at >= since);
        const text = ({ stream, line, partial }: LogLine) => `${stream} ${line.toString('latin1')} ${partial}`;
        expect([...readLines(directory, { since })].map(text)).toEqual(all.map(text));
        for (const count of [1, 5, 100]) {
          expect(tailLines(directory, count, { since }).lines.map(text)).toEqual(all.slice(-count).map(text));
        }
      }),
      { numRuns: 60 },
    );
  });
});

test('of many short runs the newest are kept, however little they wrote', () => {
  for (let generation = 1; generation <= 205; generation += 1) {
    const log = writer({ generation });
    log.write('o', Buffer.from(`run ${generation}\n`));
    log.close();
  }
  const kept = [...new Set(listSegments(directory).map((segment) => segment.generation))];
  expect([kept.length, kept[0], kept.at(-1)]).toEqual([200, 6, 205]);
});
