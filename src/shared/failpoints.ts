/**
 * Faults injected by name, for tests (docs/architecture.md has the table): `WORKERD_FAILPOINTS` is read once, at the
 * start of daemon and shim. Without it a failpoint is one comparison with `undefined`.
 *
 *   WORKERD_FAILPOINTS='store.commit=1*error(ENOSPC);orders.spawn.before=2*off->1*kill'
 *
 * `name=term[->term…]`, separated by `;`. A term is `[N*]action`: it holds for the next N times (without N: from then
 * on), then the next term does; after the last one the failpoint is off. Actions: `off`, `error(CODE)` throws an error
 * of that code, `sleep(MS)` stands still, `kill` is SIGKILL to the process itself.
 */
import { WorkerdError } from './errors.ts';

export const failpointVariable = 'WORKERD_FAILPOINTS';

export const failpointNames = [
  'adoption.begun',
  'facts.acknowledged',
  'facts.committed',
  'facts.folded',
  'facts.received',
  'orders.spawn.answered',
  'orders.spawn.asked',
  'orders.spawn.before',
  'release.before',
  'remove.committed',
  'rpc.history',
  'shim.ack.before',
  'shim.exit.seen',
  'shim.exit.told',
  'shim.release.before',
  'shim.spawn.forked',
  'shim.spawn.ordered',
  'shim.spawn.piped',
  'shim.spawn.told',
  'stop.asked',
  'stop.asked.before',
  'stop.closed',
  'stop.forced',
  'store.commit',
  'store.commit.after',
  'store.migrate.before',
  'store.migrate.done',
  'store.migrate.written',
] as const;
export type FailpointName = (typeof failpointNames)[number];

type Action =
  | { readonly kind: 'off' | 'kill' }
  | { readonly kind: 'error'; readonly code: string }
  | { readonly kind: 'sleep'; readonly ms: number };
interface Term {
  left: number;
  readonly action: Action;
}

let armed: ReadonlyMap<string, Term[]> | undefined;

/** Marks a place where a test may put a fault. */
export const failpoint = (name: FailpointName): void => {
  if (armed !== undefined) hit(armed, name);
};

/** For a place after which what was queued in this turn of the loop has been sent. */
export const failpointAfterTurn = (name: FailpointName): void => {
  const points = armed;
  if (points !== undefined) setImmediate(() => hit(points, name));
};

/** Reads the text and arms what it names; gives back whether anything is armed. Throws in words where it is malformed. */
export const armFailpoints = (text: string | undefined): boolean => {
  const parts = (text ?? '').split(';').filter((part) => part.trim() !== '');
  armed = parts.length === 0 ? undefined : new Map(parts.map(parse));
  return armed !== undefined;
};

const hit = (points: ReadonlyMap<string, Term[]>, name: string): void => {
  const term = points.get(name)?.find(({ left }) => left > 0);
  if (term === undefined) return;
  term.left -= 1;
  const { action } = term;
  switch (action.kind) {
    case 'off':
      return;
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      return;
    case 'sleep':
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action.ms);
      return;
    case 'error':
      throw Object.assign(new Error(`${action.code}: injected at the failpoint ${name}`), { code: action.code });
    default:
      action satisfies never;
  }
};

const malformed = (part: string, why: string): WorkerdError =>
  new WorkerdError(
    'usage',
    `${failpointVariable}: "${part.trim()}" ${why}. It is for tests: unset it, or write name=[N*]action[->…][;…]`,
  );

const parse = (part: string): [string, Term[]] => {
  const at = part.indexOf('=');
  if (at === -1) throw malformed(part, 'names no action');
  const name = part.slice(0, at).trim();
  if (!(failpointNames as readonly string[]).includes(name)) {
    throw malformed(part, `names no failpoint (there are ${failpointNames.join(', ')})`);
  }
  const terms = part
    .slice(at + 1)
    .split('->')
    .map((text) => parseTerm(part, text.trim()));
  return [name, terms];
};

const parseTerm = (part: string, text: string): Term => {
  const [, times, word, argument] = /^(?:([1-9]\d{0,8})\*)?([a-z]+)(?:\(([^()]*)\))?$/.exec(text) ?? [];
  const left = times === undefined ? Number.POSITIVE_INFINITY : Number(times);
  if ((word === 'off' || word === 'kill') && argument === undefined) return { left, action: { kind: word } };
  if (word === 'error' && /^[A-Z][A-Z0-9_]*$/.test(argument ?? '')) {
    return { left, action: { kind: 'error', code: argument ?? '' } };
  }
  if (word === 'sleep' && /^\d{1,9}$/.test(argument ?? '')) {
    return { left, action: { kind: 'sleep', ms: Number(argument) } };
  }
  throw malformed(part, 'has an action that is none of error(CODE), kill, sleep(MS), off');
};
