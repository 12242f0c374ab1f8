import { describe, expect, test } from 'vitest';
import { isGlob, matchesGlob } from '../../src/shared/glob.ts';

describe('globs over names', () => {
  test.each([
    ['*', 'web', true],
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['web', 'web', true],
    ['web', 'web-2', false],
    ['web*', 'web-2', true],
    ['*-2', 'web-2', true],
    ['*b-*', 'web-2', true],
    ['w?b', 'web', true],
    ['w?b', 'wb', false],
    ['web-[0-9]', 'web-7', true],
    ['web-[0-9]', 'web-x', false],
    ['web-[!0-9]', 'web-x', true],
    ['web-[^0-9]', 'web-7', false],
    ['[abc]', 'b', true],
    ['[a-]', '-', true],
    ['[]a]', ']', true],
    ['[abc', 'a', false],
    ['a.c', 'abc', false],
    ['a**b', 'axyb', true],
    ['*a*b*c', 'xaybzc', true],
    ['*a*b*c', 'xaybzd', false],
    ['*aab', 'aaab', true],
    ['*aab*', 'aaaabaa', true],
    [`*${'a'.repeat(40)}b`, `${'a'.repeat(63)}b`, true],
    [`*${'a'.repeat(40)}b`, 'a'.repeat(64), false],
    ['?'.repeat(64), 'a'.repeat(64), true],
    [`${'?'.repeat(32)}*`, 'a'.repeat(31), false],
    [`${'?'.repeat(32)}*`, 'a'.repeat(32), true],
    ['ü*', 'üx', true],
    ['[!a]*', 'ü', true],
  ])('%s against %s: %s', (pattern, name, matches) => {
    expect(matchesGlob(pattern, name)).toBe(matches);
  });

  test('a literal is no glob', () => {
    expect(isGlob('web-1.a_b')).toBe(false);
    expect(isGlob('web-*')).toBe(true);
    expect(isGlob('web-?')).toBe(true);
    expect(isGlob('web-[12]')).toBe(true);
  });

  test('H10: hostile patterns cost a step a character', () => {
    const before = performance.now();
    expect(matchesGlob(`${'*a'.repeat(50_000)}b`, 'a'.repeat(64))).toBe(false);
    // Each start of each name looks like a match until its very end.
    for (let count = 0; count < 100; count += 1) {
      const pattern = `*${'[a-z]'.repeat(30)}!${count}`;
      for (let index = 0; index < 1000; index += 1) {
        if (matchesGlob(pattern, 'a'.repeat(60) + index)) throw new Error(pattern);
      }
    }
    expect(performance.now() - before).toBeLessThan(2000);
  });
});
