/**
 * Params against their schema, and what is said of those that do not fit (-32602): which member, and what it must be.
 * Never its value, which may be a secret.
 */
import type * as z from 'zod';
import { WorkerdError } from '../shared/errors.ts';
import { type MethodName, methods, type Params } from '../shared/protocol.ts';
import { inWords, paramSchemas, partsOf, propertiesOf, type Schema, schemaAt } from './openrpc-schema.ts';

/** Some clients say that there are no params by an array of none. */
const isNone = (params: unknown): boolean => params === undefined || (Array.isArray(params) && params.length === 0);

export const parseParams = <M extends MethodName>(method: M, params: unknown): Params<M> => {
  const schema: z.ZodType = methods[method].params;
  const result = schema.safeParse(isNone(params) ? {} : params);
  if (result.success) return withProto(method, params, result.data as Params<M>);
  const [issue] = result.error.issues;
  const { member, message } =
    issue === undefined
      ? { member: '', message: 'do not fit' }
      : explain(issue, paramSchemas().methods[method], params);
  throw new WorkerdError('usage', `invalid params: ${member === '' ? '' : `${member}: `}${message}`, {
    member,
    method,
  });
};

/**
 * zod leaves out members called `__proto__` without a word. In published state it is a member like any other, as it is
 * for workers (it is JSON: it was parsed as such); in a definition it is refused.
 */
const withProto = <M extends MethodName>(method: M, params: unknown, parsed: Params<M>): Params<M> => {
  if (method === 'publish') return { ...parsed, state: (params as Params<'publish'>).state };
  if (method !== 'start' && method !== 'define') return parsed;
  const [given, taken] = [(params as Partial<Params<'start'>> | undefined)?.spec, (parsed as Params<'start'>).spec];
  for (const part of ['params', 'env'] as const) {
    if (given?.[part] === undefined || JSON.stringify(given[part]) === JSON.stringify(taken?.[part])) continue;
    const member = `spec.${part}.__proto__`;
    throw new WorkerdError('usage', `invalid params: ${member}: must have another name`, { member, method });
  }
  return parsed;
};

/** A name is what the caller chose, at any length; what is said of it is not. */
const maxNameLength = 64;
const maxMemberLength = 200;
const clip = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length)}…` : text);

/** Messages of our own schemas begin so, and say more than the type does; zod's own are not for people. */
const isOurs = (message: string): boolean => message.startsWith('must ');

export const explain = (
  issue: z.core.$ZodIssue,
  root: Schema,
  params: unknown,
): { readonly member: string; readonly message: string } => {
  const path = issue.path.map((step) => clip(String(step), maxNameLength));
  if (issue.code === 'unrecognized_keys') path.push(issue.keys.map((key) => clip(key, maxNameLength)).join(', '));
  return { member: clip(path.join('.'), maxMemberLength), message: messageOf(issue, root, params) };
};

const messageOf = (issue: z.core.$ZodIssue, root: Schema, params: unknown): string => {
  if (issue.code === 'unrecognized_keys') {
    const given = issue.path.reduce((value: unknown, step) => (value as Record<PropertyKey, unknown>)?.[step], params);
    const parts = partsOf(schemaAt(root, issue.path, params), given);
    return unknownWords(
      parts.flatMap((part) => Object.keys(propertiesOf(part))),
      issue.keys.length,
    );
  }
  if (issue.code === 'invalid_key') {
    const ours = issue.issues.find(({ message }) => isOurs(message));
    return ours?.message ?? 'must have another name';
  }
  if (isOurs(issue.message)) return issue.message;
  if (issue.path.length === 0) return 'they must be an object, its members by name';
  const wanted = inWords(schemaAt(root, issue.path, params));
  return isMissing(params, issue.path) ? `is missing: it must be ${wanted}` : `must be ${wanted}`;
};

const unknownWords = (known: readonly string[], count: number): string => {
  const is = count === 1 ? 'is' : 'are';
  if (known.length === 0) return `${is} not known: there is no member to give here`;
  return `${is} not known: the members here are ${known.join(', ')}`;
};

/** Not there at all, which is said otherwise than of what is wrong. */
const isMissing = (params: unknown, path: readonly PropertyKey[]): boolean => {
  let value = params;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return true;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return false;
};
