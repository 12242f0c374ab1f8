/**
 * The schemas of the protocol as JSON Schema (draft 7, which OpenRPC 1.3 asks for), and one of them in plain words:
 * what `rpc.discover` and docs/protocol.md show is also what a refused parameter is told.
 */
import * as z from 'zod';
import { type MethodName, methods, paramNouns } from '../shared/protocol.ts';
import { resultSchemas } from '../shared/results.ts';
import { namePattern } from '../shared/worker.ts';

/** A JSON Schema, or a part of one. */
export interface Schema {
  readonly [key: string]: unknown;
}
export type SchemasOf<K extends string> = { readonly [key in K]: Schema };
export interface Generated {
  /** By the name of the noun. */
  readonly nouns: Readonly<Record<string, Schema>>;
  readonly methods: SchemasOf<MethodName>;
}

const anyJson: Schema = { description: 'Any JSON value.' };
const refPrefix = '#/components/schemas/';
const methodNames = Object.keys(methods) as MethodName[];

const generate = (
  io: 'input' | 'output',
  nouns: Readonly<Record<string, z.ZodType>>,
  schemaOf: (method: MethodName) => z.ZodType,
): Generated => {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(nouns)) registry.add(schema, { id });
  // Several methods may share one schema: each is then a copy of it.
  for (const method of methodNames) registry.add(schemaOf(method).clone(), { id: `method ${method}` });
  const { schemas } = z.toJSONSchema(registry, { target: 'draft-7', io, uri: (id) => refPrefix + id });
  const clean = (id: string): Schema => tidy(schemas[id], io) as Schema;
  return {
    nouns: { ...Object.fromEntries(Object.keys(nouns).map((id) => [id, clean(id)])), Json: anyJson },
    methods: Object.fromEntries(
      methodNames.map((method) => [method, clean(`method ${method}`)]),
    ) as Generated['methods'],
  };
};

/** Without what says nothing. What is answered may get more members with later versions: clients must not refuse them. */
const tidy = (node: unknown, io: 'input' | 'output'): unknown => {
  if (Array.isArray(node)) return node.map((each) => tidy(each, io));
  if (typeof node !== 'object' || node === null) return node;
  const { $schema: _schema, $id: _id, ...rest } = node as Record<string, unknown>;
  // Any JSON, which zod spells out as something that holds itself.
  if (typeof rest['$ref'] === 'string' && rest['$ref'].includes('__shared')) rest['$ref'] = `${refPrefix}Json`;
  if (rest['format'] === 'date-time') delete rest['pattern'];
  if (rest['maximum'] === Number.MAX_SAFE_INTEGER) delete rest['maximum'];
  if (rest['minimum'] === Number.MIN_SAFE_INTEGER) delete rest['minimum'];
  if (io === 'output' && rest['additionalProperties'] === false) delete rest['additionalProperties'];
  if (JSON.stringify(rest['propertyNames']) === '{"type":"string"}') delete rest['propertyNames'];
  const only = Object.keys(rest).length === 1 && Array.isArray(rest['allOf']) ? rest['allOf'] : [];
  if (only.length === 1) return tidy(only[0], io);
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, tidy(value, io)]));
};

let params: Generated | undefined;
/** Made when it is first asked for: by `rpc.discover`, or for the first parameter that is refused. */
export const paramSchemas = (): Generated => {
  params ??= generate('input', paramNouns, (method) => methods[method].params);
  return params;
};
export const resultJsonSchemas = (): Generated => {
  const { nouns, results } = resultSchemas();
  return generate('output', nouns, (method) => results[method]);
};

const schemasOf = (value: unknown): readonly Schema[] => (Array.isArray(value) ? (value as Schema[]) : []);
export const propertiesOf = (node: Schema): Readonly<Record<string, Schema>> =>
  (node['properties'] ?? {}) as Readonly<Record<string, Schema>>;
/** The noun that a part refers to, if it does. */
export const refOf = (node: Schema): string | null => {
  const ref = node['$ref'] ?? schemasOf(node['allOf'])[0]?.['$ref'];
  return typeof ref === 'string' ? ref.slice(refPrefix.length) : null;
};
export const alternativesOf = (node: Schema): readonly Schema[] => schemasOf(node['oneOf'] ?? node['anyOf']);

/** The values of an enumeration, or the one that is allowed. */
const valuesOf = (node: Schema): readonly unknown[] | null =>
  Array.isArray(node['enum']) ? node['enum'] : Object.hasOwn(node, 'const') ? [node['const']] : null;

const between = (node: Schema, least: string, most: string, unit: string): string => {
  const [min, max] = [node[least], node[most]];
  const units = (count: unknown) => (unit === '' || count !== 1 ? unit : unit.replace(/s$/, ''));
  if (min !== undefined && max !== undefined) return min === max ? `${max} ${units(max)}` : `${min} to ${max} ${unit}`;
  if (min !== undefined) return `at least ${min} ${units(min)}`;
  return max === undefined ? '' : `at most ${max} ${units(max)}`;
};

/** How a noun and a piece of code are written; plainly, if nothing else is wanted. */
export interface Form {
  readonly noun: (name: string) => string;
  readonly code: (text: string) => string;
  readonly member: (name: string, schema: Schema) => string;
}
const plain: Form = { noun: (name) => nounWords[name] ?? `a ${name}`, code: (text) => text, member: (name) => name };

/** What fits a schema, in words that follow "must be". */
export const inWords = (node: Schema, form: Form = plain): string => {
  const noun = refOf(node);
  if (noun !== null) return form.noun(noun);
  const values = valuesOf(node);
  if (values !== null) {
    const shown = values.map((value) => form.code(JSON.stringify(value))).join(', ');
    return values.length === 1 ? shown : `one of ${shown}`;
  }
  const alternatives = alternativesOf(node);
  if (alternatives.length > 0) return [...new Set(alternatives.map((each) => inWords(each, form)))].join(' or ');
  const types = node['type'];
  if (Array.isArray(types)) return types.map((type) => inWords({ ...node, type }, form)).join(' or ');
  switch (types) {
    case 'string': {
      if (node['format'] === 'date-time') return 'a time such as 2026-01-02T03:04:05Z';
      const { pattern } = node;
      if (pattern === '^\\/') return 'an absolute path';
      if (pattern === namePattern.source) return `a worker's name: ${form.code(bare(pattern))}`;
      if (typeof pattern === 'string') return `a text such as ${form.code(bare(pattern))}`;
      const length = between(node, 'minLength', 'maxLength', 'characters');
      return length === '' ? 'a text' : `a text of ${length}`;
    }
    case 'integer': {
      const [min, max] = [node['minimum'], node['maximum']];
      if (min !== undefined && max !== undefined) return `a whole number from ${min} to ${max}`;
      return min === undefined ? 'a whole number' : `a whole number, at least ${min}`;
    }
    case 'number':
      return 'a number';
    case 'boolean':
      return 'true or false';
    case 'null':
      return 'null';
    case 'array': {
      const length = between(node, 'minItems', 'maxItems', 'items');
      const each = inWords((node['items'] ?? {}) as Schema, form);
      return `a list${length === '' ? '' : ` of ${length}`}, each ${each}`;
    }
    case 'object': {
      const members = Object.entries(propertiesOf(node)).map(([name, property]) => form.member(name, property));
      if (members.length > 0) return `an object with ${members.join(', ')}`;
      const each = node['additionalProperties'];
      return typeof each === 'object' && each !== null
        ? `an object, each value ${inWords(each as Schema, form)}`
        : 'an object';
    }
    default:
      return 'any JSON value';
  }
};

/** A pattern without what ties it to both ends. */
const bare = (pattern: string): string => pattern.replace(/^\^/, '').replace(/\$$/, '');

const nounWords: Readonly<Record<string, string>> = {
  Json: 'any JSON value',
  JsonObject: 'an object',
  SpecInput: 'an object with kind, and command or module',
  Caller: 'an object with env, cwd, umask',
  SoftLimits: 'an object of limits, such as nofile',
};

/** The part of a method's params that a path leads to; `value` is what was given for them. */
export const schemaAt = (root: Schema, path: readonly PropertyKey[], value: unknown): Schema => {
  let nodes: readonly Schema[] = [root];
  let given = value;
  for (const step of path) {
    nodes = nodes.flatMap((node) => partsOf(node, given)).flatMap((part) => stepInto(part, step));
    given = typeof given === 'object' && given !== null ? (given as Record<PropertyKey, unknown>)[step] : undefined;
  }
  const [first = {}] = nodes;
  const values = nodes.map(valuesOf);
  // What tells alternatives apart: all of their values would do.
  if (nodes.length > 0 && values.every((each) => each !== null)) return { enum: [...new Set(values.flat())] };
  return first;
};

const stepInto = (node: Schema, step: PropertyKey): readonly Schema[] => {
  const own = propertiesOf(node);
  const next =
    typeof step === 'number'
      ? node['items']
      : Object.hasOwn(own, String(step))
        ? own[String(step)]
        : node['additionalProperties'];
  return typeof next === 'object' && next !== null ? [next as Schema] : [];
};

/** The same without references; of alternatives those that the value means, by the members that tell them apart. */
export const partsOf = (node: Schema, value: unknown): readonly Schema[] => {
  const noun = refOf(node);
  const known = noun === null ? undefined : paramSchemas().nouns[noun];
  if (known !== undefined) return partsOf(known, value);
  const alternatives = alternativesOf(node);
  if (alternatives.length === 0) return [node];
  const given = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const meant = alternatives.filter((each) =>
    Object.entries(propertiesOf(each)).some(
      ([member, property]) => Object.hasOwn(given, member) && valuesOf(property)?.includes(given[member]) === true,
    ),
  );
  return (meant.length === 1 ? meant : alternatives).flatMap((each) => partsOf(each, value));
};
