/** Params, results and events against the schemas of an OpenRPC document, as a client that has nothing else would. */
import { Ajv, type ValidateFunction } from 'ajv';
import type { MethodObject } from '../../src/daemon/openrpc.ts';

interface Document {
  readonly methods: readonly MethodObject[];
  readonly components: { readonly schemas: object };
}

/** What does not fit, a line each. */
type Faults = readonly string[];

export interface DocumentValidator {
  readonly params: (method: string, params: object) => Faults;
  readonly result: (method: string, result: unknown) => Faults;
  readonly event: (params: unknown) => Faults;
}

export const documentValidator = (document: Document): DocumentValidator => {
  const ajv = new Ajv({
    strict: false,
    allErrors: true,
    formats: { 'date-time': /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/ },
  });
  const base = { components: document.components };
  const compiled = new Map<string, ValidateFunction>();
  const check = (key: string, schema: () => object, value: unknown): Faults => {
    const validate = compiled.get(key) ?? ajv.compile({ ...base, ...schema() });
    compiled.set(key, validate);
    return validate(value)
      ? []
      : (validate.errors ?? []).map((error) => `${key}${error.instancePath}: ${error.message}`);
  };
  const methodOf = (name: string): MethodObject => {
    const method = document.methods.find((each) => each.name === name);
    if (method === undefined) throw new Error(`the document has no method ${name}`);
    return method;
  };
  return {
    params: (name, given) =>
      check(
        `params of ${name}`,
        () => {
          const { params } = methodOf(name);
          return {
            type: 'object',
            properties: Object.fromEntries(params.map((each) => [each.name, each.schema])),
            required: params.filter((each) => each.required).map((each) => each.name),
            additionalProperties: false,
          };
        },
        given,
      ),
    result: (name, value) => check(`result of ${name}`, () => ({ allOf: [methodOf(name).result.schema] }), value),
    event: (value) => check('event', () => ({ $ref: '#/components/schemas/Event' }), value),
  };
};
