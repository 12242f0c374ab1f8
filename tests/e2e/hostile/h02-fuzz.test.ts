/**
 * H02: every method that ends nothing, with values made from its own shape in the protocol's table and then spoiled,
 * and requests whose bytes were mutated. Seeds 1 to 20, printed; WORKERD_TEST_SEED names one alone.
 */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { type MethodName, methods } from '../../../src/shared/protocol.ts';
import { Canary } from '../../helpers/canary.ts';
import { eventually } from '../../helpers/eventually.ts';
import { type Answer, RawClient } from '../../helpers/fake-server.ts';
import { Sandbox } from '../../helpers/sandbox.ts';
import { descriptorsAreBack, descriptorsOf, noFaults, residentBytes } from '../../helpers/vitals.ts';

const asked = process.env['WORKERD_TEST_SEED'];
const seeds = asked === undefined ? Array.from({ length: 20 }, (_, index) => index + 1) : [Number(asked)];
const fuzzed = (Object.keys(methods) as MethodName[]).filter((method) => !/^daemon\.(stop|restart)$/.test(method));
const perMethod = 20;

/** mulberry32: a chance that can be had again. */
class Chance {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  below(count: number): number {
    return Math.floor(this.next() * count);
  }
  one<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

interface Shape {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly additionalProperties?: Shape | boolean;
}

const names = ['a', 'b', 'fuzz-1', 'fuzz-2', '*', 'fuzz-*', '[a-c]'];
const texts = [
  ...names,
  '',
  '\0',
  '\u001b]0;x\u0007',
  '\u202e',
  '\ud800',
  '__proto__',
  '../x',
  'x'.repeat(5000),
  'SIGTERM',
  '/tmp',
  '1:5',
];
const numbers = [0, 1, 2, -1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 60), 1e308, Number.MAX_SAFE_INTEGER];
const odd = (chance: Chance): unknown =>
  chance.one<unknown>([
    null,
    true,
    [],
    {},
    [[]],
    { '': null },
    chance.one(texts),
    chance.one(numbers),
    [chance.one(texts)],
  ]);

/** A value as the shape wants it, mostly; `rate` of its parts are something else. */
const madeOf = (shape: Shape, chance: Chance, rate: number): unknown => {
  if (chance.next() < rate) return odd(chance);
  if (shape.const !== undefined) return shape.const;
  if (shape.enum !== undefined) return chance.one(shape.enum);
  const choices = shape.anyOf ?? shape.oneOf;
  if (choices !== undefined) return madeOf(chance.one(choices), chance, rate);
  switch (shape.type) {
    case 'object': {
      const entries = Object.entries(shape.properties ?? {})
        .filter(([key]) => shape.required?.includes(key) || chance.next() < 0.5)
        .map(([key, member]) => [key, madeOf(member, chance, rate)] as const);
      if (chance.next() < rate / 4) entries.push([chance.one(texts), odd(chance)]);
      return Object.fromEntries(entries);
    }
    case 'array':
      return Array.from({ length: chance.below(4) }, () => madeOf(shape.items ?? {}, chance, rate));
    case 'integer':
    case 'number':
      return chance.one(numbers);
    case 'boolean':
      return chance.next() < 0.5;
    case 'string':
      return chance.one(texts);
    default:
      return odd(chance);
  }
};

/** Nothing that is started here may do anything: the first word of a command, and a module, are not there. */
const harmless = (value: unknown): unknown => {
  if (typeof value !== 'object' || value === null) return value;
  const spec = (value as Record<string, unknown>)['spec'];
  if (typeof spec !== 'object' || spec === null) return value;
  const { command, module } = spec as { command?: unknown; module?: unknown };
  const safe = Array.isArray(command) && typeof command[0] === 'string' ? ['/bin/true', ...command.slice(1)] : command;
  return {
    ...value,
    spec: {
      ...spec,
      ...(command === undefined ? {} : { command: safe }),
      ...(typeof module === 'string' ? { module: '/no/such.mjs' } : {}),
    },
  };
};

const mutated = (text: string, chance: Chance): Buffer => {
  const bytes = Buffer.from(text);
  for (let times = 1 + chance.below(6); times > 0; times -= 1) {
    const at = chance.below(bytes.length);
    const byte = chance.below(256);
    // A newline makes two of it, which is as good; but no daemon.stop may come about.
    bytes[at] = byte;
  }
  return bytes;
};

const shapes = new Map(
  fuzzed.map((method) => [
    method,
    z.toJSONSchema(methods[method].params as z.ZodType, { io: 'input', unrepresentable: 'any' }) as Shape,
  ]),
);

let box: Sandbox;
let daemon: number;
let descriptors: number;
let resident: number;
let outside: readonly string[];
beforeAll(async () => {
  box = new Sandbox();
  daemon = await box.startDaemon();
  const client = await box.client();
  for (const name of ['a', 'b'])
    await client.call('define', { name, spec: { kind: 'command', command: ['/bin/true'] } });
  descriptors = descriptorsOf(daemon);
  resident = residentBytes(daemon);
  outside = readdirSync(box.directory);
});
afterAll(() => box[Symbol.asyncDispose]());

it.each(seeds)('seed %i: an answer to each, never -32603', async (seed) => {
  console.info(`h02-fuzz: WORKERD_TEST_SEED=${seed}`);
  const chance = new Chance(seed);
  const canary = new Canary(box.socket);
  const client = new RawClient(box.socket);
  const wild = new RawClient(box.socket);
  const due = new Map<string, string>();
  for (const [method, shape] of shapes) {
    for (let count = 0; count < perMethod; count += 1) {
      const params = harmless(madeOf(shape, chance, count < 2 ? 0.02 : 0.2));
      const id = `${method}-${count}`;
      const request = JSON.stringify({ jsonrpc: '2.0', id, method, params });
      // Those that may wait are not waited for.
      if (!('held' in methods[method])) due.set(id, request);
      client.send(`${request}\n`);
      if (method !== 'start' && method !== 'define')
        wild.send(Buffer.concat([mutated(request, chance), Buffer.from('\n')]));
    }
  }
  client.send('{"jsonrpc":"2.0","id":"last","method":"daemon.info"}\n');
  wild.send('\n{"jsonrpc":"2.0","id":"last","method":"daemon.info"}\n');
  const all = await eventually(
    () => {
      const answers = (client.answers() as readonly Answer[]).filter(({ id }) => id !== undefined);
      const ids = new Set(answers.map(({ id }) => id));
      return ids.has('last') && [...due.keys()].every((id) => ids.has(id)) ? answers : null;
    },
    { withinMs: 30_000, what: `all answers of seed ${seed}` },
  );
  const strange = await eventually(() => {
    const answers = wild.answers() as readonly Answer[];
    return answers.some(({ id }) => id === 'last') ? answers : null;
  });
  for (const answer of [...all, ...strange]) {
    // Events have no id.
    if (!Object.hasOwn(answer, 'id')) continue;
    expect(answer.jsonrpc).toBe('2.0');
    expect(Object.hasOwn(answer, 'result') !== Object.hasOwn(answer, 'error')).toBe(true);
    expect(answer.error?.code, `${due.get(String(answer.id))}: ${JSON.stringify(answer)}`).not.toBe(-32603);
  }
  client.socket.destroy();
  wild.socket.destroy();
  await canary.unhurt(500);
});

it('afterwards all is as before: descriptors, memory, the log, and nothing beside the home', async () => {
  const client = await box.client();
  for (const { name } of (await client.call('status', {})).workers) await client.call('remove', { name, force: true });
  await descriptorsAreBack(daemon, descriptors + 1);
  expect(residentBytes(daemon) - resident).toBeLessThan(200 * 1024 * 1024);
  expect(readdirSync(box.directory)).toEqual(outside);
  noFaults(box.home);
});
