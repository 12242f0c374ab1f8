/**
 * The OpenRPC document that `rpc.discover` answers, made from the one table of methods, the schemas of the results, the
 * list of errors and the words beside them. Made at the first call, then kept.
 */
import { type ErrorCode, errorKinds } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { type MethodName, methods, protocolVersion } from '../shared/protocol.ts';
import type { JsonObject } from '../shared/worker.ts';
import { paramSchemas, propertiesOf, resultJsonSchemas, type Schema } from './openrpc-schema.ts';
import {
  callerWords,
  commonErrors,
  errorWords,
  eventWords,
  limitWords,
  methodWords,
  specWords,
} from './openrpc-words.ts';

export interface ContentDescriptor {
  readonly name: string;
  readonly description?: string;
  readonly required?: boolean;
  readonly schema: Schema;
}
interface ExampleValue {
  readonly name: string;
  readonly value: unknown;
}
export interface MethodObject {
  readonly name: MethodName;
  readonly summary: string;
  readonly description?: string;
  readonly paramStructure: 'by-name';
  readonly params: readonly ContentDescriptor[];
  readonly result: ContentDescriptor;
  readonly errors: readonly { readonly $ref: string }[];
  readonly examples?: readonly {
    readonly name: string;
    readonly params: readonly ExampleValue[];
    readonly result: ExampleValue;
  }[];
  /** Does not count among the requests in work. */
  readonly 'x-held'?: true;
}
export interface ErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data: { readonly code: ErrorCode; readonly retry: boolean };
}
export interface OpenRpcDocument {
  readonly openrpc: '1.3.2';
  readonly info: {
    readonly title: string;
    readonly version: string;
    readonly description: string;
    readonly license: object;
  };
  readonly servers: readonly object[];
  readonly methods: readonly MethodObject[];
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly errors: Readonly<Record<ErrorCode, ErrorObject>>;
  };
  /** OpenRPC knows no notifications of the server. */
  readonly 'x-notifications': readonly {
    readonly name: string;
    readonly summary: string;
    readonly description: string;
    readonly paramStructure: 'by-name';
    readonly params: readonly ContentDescriptor[];
    readonly 'x-types': typeof eventWords;
  }[];
  readonly 'x-protocol': number;
  readonly 'x-framing': string;
  readonly 'x-limits': typeof limits;
  /** The exit code of the CLI for each error. */
  readonly 'x-exit-codes': Readonly<Record<ErrorCode, number>>;
}

const methodObject = <M extends MethodName>(name: M, params: Schema, result: Schema): MethodObject => {
  const words = methodWords[name];
  const required = Array.isArray(params['required']) ? (params['required'] as string[]) : [];
  const valuesOf = (object: object): readonly ExampleValue[] =>
    Object.entries(object).map(([key, value]) => ({ name: key, value: value as unknown }));
  const descriptions = words.params as Readonly<Record<string, string>>;
  const examples = (words.examples ?? []).map((example) => ({
    name: example.name,
    params: valuesOf(example.params),
    result: { name: 'result', value: example.result },
  }));
  // What must be given comes first, as OpenRPC wants it.
  const members = Object.entries(propertiesOf(params));
  const sorted = [
    ...members.filter(([member]) => required.includes(member)),
    ...members.filter(([member]) => !required.includes(member)),
  ];
  const errors = [...(words.errors ?? []), ...commonErrors];
  return {
    name,
    summary: methods[name].summary,
    ...(words.description === undefined ? {} : { description: words.description }),
    paramStructure: 'by-name',
    params: sorted.map(([member, schema]) => ({
      name: member,
      description: descriptions[member] ?? '',
      required: required.includes(member),
      schema,
    })),
    result: { name: 'result', schema: result },
    errors: errors.map((code) => ({ $ref: `#/components/errors/${code}` })),
    ...(examples.length === 0 ? {} : { examples }),
    ...('held' in methods[name] ? { 'x-held': true as const } : {}),
  };
};

/** The words of each member, on an object's properties or on those of each alternative. */
const withWords = (schema: Schema, words: Readonly<Record<string, string>>): Schema => {
  const alternatives = schema['oneOf'];
  if (Array.isArray(alternatives)) {
    return { ...schema, oneOf: (alternatives as Schema[]).map((each) => withWords(each, words)) };
  }
  const properties = Object.entries(propertiesOf(schema)).map(([member, property]) => [
    member,
    { description: words[member], ...property },
  ]);
  return { ...schema, properties: Object.fromEntries(properties) as object };
};

export const buildDocument = (version: string): OpenRpcDocument => {
  const params = paramSchemas();
  const results = resultJsonSchemas();
  const schemas: Record<string, Schema> = { ...params.nouns, ...results.nouns };
  for (const [noun, words] of [
    ['SpecInput', specWords] as const,
    ['Spec', specWords],
    ['Caller', callerWords],
    ['SoftLimits', limitWords],
  ] as const) {
    const schema = schemas[noun];
    if (schema !== undefined) schemas[noun] = withWords(schema, words);
  }
  const codes = Object.keys(errorKinds) as ErrorCode[];
  const each = <T>(of: (code: ErrorCode) => T) =>
    Object.fromEntries(codes.map((code) => [code, of(code)])) as Record<ErrorCode, T>;
  return {
    openrpc: '1.3.2',
    info: {
      title: 'workerd',
      version,
      description: 'The control socket of workerd, a supervisor of workers. Who can use it can run code as its user.',
      license: { name: 'MIT' },
    },
    servers: [
      {
        name: 'workerd.sock',
        url: 'unix:workerd.sock',
        description:
          'A Unix socket in the home of the daemon; `daemon.info` and `workerctl daemon status` tell its path.',
      },
    ],
    methods: (Object.keys(methods) as MethodName[]).map((name) =>
      methodObject(name, params.methods[name], results.methods[name]),
    ),
    components: {
      schemas,
      errors: each((code) => {
        const { rpc, retry } = errorKinds[code];
        return { code: rpc, message: errorWords[code], data: { code, retry } };
      }),
    },
    'x-notifications': [
      {
        name: 'event',
        summary: 'What happens to the workers of a subscription (`watch`, `logs` with `follow`).',
        description:
          'Events of one worker come in the order they happened, its log lines before the `phase` that ends the run. A `cursor` lives as long as the daemon; that of a `log` event of `logs` is a place in the files (GENERATION:OFFSET) and outlives it.',
        paramStructure: 'by-name',
        params: [{ name: 'event', required: true, schema: { $ref: '#/components/schemas/Event' } }],
        'x-types': eventWords,
      },
    ],
    'x-protocol': protocolVersion,
    'x-framing': 'JSON-RPC 2.0, one message a line, UTF-8, both ways; batches are allowed.',
    'x-limits': limits,
    'x-exit-codes': each((code) => errorKinds[code].exit),
  };
};

let built: JsonObject | undefined;
export const discover = (version: string): JsonObject => {
  // Plain JSON from here on: what is `undefined` in it is gone.
  built ??= JSON.parse(JSON.stringify(buildDocument(version))) as JsonObject;
  return built;
};
