/** Definitions: default names, sizes, equality, what differs in words, the nearest name. Pure. */
import { basename, extname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { editDistance } from '../shared/edit-distance.ts';
import { exitCodes, WorkerdError } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import type { Caller, Spec } from '../shared/worker.ts';
import { capturedCaller, workerEnvironment } from './environment.ts';

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

/** For what an order to the shim holds besides. */
const orderRoom = 16 * 1024;

/**
 * All that the worker gets with its start: what the caller's and its own environment and its arguments are in sum, and
 * that they fit, as JSON, into the one message that tells the shim to start it. A thread's are in it twice.
 */
const checkSize = (name: string, spec: Spec, caller: Caller): void => {
  const identity = { run: `${name}.1.00000000`, name, generation: 1 };
  const places = { home: '', socket: '' };
  const env = workerEnvironment({ spec, caller: capturedCaller(spec, caller), identity, places, account: null });
  const argv = spec.kind === 'command' ? spec.command : [];
  const strings = [...argv, ...Object.entries(env).map(([key, value]) => `${key}=${value}`)];
  const bytes = strings.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0);
  const copies = spec.kind === 'thread' ? 2 : 1;
  // A byte takes six as JSON at most.
  const mayNotFit = 6 * copies * bytes > limits.maxFrameBytes - orderRoom;
  const asJson = mayNotFit
    ? Buffer.byteLength(JSON.stringify([strings, copies === 2 ? [strings, spec.params] : []]))
    : 0;
  if (bytes <= limits.maxEnvironmentBytes && asJson <= limits.maxFrameBytes - orderRoom) return;
  const most = `at most ${limits.maxEnvironmentBytes / 1024} KiB`;
  throw unfit(
    `spec: environment and arguments must be ${most} in sum, and ${limits.maxFrameBytes / 1024} KiB as JSON; these are ${bytes} bytes. Name what it needs with -e and leave the rest away with --clean-env`,
    { member: 'spec', bytes },
  );
};

const unfit = (message: string, details: Readonly<Record<string, unknown>>): WorkerdError =>
  new WorkerdError('usage', `invalid params: ${message}`, details);

/** What a schema cannot say of a definition. */
export const checkSpec = (name: string, spec: Spec, caller: Caller): void => {
  const member = 'spec.user';
  if (spec.user !== null && process.getuid?.() !== 0) {
    const exitCode = exitCodes.noPermission;
    throw unfit('spec.user: only the daemon of root runs workers as others', { member, exitCode });
  }
  // The host of such threads could not reach what lies in our home, which is closed to others.
  if (spec.user !== null && spec.kind === 'thread')
    throw unfit('spec.user: a thread has no user of its own; use kind process', { member });
  if (spec.stdin && spec.kind === 'thread') {
    throw unfit('spec.stdin: a thread has none of its own; what is sent reaches ctx.messages without it', {
      member: 'spec.stdin',
    });
  }
  checkSize(name, spec, caller);
};

/** Members that make two definitions differ; `umask` is none. */
export const differences = (before: Spec, after: Spec): readonly string[] => {
  const members = new Set([...Object.keys(before), ...Object.keys(after)]);
  members.delete('umask');
  const [left, right] = [before as object as Record<string, unknown>, after as object as Record<string, unknown>];
  return [...members].filter((member) => !isDeepStrictEqual(left[member], right[member])).sort();
};
export const isSameDefinition = (before: Spec, after: Spec): boolean => differences(before, after).length === 0;

/** Farther apart than this are no slips of a key, however long the names. */
const mostSlips = 5;
/** A longer one is no name that anybody mistyped. */
const longestMistyped = 100;

/** The known name that is nearest to one that is not, if any is near. */
export const nearestName = (name: string, known: readonly string[]): string | null => {
  if (name.length > longestMistyped) return null;
  const wanted = name.toLowerCase();
  let best: string | null = null;
  // Of one where every letter differs nobody thought.
  let most = Math.min(mostSlips, Math.max(2, Math.floor(name.length / 3)), name.length - 1);
  for (const candidate of known.slice(0, 10_000)) {
    const distance = editDistance(wanted, candidate.toLowerCase(), most);
    if (distance > most) continue;
    best = candidate;
    most = distance - 1;
    if (most < 0) break;
  }
  return best ?? known.find((candidate) => name.length >= 3 && candidate.startsWith(name)) ?? null;
};

export const notFound = (name: string, known: readonly string[]): WorkerdError => {
  const nearest = nearestName(name, known);
  const next = nearest === null ? 'See all with: workerctl status' : `Did you mean "${nearest}"?`;
  return new WorkerdError('worker.not-found', `no worker is named "${name}". ${next}`, { name, nearest });
};
