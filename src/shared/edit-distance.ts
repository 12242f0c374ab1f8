/** How far two words are apart: insertions, deletions, replacements and swaps of neighbours count one each. */
export const editDistance = (left: string, right: string): number => {
  let twoBack: number[] = [];
  let back = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const line = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      const replaced = (back[column - 1] ?? 0) + (same ? 0 : 1);
      let cost = Math.min((line[column - 1] ?? 0) + 1, (back[column] ?? 0) + 1, replaced);
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && swapped) cost = Math.min(cost, (twoBack[column - 2] ?? 0) + 1);
      line.push(cost);
    }
    twoBack = back;
    back = line;
  }
  return back[right.length] ?? 0;
};
