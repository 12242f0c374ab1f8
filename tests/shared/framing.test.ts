/** Bytes into frames, frames into values: cut anywhere, within the limits, never a throw. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exceedsDepth, FrameReader, isBlank, type Line, parseFrame } from '../../src/shared/framing.ts';
import { limits } from '../../src/shared/limits.ts';
import { seeded } from '../helpers/fake-chance.ts';

const text = (lines: readonly Line[] | 'too-large'): readonly string[] | 'too-large' =>
  lines === 'too-large' ? lines : lines.map((line) => line.toString());

describe('FrameReader', () => {
  it('gives whole lines without their ends, LF and CRLF alike, and keeps the rest', () => {
    const reader = new FrameReader();
    expect(text(reader.push(Buffer.from('{"a":1}\n{"b":2}\r\n\n{"c"')))).toEqual(['{"a":1}', '{"b":2}', '']);
    expect(reader.unfinished).toBe(true);
    expect(text(reader.push(Buffer.from(':3}\n')))).toEqual(['{"c":3}']);
    expect(reader.unfinished).toBe(false);
  });

  it('a line of exactly the limit is taken, one byte more is not', () => {
    expect(text(new FrameReader(8).push(Buffer.from('12345678\n')))).toEqual(['12345678']);
    expect(new FrameReader(8).push(Buffer.from('123456789\n'))).toBe('too-large');
  });

  it('does not wait for the end of a line that is too long already', () => {
    const reader = new FrameReader(8);
    expect(text(reader.push(Buffer.from('12345')))).toEqual([]);
    expect(reader.push(Buffer.from('6789'))).toBe('too-large');
  });

  it('lines that come together come as text where they are ASCII, others as the bytes that they are', () => {
    const reader = new FrameReader();
    expect(reader.push(Buffer.from('"alone"\n'))).toEqual([Buffer.from('"alone"')]);
    expect(reader.push(Buffer.from('{"a":1}\r\n\r\n\n"b"\n"ä'))).toEqual(['{"a":1}', '', '', '"b"']);
    expect(reader.push(Buffer.from('"\n"c"\n'))).toEqual([Buffer.from('"ä"'), '"c"']);
    expect(reader.push(Buffer.from([0x22, 0xff, 0x0a]))).toEqual([Buffer.from([0x22, 0xff])]);
  });

  it('any bytes cut anywhere give the same lines', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 20 }).map((each) => each.replaceAll(/[\r\n]/g, ' '));
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(200)), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(''));
        const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort(
          (a, b) => a - b,
        );
        const reader = new FrameReader();
        const frames = at.slice(1).flatMap((end, index) => text(reader.push(bytes.subarray(at[index], end))));
        expect(frames).toEqual(lines);
        expect(reader.unfinished).toBe(false);
      }),
      seeded(500),
    );
  });
});

describe('isBlank', () => {
  it.each([
    ['', true],
    [' \t\r', true],
    [' x', false],
    ['\v', false],
    ['\0', false],
  ])('%j: %s', (line, expected) => {
    expect(isBlank(Buffer.from(line))).toBe(expected);
    expect(isBlank(line)).toBe(expected);
  });
});

describe('parseFrame', () => {
  const nested = (levels: number) => Buffer.from(`${'['.repeat(levels)}${']'.repeat(levels)}`);

  it('takes 64 levels and refuses 65, however deep, without dying of it', () => {
    expect(parseFrame(nested(limits.maxDepth)).ok).toBe(true);
    for (const levels of [limits.maxDepth + 1, 5000, 500_000]) {
      expect(parseFrame(nested(levels))).toMatchObject({ ok: false, why: expect.stringContaining('64 levels') });
    }
    expect(parseFrame(Buffer.from('{"a":'.repeat(500_000))).ok).toBe(false);
  });

  it('brackets in strings are no levels, whatever is escaped in them', () => {
    const brackets = '[{'.repeat(100);
    expect(exceedsDepth(JSON.stringify([brackets, `\\${brackets}`, `"${brackets}\\`]))).toBe(false);
    expect(exceedsDepth(`["\\\\",${'['.repeat(64)}${']'.repeat(65)}`)).toBe(true);
  });

  it('agrees with the depth of any JSON value', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), fc.integer({ min: 0, max: 8 }), (value, most) => {
        expect(exceedsDepth(JSON.stringify(value), most)).toBe(depthOf(value) > most);
      }),
      seeded(1000),
    );
  });

  it.each([
    ['NaN'],
    ['// x'],
    ['[1,]'],
    ['{a:1}'],
    ['{} {}'],
    ['\0'],
    ['"\u0001"'],
    ['01'],
    ['{"a":1'],
    ["{'a':1}"],
    ['undefined'],
    [''],
  ])('%j is no JSON, in words that do not show it', (line) => {
    expect(parseFrame(Buffer.from(line))).toEqual({ ok: false, why: 'the message is not valid JSON' });
  });

  it('invalid UTF-8 is refused, not repaired', () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xc3, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xc0, 0xaf, 0x22],
    ]) {
      expect(parseFrame(Buffer.from(bytes))).toEqual({ ok: false, why: 'the message is not valid UTF-8' });
    }
  });

  it('any bytes give a value or a reason, never a throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const parsed = parseFrame(Buffer.from(bytes));
        if (!parsed.ok) expect(parsed.why).toMatch(/^the message is /);
      }),
      seeded(3000),
    );
  });
});
