/** The log's writer against its readers: what goes in comes out, however it was cut, rotated, interrupted or harmed. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { RotatingLog } from '../../src/daemon/shim/rotating-log.ts';
import { readLines } from '../../src/shared/log-blocks.ts';
import { listSegments } from '../../src/shared/log-file.ts';
import { followBlocks, followChunks } from '../../src/shared/log-follow.ts';
import { type LogLine, linesIn, readChunks } from '../../src/shared/log-reader.ts';
import { tailLines } from '../../src/shared/tail.ts';

let directory: string;
let remarks: string[];
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'workerd-log-')), 'w');
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

/** A full disk is a small one of our own, where we may make one. */
const canMount = (() => {
  const place = mkdtempSync(join(tmpdir(), 'workerd-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', place], { stdio: 'ignore' });
    execFileSync('umount', [place]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
})();

const bytesOf = (stream?: 'stdout' | 'stderr', merge = false): Buffer =>
  Buffer.concat(
    [...readChunks(directory, 1, { merge, ...(stream === undefined ? {} : { streams: [stream] }) })].map(
      ({ bytes }) => bytes,
    ),
  );
const texts = (lines: Iterable<LogLine>): string[] =>
  [...lines].map(({ line, partial }) => `${line}${partial ? '…' : ''}`);

const piece = fc.record({
  stream: fc.constantFrom('o' as const, 'e' as const),
  bytes: fc
    .uint8Array({ minLength: 1, maxLength: 60 })
    .map((bytes) => Buffer.from(bytes.map((byte) => (byte < 60 ? 10 : byte)))),
});

describe('what was written', () => {
  test('is read back byte for byte, per stream and in all, across segments', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), fc.integer({ min: 40, max: 600 }), (pieces, maxBytes) => {
        rmSync(directory, { recursive: true, force: true });
        const log = writer({ maxBytes });
        for (const { stream, bytes } of pieces) log.write(stream, bytes);
        log.close();
        const of = (stream?: 'o' | 'e') =>
          Buffer.concat(
            pieces.filter((one) => stream === undefined || one.stream === stream).map(({ bytes }) => bytes),
          );
        expect(bytesOf()).toEqual(of());
        expect(bytesOf(undefined, true)).toEqual(of());
        expect(bytesOf('stdout')).toEqual(of('o'));
        expect(bytesOf('stderr')).toEqual(of('e'));
        expect(Buffer.concat(listSegments(directory).map(({ logPath }) => readFileSync(logPath)))).toEqual(of());
        for (const [stream, mark] of [
          ['stdout', 'o'],
          ['stderr', 'e'],
        ] as const) {
          const lines = [...readLines(directory, { generation: 1, streams: [stream] })];
          const parts = of(mark).toString('latin1').split('\n');
          if (parts.at(-1) === '') parts.pop();
          expect(lines.map(({ line }) => line.toString('latin1'))).toEqual(parts);
        }
        const all = texts(readLines(directory, { generation: 1 }));
        for (const count of [1, 3, 10]) expect(texts(tailLines(directory, count).lines)).toEqual(all.slice(-count));
        const total = of().length;
        for (const from of [0, 1, total >> 1, total]) {
          const rest = [...readChunks(directory, 1, { from })].map(({ bytes }) => bytes);
          expect(Buffer.concat(rest)).toEqual(of().subarray(from));
        }
      }),
      { numRuns: 150 },
    );
  });

  test('keeps segments within their size and number, and gives the oldest up first', () => {
    const log = writer({ maxBytes: 1000, files: 3 });
    let all = '';
    for (let index = 0; index < 500; index += 1) {
      const line = `line ${index}\n`;
      all += line;
      log.write('o', Buffer.from(line));
    }
    log.close();
    const segments = listSegments(directory);
    expect(segments.length).toBeLessThanOrEqual(3);
    const sizes = segments.map(({ logPath, idxPath }) => statSync(logPath).size + statSync(idxPath).size);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1000);
    const kept = bytesOf().toString();
    expect(kept.length).toBeGreaterThan(500);
    expect(all.endsWith(kept)).toBe(true);
    const [first] = readChunks(directory, 1);
    expect(first?.offset).toBe(all.length - kept.length);
  });

  test('of earlier runs gives way to the newest', () => {
    const first = writer({ generation: 1, maxBytes: 1000, files: 2 });
    for (let index = 0; index < 60; index += 1) first.write('o', Buffer.from('0123456789\n'));
    first.close();
    const second = writer({ generation: 2, maxBytes: 1000, files: 2 });
    for (let index = 0; index < 300; index += 1) second.write('o', Buffer.from('0123456789\n'));
    second.close();
    expect(listSegments(directory).every(({ generation }) => generation === 2)).toBe(true);
    const total = listSegments(directory).reduce(
      (sum, { logPath, idxPath }) => sum + statSync(logPath).size + statSync(idxPath).size,
      0,
    );
    expect(total).toBeLessThanOrEqual(2000);
  });

  test('without a newline comes in pieces that split no character', () => {
    const log = writer();
    const text = 'ä€😀x'.repeat(20_000);
    log.write('o', Buffer.from(text));
    log.write('o', Buffer.from('\nend'));
    const lines = [...readLines(directory)];
    expect(lines.every(({ line }) => line.length <= 64 * 1024 && !line.toString().includes('\uFFFD'))).toBe(true);
    expect(
      lines
        .slice(0, -1)
        .map(({ line }) => line.toString())
        .join(''),
    ).toBe(text);
    expect(lines.map(({ partial }) => partial)).toEqual([...lines.slice(0, -2).map(() => true), false, true]);
    log.close();
  });
});

describe('time', () => {
  test('since and until are found in a long index', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.UTC(2026, 0, 1);
    const log = writer({ maxBytes: 200_000 });
    for (let index = 0; index < 20_000; index += 1) {
      vi.setSystemTime(start + index * 1000);
      log.write(index % 2 === 0 ? 'o' : 'e', Buffer.from(`${index}\n`));
    }
    log.close();
    const since = start + 15_000_000;
    expect(texts(readLines(directory, { since, until: since + 2000 }))).toEqual(['15000', '15001', '15002']);
    expect(texts(readLines(directory, { since: start + 19_997_000, streams: ['stderr'] }))).toEqual(['19997', '19999']);
    expect(texts(tailLines(directory, 2, { until: start + 100_000 }).lines)).toEqual(['99', '100']);
    expect(texts(tailLines(directory, 5, { since: start + 19_998_000 }).lines)).toEqual(['19998', '19999']);
    expect(texts(tailLines(directory, 3, { streams: ['stdout'] }).lines)).toEqual(['19994', '19996', '19998']);
  });
});

describe('the last lines', () => {
  test('are whole where a stream pauses within one', () => {
    const log = writer();
    log.write('o', Buffer.from('a stdout line that beg'));
    for (let index = 0; index < 1000; index += 1) log.write('e', Buffer.from(`err ${index}\n`));
    log.write('o', Buffer.from('ins early\n'));
    log.write('e', Buffer.from('unfinished'));
    expect(texts(tailLines(directory, 2).lines)).toEqual(['a stdout line that begins early', 'unfinished…']);
    log.close();
  });

  test('go back through earlier runs', () => {
    for (const generation of [1, 2, 3]) {
      const log = writer({ generation });
      log.write('o', Buffer.from(`run ${generation}\nend ${generation}`));
      log.close();
    }
    expect(texts(tailLines(directory, 3).lines)).toEqual(['end 2…', 'run 3', 'end 3…']);
    expect(tailLines(directory, 3).cursor).toEqual({ generation: 3, offset: 11 });
    expect(texts(tailLines(directory, Infinity, { generation: 2 }).lines)).toEqual(['run 2', 'end 2…']);
    expect(tailLines(join(directory, 'none'), 3)).toMatchObject({ lines: [], cursor: null });
  });
});

describe('following', () => {
  test('goes on through rotations, loses and doubles nothing, and ends after the last byte', async () => {
    const log = writer({ maxBytes: 3000 });
    log.write('o', Buffer.from('before 1\nbefore 2\nhalf '));
    const page = tailLines(directory, 1, { follow: true });
    expect(texts(page.lines)).toEqual(['before 2']);
    const ended = new AbortController();
    const found: string[] = [];
    const following = (async () => {
      const from = page.cursor?.offset ?? 0;
      const options = { from, unfinished: page.unfinished, signal: new AbortController().signal, ended: ended.signal };
      for await (const blocks of followBlocks(directory, 1, options)) found.push(...texts(linesIn(blocks)));
    })();
    log.write('o', Buffer.from('line\n'));
    const expected = ['half line'];
    for (let index = 0; index < 3000; index += 1) {
      log.write('o', Buffer.from(`n ${index}\n`));
      expected.push(`n ${index}`);
      if (index % 50 === 0) await new Promise((next) => setImmediate(next));
    }
    log.write('o', Buffer.from('rest'));
    expected.push('rest…');
    ended.abort();
    await following;
    log.close();
    expect(found).toEqual(expected);
    expect(listSegments(directory).length).toBeGreaterThan(5);
  });

  test('waits for a log that does not exist yet, wakes without polling, stops at once', async () => {
    const stop = new AbortController();
    const chunks = followChunks(directory, 1, { signal: stop.signal });
    const first = chunks.next();
    await new Promise((next) => setImmediate(next));
    const log = writer();
    log.write('e', Buffer.from('hello'));
    expect((await first).value?.[0]).toMatchObject({ stream: 'stderr', bytes: Buffer.from('hello'), offset: 0 });
    const second = chunks.next();
    stop.abort();
    expect(await second).toEqual({ done: true, value: undefined });
    log.close();
  });
});

describe('harm', () => {
  test('a writer that died is followed by one that accounts for all that was written', () => {
    const first = writer({ maxBytes: 400 });
    for (let index = 0; index < 40; index += 1) first.write('e', Buffer.from(`line ${index}\n`));
    first.close();
    appendFileSync(join(directory, '1.log'), 'not indexed\n');
    appendFileSync(join(directory, '1.idx'), '17000000');
    const before = bytesOf();
    const second = writer({ maxBytes: 400 });
    second.write('o', Buffer.from('after\n'));
    second.close();
    expect(bytesOf().toString()).toBe(`${before}not indexed\nafter\n`);
    expect(remarks).toEqual([]);
  });

  test('a writer that died between its two renames loses nothing', () => {
    const first = writer();
    first.write('o', Buffer.from('one\n'));
    first.close();
    renameSync(join(directory, '1.log'), join(directory, '1.1.log'));
    const second = writer();
    second.write('e', Buffer.from('two\n'));
    second.close();
    expect([...readChunks(directory, 1)].map(({ bytes, offset }) => [bytes.toString(), offset])).toEqual([
      ['one\n', 0],
      ['two\n', 4],
    ]);
  });

  test.each([
    ['deleted', (path: string) => rmSync(path)],
    ['renamed', (path: string) => renameSync(path, `${path}.moved`)],
    ['cut', (path: string) => truncateSync(path, 3)],
    ['deleted with its directory', (path: string) => rmSync(join(path, '..'), { recursive: true })],
  ])('a log that is %s is written again within a second', (_how, harm) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const log = writer();
    log.write('o', Buffer.from('before\n'));
    harm(join(directory, '1.log'));
    vi.advanceTimersByTime(1001);
    log.write('o', Buffer.from('after\n'));
    log.write('o', Buffer.from('more\n'));
    log.close();
    expect(remarks).toHaveLength(1);
    expect(bytesOf().toString()).toMatch(/after\nmore\n$/);
    expect([...readChunks(directory, 1)].at(-1)?.offset).toBe('before\nafter\n'.length);
  });

  test('a hard link planted at the name is refused, the bytes counted, and marked when it is gone', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const planted = writer({ generation: 7 });
    planted.close();
    linkSync(join(directory, '7.log'), join(directory, '1.log'));
    const log = writer();
    log.write('o', Buffer.from('dropped'));
    expect(log.droppedBytes).toBe(7);
    expect(statSync(join(directory, '7.log')).size).toBe(0);
    rmSync(join(directory, '1.log'));
    vi.advanceTimersByTime(300);
    log.write('o', Buffer.from('kept'));
    log.close();
    expect(bytesOf().toString()).toBe('kept');
    expect(readFileSync(join(directory, '1.idx'), 'latin1')).toMatch(/^\d+ ! 7\n\d+ o 4\n$/);
    expect(remarks).toHaveLength(2);
  });

  test.runIf(canMount)('a full disk costs bytes that are counted and marked, and is said once', () => {
    mkdirSync(directory);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=100k', 'tmpfs', directory]);
    try {
      const log = writer();
      for (let index = 0; index < 200; index += 1) log.write('o', Buffer.from(`${'x'.repeat(998)}\n`));
      expect(log.droppedBytes).toBeGreaterThan(50_000);
      const dropped = log.droppedBytes;
      execFileSync('mount', ['-o', 'remount,size=1m', directory]);
      log.write('e', Buffer.from('after\n'));
      log.close();
      expect(log.droppedBytes).toBe(dropped);
      expect(bytesOf()).toHaveLength(200 * 999 - dropped + 6);
      const marked = [...readFileSync(join(directory, '1.idx'), 'latin1').matchAll(/ ! (\d+)\n/g)].map(([, bytes]) =>
        Number(bytes),
      );
      expect(marked.reduce((sum, bytes) => sum + bytes, 0)).toBe(dropped);
      expect(remarks.length).toBeLessThanOrEqual(4);
      expect(remarks.at(-1)).toMatch(/is written again/);
    } finally {
      execFileSync('umount', [directory]);
    }
  });

  test('files are private', () => {
    writer().close();
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(directory)) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
  });
});
