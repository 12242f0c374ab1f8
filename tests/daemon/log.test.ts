/** The daemon's own log where it cannot be written: nobody ends of it, and what is lost is counted. */
import type { writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LineSink } from '../../src/daemon/log.ts';

const lines = (text: string): unknown[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => {
      try {
        return JSON.parse(line) as unknown;
      } catch {
        return line;
      }
    });

test('lines that a full disk does not take are counted, and said when it does again', () => {
  let text = '';
  let room = 14;
  const write = ((_fd: number, bytes: Buffer, offset: number) => {
    const taken = bytes.subarray(offset, offset + room);
    if (taken.length === 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    room -= taken.length;
    text += taken.toString('utf8');
    return taken.length;
  }) as typeof writeSync;
  const sink = new LineSink(0, write);
  // The first fits, the second in part, the third not at all.
  for (const n of [1, 2, 3]) sink.write(`{"line":${n}}\n`);
  expect(text).toBe('{"line":1}\n{"l');
  room = 10_000;
  sink.write('{"line":4}\n');
  expect(lines(text)).toEqual([
    { line: 1 },
    '{"l',
    expect.objectContaining({ level: 'warn', lines: 2, msg: 'lines of this log could not be written' }),
    { line: 4 },
  ]);
});

test('a descriptor that is not open ends nobody', () => {
  expect(() => new LineSink(9999).write('x\n')).not.toThrow();
});
