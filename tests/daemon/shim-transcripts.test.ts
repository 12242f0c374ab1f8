/**
 * The protocol between daemon and shim is what its transcripts speak: all that protocol.ts demands was said in them. A
 * member added there as required makes a table below incomplete for the compiler; added here too, it is missing from
 * the recordings, which cannot be made anew: it has to be optional, or of a new version. See docs/architecture.md.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type Fact,
  type Remark,
  type RunStatus,
  type ShimMethod,
  type ShimMethods,
  type ShimNotifications,
  type SpawnParams,
  type StateNote,
  shimProtocolVersion,
} from '../../src/daemon/shim/protocol.ts';
import type { Json, JsonObject } from '../../src/shared/worker.ts';
import { scenarios } from '../helpers/shim-scenarios.ts';
import {
  differences,
  filled,
  type Line,
  orderFaults,
  readTranscript,
  recordings,
  sessionsOf,
  transcripts,
  withPlaceholders,
} from '../helpers/transcript.ts';

type Required<T> = { [K in keyof T]-?: object extends Pick<T, K> ? never : K }[keyof T];
type Members<T> = Readonly<Record<Required<T> & string, true>>;

const spawn: Members<SpawnParams> = {
  run: true,
  name: true,
  generation: true,
  kind: true,
  argv: true,
  env: true,
  cwd: true,
  umask: true,
  user: true,
  openFiles: true,
  stdin: true,
  stop: true,
  log: true,
  host: true,
  launch: true,
};
/** Added within version 1, and unknown to the shims that were recorded. */
type Added = 'kept';
const methods: {
  readonly [M in Exclude<ShimMethod, Added>]: {
    readonly params: Members<ShimMethods[M]['params']>;
    readonly result: Members<ShimMethods[M]['result']>;
  };
} = {
  hello: {
    params: { protocol: true, token: true },
    result: { protocol: true, version: true, pid: true, startTime: true },
  },
  list: { params: {}, result: { runs: true, seq: true } },
  facts: { params: { after: true }, result: {} },
  ack: { params: { upTo: true }, result: {} },
  spawn: { params: spawn, result: {} },
  signal: { params: { run: true, signal: true, to: true }, result: { delivered: true } },
  down: { params: { run: true, message: true }, result: { delivered: true } },
  input: { params: { run: true, text: true }, result: { delivered: true } },
  publish: { params: { run: true, patch: true }, result: { state: true, revision: true } },
  adopt: { params: { ...spawn, pid: true, startTime: true, revision: true }, result: {} },
  conclude: { params: { run: true, exit: true }, result: {} },
  release: { params: { run: true }, result: {} },
  shutdown: { params: {}, result: { pid: true } },
};
const ofFact = { seq: true, run: true, at: true, kind: true } as const;
const facts: { readonly [K in Fact['kind']]: Members<Extract<Fact, { kind: K }>> } = {
  spawned: { ...ofFact, pid: true, startTime: true },
  running: { ...ofFact, threadId: true },
  ready: ofFact,
  exited: {
    ...ofFact,
    exit: true,
    ranMs: true,
    state: true,
    stateAt: true,
    stateRevision: true,
    result: true,
    byShim: true,
  },
};
const state: Members<StateNote> = { run: true, state: true, at: true, revision: true };
const remark: Members<Remark> = { run: true, message: true };
const notifications: Readonly<Record<Exclude<keyof ShimNotifications, 'fact'>, object>> = { state, remark };
const status: Members<RunStatus> = {
  run: true,
  name: true,
  generation: true,
  kind: true,
  host: true,
  pid: true,
  startTime: true,
  running: true,
  ready: true,
  state: true,
  stateAt: true,
  stateRevision: true,
  exited: true,
  adopted: true,
};
const nested: { readonly stop: Members<SpawnParams['stop']>; readonly log: Members<SpawnParams['log']> } = {
  stop: { signal: true, graceMs: true },
  log: { directory: true, maxBytes: true, files: true },
};

/** What was said, by what it was: with its members, each way in which it was said. */
const said = new Map<string, Set<string>>();
const note = (what: string, value: Json | undefined): void => {
  const ways = said.get(what) ?? new Set<string>();
  ways.add(
    Object.keys(value as JsonObject)
      .sort()
      .join(' '),
  );
  said.set(what, ways);
};
const newest = recordings(shimProtocolVersion).filter(([version]) => version === shimProtocolVersion);
for (const [version, name] of newest) {
  for (const { lines } of sessionsOf(readTranscript(version, name))) {
    const asked = new Map<number, string>();
    for (const { from, message } of lines) {
      const { id = 0, method, params, result } = message;
      if (from === 'daemon') {
        asked.set(id, method ?? '');
        note(`${method} params`, params);
        if (method === 'spawn') for (const key of Object.keys(nested)) note(key, params?.[key]);
      } else if (method === undefined) {
        note(`${asked.get(id)} result`, result);
        for (const run of ((result as JsonObject)['runs'] ?? []) as readonly JsonObject[]) note('run status', run);
      } else note(method === 'fact' ? `fact ${String(params?.['kind'])}` : method, params);
    }
  }
}

describe(`the transcripts of version ${shimProtocolVersion}`, () => {
  const demanded: readonly (readonly [string, object])[] = [
    ...Object.entries(methods).flatMap(([method, { params, result }]) => [
      [`${method} params`, params] as const,
      [`${method} result`, result] as const,
    ]),
    ...Object.entries(facts).map(([kind, members]) => [`fact ${kind}`, members] as const),
    ...Object.entries(notifications),
    ...Object.entries(nested),
    ['run status', status],
  ];

  it.each(demanded)('say all that is demanded of: %s', (what, members) => {
    expect([...(said.get(what) ?? [])]).toEqual([Object.keys(members).sort().join(' ')]);
  });

  it('say nothing else', () => {
    expect([...said.keys()].filter((what) => !demanded.some(([known]) => known === what))).toEqual([]);
  });

  it('are of every kind of run', () => {
    const kinds = newest.flatMap(([version, name]) =>
      readTranscript(version, name).flatMap(({ message: { method, params } }) =>
        method === 'spawn' ? [String(params?.['kind'])] : [],
      ),
    );
    expect([...new Set(kinds)].sort()).toEqual(['command', 'host', 'module', 'thread']);
  });
});

describe('every transcript', () => {
  it.each(
    recordings(shimProtocolVersion),
  )('of version %i, %s: has its scenario, and names nothing of one run', (version, name) => {
    expect(Object.keys(scenarios)).toContain(name);
    const text = readFileSync(join(transcripts(version), `${name}.jsonl`), 'utf8');
    expect(/\/(?:tmp|home|root|var)\/|\b20\d\d-\d\d-\d\d|\d{9}/.exec(text)).toBeNull();
  });
});

describe('what compares them', () => {
  const compare = (then: Json, now: Json, values = true) =>
    differences(then, now, { bindings: new Map(), values }).length;
  const fact = { kind: 'exited', pid: '<pid:1>', code: 7, message: 'why', parts: [1, 2] };

  it('allows what is new, and other words', () => {
    expect(compare(fact, { ...fact, pid: 12, message: 'another', more: true })).toBe(0);
  });

  it('finds what is missing, of another type, another value, or another one than before', () => {
    const { code: _missing, ...less } = fact;
    expect(compare(fact, { ...less, pid: 12 })).toBe(1);
    expect(compare(fact, { ...fact, pid: '12' })).toBe(1);
    expect(compare(fact, { ...fact, pid: null })).toBe(1);
    expect(compare(fact, { ...fact, pid: 12, code: 8 })).toBe(1);
    expect(compare(fact, { ...fact, pid: 12, code: 8 }, false)).toBe(0);
    expect(compare(fact, { ...fact, pid: 12, code: '7' }, false)).toBe(1);
    expect(compare(fact, { ...fact, pid: 12, kind: 'running' }, false)).toBe(1);
    expect(compare(fact, { ...fact, pid: 12, parts: [1] })).toBe(1);
    expect(compare(fact, { ...fact, pid: 12, parts: {} }, false)).toBe(1);
    expect(compare(['<pid:1>', '<pid:1>'], [3, 3])).toBe(0);
    expect(compare(['<pid:1>', '<pid:1>'], [3, 4])).toBe(1);
    expect(compare(['<ms:1>', '<ms:1>'], [3, 4])).toBe(0);
  });

  it('puts placeholders where it must, and takes them out again', () => {
    const params = { run: 'w.1.ab', pid: 7, seq: 90, host: null, env: { A: '/h/logs/w.1.ab' }, after: 0 };
    const line: Line = { from: 'shim', message: { jsonrpc: '2.0', method: 'fact', params } };
    const [named] = withPlaceholders([line], { home: '/h' });
    const expected = { run: '<run:1>', pid: '<pid:1>', seq: '<seq:1>', host: null, after: 0 };
    expect(named?.message.params).toEqual({ ...expected, env: { A: '<path:home>/logs/<run:1>' } });
    const values: Record<string, Json> = { run: 'w.1.ab', pid: 7, seq: 90, path: '/h' };
    expect(filled(named?.message.params ?? null, new Map(), (kind) => values[kind] ?? null)).toEqual(params);
  });

  it.each<[string, readonly Fact['kind'][], number]>([
    ['a whole run', ['spawned', 'running', 'ready', 'exited'], 0],
    ['one that could not be spawned', ['exited'], 0],
    ['one that was ready too early', ['spawned', 'ready', 'running'], 1],
    ['one that goes on after its end', ['spawned', 'exited', 'running'], 1],
    ['one that was spawned late', ['running', 'spawned'], 1],
    ['one that ends twice', ['spawned', 'exited', 'exited'], 1],
  ])('knows the order of facts: %s', (_what, kinds, faults) => {
    const told = kinds.map((kind, index) => ({ kind, run: 'w', seq: index + 1, at: 0 }) as Fact);
    expect(orderFaults(told)).toHaveLength(faults);
    expect(orderFaults(told.map((each) => ({ ...each, seq: 1 })))).toHaveLength(faults + kinds.length - 1);
  });
});
