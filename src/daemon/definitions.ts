/** Definitions: default names, equality, what differs in words, the nearest name. Pure. */
import { basename, extname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { editDistance } from '../shared/edit-distance.ts';
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

export const notFound = (name: string, known: readonly string[]): WorkerdError => {
  const nearest = nearestName(name, known);
  const next = nearest === null ? 'See all with: workerctl status' : `Did you mean "${nearest}"?`;
  return new WorkerdError('worker.not-found', `no worker is named "${name}". ${next}`, { name, nearest });
};
