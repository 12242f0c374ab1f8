/** Definitions: default names, equality, what differs in words, the nearest name. Pure. */
import { basename, extname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { WorkerdError } from '../shared/errors.ts';
import type { Spec } from '../shared/worker.ts';

/** The file's name without its ending, or that of the program; made into a legal name. */
export const defaultName = (spec: Spec): string => {
  const path = spec.kind === 'command' ? (spec.command[0] ?? '') : spec.module;
  const file = basename(path);
  const stem = spec.kind === 'command' ? file : file.slice(0, file.length - extname(file).length) || file;
  const legal = stem
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 60);
  return legal === '' ? 'worker' : legal;
};

/** Members that make two definitions differ; `umask` is none. */
export const differences = (before: Spec, after: Spec): readonly string[] => {
  const members = new Set([...Object.keys(before), ...Object.keys(after)]);
  members.delete('umask');
  const [left, right] = [before as object as Record<string, unknown>, after as object as Record<string, unknown>];
  return [...members].filter((member) => !isDeepStrictEqual(left[member], right[member])).sort();
};
export const isSameDefinition = (before: Spec, after: Spec): boolean => differences(before, after).length === 0;

/** The known name that is nearest to one that is not, if any is near. */
export const nearestName = (name: string, known: readonly string[]): string | null => {
  let best: string | null = null;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known.slice(0, 10_000)) {
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best ?? known.find((candidate) => name.length >= 3 && candidate.startsWith(name)) ?? null;
};

/** Optimal string alignment: a swap of neighbours counts once. */
const editDistance = (left: string, right: string): number => {
  let twoBack: number[] = [];
  let back = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const line = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      let cost = Math.min(
        (line[column - 1] ?? 0) + 1,
        (back[column] ?? 0) + 1,
        (back[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]) {
        cost = Math.min(cost, (twoBack[column - 2] ?? 0) + 1);
      }
      line.push(cost);
    }
    twoBack = back;
    back = line;
  }
  return back[right.length] ?? 0;
};

export const notFound = (name: string, known: readonly string[]): WorkerdError => {
  const nearest = nearestName(name, known);
  const next = nearest === null ? 'See all with: workerctl status' : `Did you mean "${nearest}"?`;
  return new WorkerdError('worker.not-found', `no worker is named "${name}". ${next}`, { name, nearest });
};
