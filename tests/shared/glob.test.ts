/** Globs over names: what each wildcard takes, and that no pattern can make matching slow. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isGlob, matchesGlob } from '../../src/shared/glob.ts';
import { seeded } from '../helpers/fake-chance.ts';

describe('matchesGlob', () => {
  it.each([
    ['web', 'web', true],
    ['web', 'web-1', false],
    ['web-*', 'web-1', true],
    ['web-*', 'web-', true],
    ['web-*', 'web', false],
    ['*', 'anything', true],
    ['*', '', true],
    ['**', 'x', true],
    ['?', 'a', true],
    ['?', '', false],
    ['?', 'ab', false],
    ['w?b', 'web', true],
    ['*a*b', 'xxaxxbxxb', true],
    ['*a*b', 'xxaxxbxxc', false],
    ['a*b*c', 'abbbc', true],
    ['[abc]1', 'b1', true],
    ['[abc]1', 'd1', false],
    ['[a-c]1', 'b1', true],
    ['[a-c]1', 'd1', false],
    ['[!a]1', 'b1', true],
    ['[!a]1', 'a1', false],
    ['[^a]1', 'b1', true],
    ['[]]', ']', true],
    ['[a-]', '-', true],
    ['[', '[', true],
    ['w[', 'w[', true],
    ['w.b', 'web', false],
    ['w.b', 'w.b', true],
    ['(a|b)', 'a', false],
    ['a+', 'aa', false],
    ['Web', 'web', false],
  ])('%j and %j: %s', (pattern, name, expected) => {
    expect(matchesGlob(pattern, name)).toBe(expected);
  });

  it('agrees with a definition by recursion', () => {
    const slow = (pattern: string, name: string): boolean => {
      const [head, rest] = [pattern.charAt(0), pattern.slice(1)];
      if (pattern === '') return name === '';
      if (head === '*') return slow(rest, name) || (name !== '' && slow(pattern, name.slice(1)));
      return name !== '' && (head === '?' || head === name.charAt(0)) && slow(rest, name.slice(1));
    };
    const text = (letters: string) => fc.string({ unit: fc.constantFrom(...letters), maxLength: 9 });
    const same = (pattern: string, name: string) => {
      expect(matchesGlob(pattern, name)).toBe(slow(pattern, name));
    };
    fc.assert(fc.property(text('ab*?'), text('ab'), same), seeded(3000));
  });

  it('H10: a hostile pattern of 100,000 characters is answered within 100 ms a name (asserted: 500)', () => {
    const before = performance.now();
    expect(matchesGlob(`${'*a'.repeat(50_000)}b`, 'a'.repeat(64))).toBe(false);
    expect(matchesGlob(`${'[a-z]*'.repeat(16_000)}!`, 'a'.repeat(64))).toBe(false);
    expect(matchesGlob('['.repeat(100_000), 'a')).toBe(false);
    expect(performance.now() - before).toBeLessThan(1500);
  });
});

describe('isGlob', () => {
  it.each([
    ['web', false],
    ['web-1.2_3', false],
    ['web*', true],
    ['w?b', true],
    ['[ab]', true],
    ['', false],
  ])('%j: %s', (text, expected) => expect(isGlob(text)).toBe(expected));
});
