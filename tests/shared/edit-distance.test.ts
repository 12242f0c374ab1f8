/** The distance of words: the same as by the whole table, and cheap where only near ones matter. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { editDistance } from '../../src/shared/edit-distance.ts';
import { seeded } from '../helpers/fake-chance.ts';

/** Each cell by its definition. */
const byTable = (left: string, right: string): number => {
  const rows: number[][] = [];
  for (let row = 0; row <= left.length; row += 1) {
    const line: number[] = [];
    for (let column = 0; column <= right.length; column += 1) {
      const at = (up: number, back: number) => (rows[row - up] ?? line)[column - back] ?? 0;
      if (row === 0 || column === 0) {
        line.push(row + column);
        continue;
      }
      const ends = [line[column - 1] ?? 0, at(1, 0)].map((cost) => cost + 1);
      ends.push(at(1, 1) + (left[row - 1] === right[column - 1] ? 0 : 1));
      const isSwap = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && isSwap) ends.push(at(2, 2) + 1);
      line.push(Math.min(...ends));
    }
    rows.push(line);
  }
  return rows[left.length]?.[right.length] ?? 0;
};

test.each([
  ['', '', 0],
  ['web', 'web', 0],
  ['wbe', 'web', 1],
  ['stauts', 'status', 1],
  ['counter', 'conter2', 2],
  ['abc', 'xyz', 3],
])('%s and %s: %i', (left, right, distance) => {
  expect(editDistance(left, right)).toBe(distance);
  expect(editDistance(right, left)).toBe(distance);
});

test('as by the whole table, up to what matters', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 9 });
  fc.assert(
    fc.property(word, word, fc.nat(6), (left, right, most) => {
      const distance = byTable(left, right);
      expect(editDistance(left, right)).toBe(distance);
      expect(editDistance(left, right, most)).toBe(distance > most ? Infinity : distance);
    }),
    seeded(2000),
  );
});
