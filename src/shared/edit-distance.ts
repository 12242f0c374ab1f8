/** How far two words are apart: insertions, deletions, replacements and swaps of neighbours count one each. */

/** Three rows of the table, used again and again: to make them anew takes longer than to fill them. */
let rows: readonly Int32Array[] = [];

/** What is farther apart than `most` is not counted out (`Infinity`): one word meets ten thousand in no time. */
export const editDistance = (one: string, other: string, most = Infinity): number => {
  if (Math.abs(one.length - other.length) > most) return Infinity;
  let start = 0;
  while (start < one.length && one[start] === other[start]) start += 1;
  const left = one.slice(start);
  const right = other.slice(start);
  const far = left.length + right.length + 1;
  const width = right.length + 2;
  if ((rows[0]?.length ?? 0) < width) rows = [0, 1, 2].map(() => new Int32Array(width));
  let [twoBack, back, line] = rows as [Int32Array, Int32Array, Int32Array];
  for (let column = 0; column < width; column += 1) back[column] = column;
  for (let row = 1; row <= left.length; row += 1) {
    // Farther from the diagonal than `most` nothing is near enough: there it counts as far.
    const from = Math.max(1, row - most);
    const to = Math.min(right.length, row + most);
    line[from - 1] = from === 1 ? row : far;
    let least = line[from - 1] as number;
    for (let column = from; column <= to; column += 1) {
      const same = left[row - 1] === right[column - 1];
      const replaced = (back[column - 1] as number) + (same ? 0 : 1);
      let cost = Math.min((line[column - 1] as number) + 1, (back[column] as number) + 1, replaced);
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && swapped) cost = Math.min(cost, (twoBack[column - 2] as number) + 1);
      line[column] = cost;
      if (cost < least) least = cost;
    }
    line[to + 1] = far;
    // Rows that follow are no nearer than this one, or than the one before it and a swap.
    if (least > most + 1) return Infinity;
    [twoBack, back, line] = [back, line, twoBack];
  }
  const distance = back[right.length] as number;
  return distance > most ? Infinity : distance;
};
