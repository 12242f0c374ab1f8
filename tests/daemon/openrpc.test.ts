/** What `rpc.discover` answers: a document by OpenRPC's own meta-schema, whole, true to the code, and small enough. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as openRpcMetaSchema from '@open-rpc/meta-schema';
import { Ajv } from 'ajv';
import draft7 from 'ajv/dist/refs/json-schema-draft-07.json' with { type: 'json' };
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { protocolPage } from '../../scripts/docs.ts';
import { discover, type MethodObject } from '../../src/daemon/openrpc.ts';
import { errorKinds } from '../../src/shared/errors.ts';
import { limits } from '../../src/shared/limits.ts';
import { methods } from '../../src/shared/protocol.ts';
import { type Differs, resultSchemas } from '../../src/shared/results.ts';
import { documentValidator } from '../helpers/openrpc.ts';

const document = discover('1.2.3') as unknown as {
  readonly info: { readonly version: string };
  readonly methods: readonly MethodObject[];
  readonly components: {
    readonly schemas: object;
    readonly errors: Readonly<Record<string, { readonly code: number }>>;
  };
};
const text = JSON.stringify(document);

it("fits OpenRPC's own meta-schema, and something else does not", () => {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  // What it refers to as JSON Schema is draft 7 under another name; of a part of it (a reference) ajv does not find the place.
  ajv.addSchema({ ...draft7, $id: 'https://meta.json-schema.tools' });
  // Its types speak of the document that it describes, not of what it is.
  const { openrpcDocument } = openRpcMetaSchema as unknown as { openrpcDocument: Record<string, unknown> };
  const { $schema: _, ...openRpc } = JSON.parse(
    JSON.stringify(openrpcDocument).replaceAll(/\{"\$ref":"[^"]*\/properties\/\$ref"\}/g, '{"type":"string"}'),
  ) as Record<string, unknown>;
  const validate = ajv.compile(openRpc);
  expect(validate(document), JSON.stringify(validate.errors?.slice(0, 5))).toBe(true);
  expect(validate({ ...document, methods: [{ name: 'x' }] })).toBe(false);
  expect(validate({ ...document, components: { schemas: { X: { type: 'nothing' } } } })).toBe(false);
});

it('has every method, in the order of the table, and every error', () => {
  expect(document.info.version).toBe('1.2.3');
  expect(document.methods.map(({ name }) => name)).toEqual(Object.keys(methods));
  expect(Object.entries(document.components.errors).map(([word, { code }]) => [word, code])).toEqual(
    Object.entries(errorKinds).map(([word, { rpc }]) => [word, rpc]),
  );
});

it('what it refers to is there, and says what it is', () => {
  const refs = [...new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref ?? ''))];
  expect(refs.length).toBeGreaterThan(15);
  for (const ref of refs) {
    const found = ref
      .replace(/^#\//, '')
      .split('/')
      .reduce((node: unknown, key) => (node as Record<string, unknown> | undefined)?.[key], document);
    expect(found, ref).toBeTypeOf('object');
  }
  for (const { name, summary, params } of document.methods) {
    expect(summary, name).toMatch(/\S/);
    for (const param of params) expect(param.description, `${name} ${param.name}`).toMatch(/\S/);
  }
});

it('what must be given comes first, and only what must be given is required', () => {
  const required = Object.fromEntries(
    document.methods.map(({ name, params }) => [name, params.filter((each) => each.required).map((each) => each.name)]),
  );
  expect(required).toMatchObject({
    hello: [],
    start: [],
    stop: ['name'],
    wait: ['name', 'for'],
    define: ['name', 'spec'],
  });
  for (const { params } of document.methods) {
    const flags = params.map((each) => each.required === true);
    expect(flags).toEqual([...flags].sort((a, b) => Number(b) - Number(a)));
  }
});

it('defaults and bounds are in it', () => {
  const schemaOf = (method: string, param: string) =>
    document.methods.find(({ name }) => name === method)?.params.find(({ name }) => name === param)?.schema;
  expect(schemaOf('start', 'timeoutMs')).toEqual({
    type: 'integer',
    minimum: 0,
    maximum: 2 ** 31 - 1,
    default: 30_000,
  });
  expect(schemaOf('start', 'ifRunning')).toMatchObject({ enum: ['keep', 'fail', 'replace'], default: 'keep' });
  expect(text).toContain('"default":"SIGTERM"');
});

describe('examples', () => {
  const examples = document.methods.flatMap(({ name, examples: all }) =>
    (all ?? []).map((each) => [name, each] as const),
  );
  it('there are some', () => expect(examples.length).toBeGreaterThanOrEqual(8));
  it.each(examples)('%s: fits its own schemas and the ones that the daemon checks with', (method, {
    params,
    result,
  }) => {
    const given = Object.fromEntries(params.map(({ name, value }) => [name, value]));
    const { params: faults, result: resultFaults } = documentValidator(document);
    const checks: readonly z.ZodType[] = [methods[method].params, resultSchemas().results[method]];
    for (const [index, value] of [given, result.value].entries()) {
      expect(checks[index]?.safeParse(value).error).toBeUndefined();
    }
    expect(faults(method, given)).toEqual([]);
    expect(resultFaults(method, result.value)).toEqual([]);
  });
});

it('the schemas of the document refuse what the daemon refuses', () => {
  const { params: faults } = documentValidator(document);
  for (const [method, given] of [
    ['stop', {}],
    ['stop', { name: '../x' }],
    ['stop', { name: 'a', extra: 1 }],
    ['start', { spec: { kind: 'x' } }],
    ['start', { spec: { kind: 'command', command: [] } }],
    ['start', { timeoutMs: 2 ** 31 }],
    ['define', { name: 'a', spec: { kind: 'thread', module: 'relative' } }],
  ] as const) {
    expect(faults(method, given), `${method} ${JSON.stringify(given)}`).not.toEqual([]);
  }
});

it('is far below what a frame may hold, and holds no name of a machine', () => {
  expect(Buffer.byteLength(text)).toBeLessThan(limits.maxFrameBytes / 4);
  expect(text).not.toMatch(/__shared|"\$schema"|\/root|\/tmp/);
});

it('the page in docs/ is what it makes (else: npm run docs)', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'protocol.md'), 'utf8');
  expect(page).toBe(protocolPage());
  for (const method of Object.keys(methods)) expect(page).toContain(`\n### ${method}\n`);
});

it('a type and a schema that differ in a member, in what may be missing, or in null are found out', () => {
  const same: Differs<{ a: string[]; b?: number }, { readonly a: readonly string[]; readonly b?: number }> = false;
  const member: Differs<{ a: string; c: string }, { a: string }> = true;
  const optional: Differs<{ a: string; c?: string }, { a: string }> = true;
  const missing: Differs<{ a?: string }, { a: string }> = true;
  const nullable: Differs<{ a: string | null }, { a: string }> = true;
  expect([same, member, optional, missing, nullable]).toEqual([false, true, true, true, true]);
});
