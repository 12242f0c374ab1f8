/**
 * Resource limits (getrlimit(2)) as /proc tells of them: read from a process, captured with a definition, and put on a
 * worker by `prlimit`, as Node can neither ask for nor set them.
 */
import { readFileSync } from 'node:fs';

/** Each by the name that `prlimit` has for it, with the one that /proc has. */
const labels = {
  as: 'Max address space',
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
} as const;
export type ResourceName = keyof typeof labels;
export const resourceNames = Object.keys(labels) as readonly ResourceName[];

/** Soft limits, in the kernel's own units (bytes, seconds of CPU, µs of real time, numbers); `null`: unlimited. */
export type SoftLimits = { readonly [N in ResourceName]?: number | null | undefined };

/** In the kernel's own units; `Infinity`: unlimited. */
export interface Bounds {
  readonly soft: number;
  readonly hard: number;
}
export type AllBounds = { readonly [N in ResourceName]?: Bounds };

/** What `/proc/PID/limits` says. */
export const boundsIn = (text: string): AllBounds =>
  Object.fromEntries(
    resourceNames.flatMap((name) => {
      const [, soft, hard] = new RegExp(`^${labels[name]} +(\\d+|unlimited) +(\\d+|unlimited)`, 'm').exec(text) ?? [];
      return soft === undefined || hard === undefined ? [] : [[name, { soft: numberOf(soft), hard: numberOf(hard) }]];
    }),
  );

/** What JSON would not hold exactly is more than any machine has. */
const numberOf = (text: string): number =>
  Number(text) <= Number.MAX_SAFE_INTEGER ? Number(text) : Number.POSITIVE_INFINITY;

/** Of a process that is gone or cannot be looked at nothing is known. */
export const boundsOf = (pid: number | 'self'): AllBounds => {
  try {
    return boundsIn(readFileSync(`/proc/${pid}/limits`, 'latin1'));
  } catch {
    return {};
  }
};

const asLimit = (soft: number): number | null => (Number.isFinite(soft) ? soft : null);

/**
 * The soft limit of open files that we were started under: Node has raised it to the hard one since. The programs look
 * before that (scripts/build.mjs); otherwise whoever started us has most probably the same. `null`: unlimited or not known.
 */
export const startersOpenFiles = (): number | null => {
  const { openFilesBefore } = globalThis as { readonly openFilesBefore?: string };
  const before = openFilesBefore === undefined ? boundsOf(process.ppid).nofile?.soft : numberOf(openFilesBefore);
  return asLimit(before ?? Number.POSITIVE_INFINITY);
};

/** Those under which we were started ourselves. */
export const startersLimits = (): SoftLimits => {
  const own = Object.entries(boundsOf('self')).map(([name, { soft }]) => [name, asLimit(soft)]);
  return { ...Object.fromEntries(own), nofile: startersOpenFiles() };
};

/**
 * The flags of `prlimit` that give a process, which would have `own`, these soft limits; none where it has them. More than
 * the hard limit nobody can have.
 */
export const limitFlags = (wanted: SoftLimits, own: AllBounds): readonly string[] =>
  resourceNames.flatMap((name) => {
    const limit = wanted[name];
    const bounds = own[name];
    if (limit === undefined || bounds === undefined) return [];
    const soft = Math.min(limit ?? Number.POSITIVE_INFINITY, bounds.hard);
    return soft === bounds.soft ? [] : [`--${name}=${Number.isFinite(soft) ? soft : 'unlimited'}:`];
  });
