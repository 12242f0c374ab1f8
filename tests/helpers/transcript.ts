/**
 * Recorded conversations between daemon and shim (tests/shim/transcripts): reading them, putting names in the place of
 * what differs from run to run, putting values back, and comparing what is said today with what was said then.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fact } from '../../src/daemon/shim/protocol.ts';
import type { Json, JsonObject } from '../../src/shared/worker.ts';

export interface Message {
  readonly jsonrpc: string;
  readonly id?: number;
  readonly method?: string;
  readonly params?: JsonObject;
  readonly result?: Json;
  readonly error?: Json;
}
export interface Line {
  readonly from: 'daemon' | 'shim';
  readonly message: Message;
}
/** One connection; it begins with the daemon's `hello`. */
export interface Session {
  readonly lines: readonly Line[];
  /** The pid that the shim answers to `hello`: another one is another shim. */
  readonly shim: Json;
}
/** What each placeholder stands for, in one run. */
export type Bindings = Map<string, Json>;

export const transcripts = (version: number): string =>
  join(import.meta.dirname, '..', 'shim', 'transcripts', `v${version}`);

export const readTranscript = (version: number, name: string): readonly Line[] =>
  readFileSync(join(transcripts(version), `${name}.jsonl`), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);

/** Every transcript of every version so far: the version, and the name of the scenario. */
export const recordings = (newest: number): readonly (readonly [number, string])[] =>
  Array.from({ length: newest }, (_, index) => index + 1).flatMap((version) =>
    readdirSync(transcripts(version))
      .filter((file) => file.endsWith('.jsonl'))
      .map((file) => [version, file.replace(/\.jsonl$/, '')] as const),
  );

export const sessionsOf = (lines: readonly Line[]): readonly Session[] => {
  const starts = lines.flatMap(({ message }, index) => (message.method === 'hello' ? [index] : []));
  return starts.map((start, index) => {
    const own = lines.slice(start, starts[index + 1]);
    const { id } = own[0]?.message ?? {};
    const answer = own.find(({ from, message }) => from === 'shim' && message.id === id && id !== undefined);
    return { lines: own, shim: (answer?.message.result as JsonObject | undefined)?.['pid'] ?? null };
  });
};

/** Members whose values are of one run: the name that stands in their place. */
const volatile: Readonly<Record<string, string>> = {
  pid: 'pid',
  startTime: 'startTime',
  at: 'at',
  stateAt: 'at',
  seq: 'seq',
  upTo: 'seq',
  after: 'seq',
  ranMs: 'ms',
  threadId: 'thread',
  uid: 'uid',
  deadline: 'time',
  token: 'token',
  version: 'version',
  run: 'run',
  host: 'run',
};
/** These stand for the same value wherever they are; the others only for a value of their type. */
const identities: ReadonlySet<string> = new Set(['pid', 'startTime', 'seq', 'token', 'run', 'path']);
const texts: ReadonlySet<string> = new Set(['run', 'path', 'token', 'time', 'version']);
const placeholder = /<([a-zA-Z]+):(\w+)>/;
const whole = /^<([a-zA-Z]+):(\w+)>$/;

/** Whose end is waited for before it goes on may be gone or not when this comes. */
const isLateSignal = (request: Message | undefined): boolean =>
  request?.method === 'signal' && request.params?.['signal'] === 'SIGCONT';

/** What was said, with a placeholder for each volatile value. `paths`: what a placeholder of that name stands for. */
export const withPlaceholders = (said: readonly Line[], paths: Readonly<Record<string, string>>): readonly Line[] => {
  const names = new Map<string, Map<Json, string>>();
  const nameOf = (kind: string, value: Json): string => {
    const known = names.get(kind) ?? new Map<Json, string>();
    names.set(kind, known);
    const name = known.get(value) ?? `<${kind}:${known.size + 1}>`;
    known.set(value, name);
    return name;
  };
  // Numbered as they rise: whoever plays them has rising ones to put in.
  const seqs = new Set<number>();
  const runs = new Set<string>();
  const collect = (value: Json): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, member] of Object.entries(value)) {
      if (volatile[key] === 'seq' && typeof member === 'number' && member > 0) seqs.add(member);
      if (volatile[key] === 'run' && typeof member === 'string') runs.add(member);
      collect(member as Json);
    }
  };
  for (const { message } of said) collect(message as unknown as JsonObject);
  for (const seq of [...seqs].sort((a, b) => a - b)) nameOf('seq', seq);
  for (const run of runs) nameOf('run', run);
  const longestFirst = Object.entries(paths).sort(([, a], [, b]) => b.length - a.length);
  const text = (value: string): string => {
    let made = value;
    for (const [name, path] of longestFirst) made = made.replaceAll(path, `<path:${name}>`);
    for (const run of runs) made = made.replaceAll(run, nameOf('run', run));
    return made;
  };
  const walk = (value: Json, key = ''): Json => {
    const kind = volatile[key];
    // `after: 0` means from the beginning, and is the same each time.
    if (kind !== undefined && value !== null && typeof value !== 'object' && !(kind === 'seq' && value === 0)) {
      return nameOf(kind, value);
    }
    if (typeof value === 'string') return text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item) => walk(item as Json));
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, walk(member as Json, name)]));
  };
  let requests = new Map<number, Message>();
  return said.map(({ from, message }) => {
    if (message.method === 'hello') requests = new Map();
    if (from === 'daemon' && message.id !== undefined) requests.set(message.id, message);
    const named = walk(message as unknown as JsonObject) as unknown as Message;
    const late = from === 'shim' && message.id !== undefined && isLateSignal(requests.get(message.id));
    return { from, message: late ? { ...named, result: { delivered: '<boolean:1>' } } : named };
  });
};

/** A recorded value with today's in the place of its placeholders; `make` gives what is not known yet. */
export const filled = (value: Json, bindings: Bindings, make: (kind: string, name: string) => Json): Json => {
  const get = (found: string, kind: string, name: string): Json => {
    const known = bindings.get(found);
    if (known !== undefined) return known;
    const made = make(kind, name);
    bindings.set(found, made);
    return made;
  };
  if (typeof value === 'string') {
    const alone = whole.exec(value);
    if (alone !== null) return get(value, alone[1] ?? '', alone[2] ?? '');
    return value.replaceAll(new RegExp(placeholder, 'g'), (found, kind: string, name: string) =>
      String(get(found, kind, name)),
    );
  }
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => filled(item as Json, bindings, make));
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, filled(member as Json, bindings, make)]),
  );
};

/** Words for people: any will do. */
const words: ReadonlySet<string> = new Set(['message', 'stack']);
/** What a message is about. */
const decisive: ReadonlySet<string> = new Set('method kind signal to name generation host run'.split(' '));

export interface Comparison {
  readonly bindings: Bindings;
  /** Whether values must be as they were; otherwise it is their types, and what the message is about. */
  readonly values: boolean;
}

/** What of a recorded value is not in today's, a line each; what today's has besides is allowed. */
export const differences = (then: Json, now: unknown, how: Comparison, path = ''): readonly string[] => {
  const key = path.slice(path.lastIndexOf('.') + 1);
  const wrong = (): readonly string[] => [
    `${path || 'it'} is ${JSON.stringify(now)}, recorded as ${JSON.stringify(then)}`,
  ];
  if (typeof then === 'string') {
    const [, kind] = whole.exec(then) ?? [];
    if (kind !== undefined) return isOf(then, kind, now, how.bindings) ? [] : wrong();
    if (typeof now !== 'string') return wrong();
    if (words.has(key) || !(how.values || decisive.has(key))) return [];
    return filled(then, how.bindings, () => '') === now ? [] : wrong();
  }
  if (typeof then !== 'object') {
    const same = how.values || decisive.has(key) ? then === now : typeof then === typeof now;
    return same ? [] : wrong();
  }
  if (then === null) return now === null ? [] : wrong();
  if (typeof now !== 'object' || now === null || Array.isArray(then) !== Array.isArray(now)) return wrong();
  if (Array.isArray(then)) {
    const items = now as readonly unknown[];
    if (how.values && items.length !== then.length) return wrong();
    return items.flatMap((item, index) => {
      const like = (then[index] ?? then[0]) as Json | undefined;
      return like === undefined ? [] : differences(like, item, how, `${path}.${index}`);
    });
  }
  return Object.entries(then).flatMap(([name, member]) =>
    Object.hasOwn(now, name)
      ? differences(member as Json, (now as Record<string, unknown>)[name], how, `${path}.${name}`)
      : [`${path}.${name} is missing, recorded as ${JSON.stringify(member)}`],
  );
};

const isOf = (name: string, kind: string, now: unknown, bindings: Bindings): boolean => {
  if (typeof now !== (texts.has(kind) ? 'string' : kind === 'boolean' ? 'boolean' : 'number')) return false;
  if (!identities.has(kind)) return true;
  const known = bindings.get(name);
  if (known === undefined) bindings.set(name, now as Json);
  return known === undefined || known === now;
};

/** As `differences`; nothing is bound where there are some. */
export const mismatch = (then: Json, now: unknown, { bindings, values }: Comparison): readonly string[] => {
  const trial: Bindings = new Map(bindings);
  const found = differences(then, now, { bindings: trial, values });
  if (found.length === 0) for (const [name, value] of trial) bindings.set(name, value);
  return found;
};

/** What of the order that protocol.ts promises does not hold for these facts. */
export const orderFaults = (facts: readonly Fact[]): readonly string[] => {
  const faults: string[] = [];
  const told = new Map<string, string[]>();
  let last = 0;
  for (const { seq, run, kind } of facts) {
    if (seq <= last) faults.push(`seq ${seq} comes after ${last}`);
    last = seq;
    const kinds = told.get(run) ?? [];
    kinds.push(kind);
    told.set(run, kinds);
  }
  // A later connection may hear the end alone: what came before it was acknowledged.
  const allowed = /^(spawned )?(running )?(ready )?(exited )?$/;
  for (const [run, kinds] of told) {
    if (!allowed.test(`${kinds.join(' ')} `)) faults.push(`${run}: ${kinds.join(', ')}`);
  }
  return faults;
};
