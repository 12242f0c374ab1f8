/**
 * The one gate in front of json-rpc-2.0's server: checks every element of every message itself (the library trusts
 * its input: it finds `constructor` on its method table, echoes any id, rejects on `null`), bounds batches, and
 * maps what handlers throw to error objects that tell a client what it needs and nothing else.
 */
import { type JSONRPCID, type JSONRPCRequest, type JSONRPCResponse, JSONRPCServer } from 'json-rpc-2.0';
import { beginOf } from './afterwards.ts';
import { WorkerdError } from './errors.ts';
import { limits } from './limits.ts';
import { errorResponse } from './rpc-errors.ts';

export type Handler<S> = (params: unknown, session: S) => unknown;

export interface GateOptions<S> {
  readonly methods: Readonly<Record<string, Handler<S>>>;
  readonly isHeld?: (method: string, params: unknown) => boolean;
  /** An unforeseen fault: log it and give back the id under which the client may ask for it. */
  readonly onFault: (method: string, error: unknown) => string;
}

export interface AdmittedCall {
  readonly kind: 'call';
  readonly request: JSONRPCRequest;
  readonly held: boolean;
}
/** An element of a message after the gate's look at it. */
export type Admitted = AdmittedCall | { readonly kind: 'answer'; readonly response: JSONRPCResponse };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Numbers that JSON cannot carry back exactly are no ids. */
const isId = (id: unknown): id is JSONRPCID => id === null || typeof id === 'string' || Number.isSafeInteger(id);

export class Gate<S> {
  readonly #server = new JSONRPCServer<S>({ errorListener: () => {} });
  readonly #isHeld: (method: string, params: unknown) => boolean;
  readonly #known: ReadonlySet<string>;

  constructor(options: GateOptions<S>) {
    this.#known = new Set(Object.keys(options.methods));
    this.#isHeld = options.isHeld ?? (() => false);
    for (const [method, handler] of Object.entries(options.methods)) {
      // The whole answer, not only its result: what the library would wrap around a result costs as much as all else.
      this.#server.addMethodAdvanced(method, async ({ id, params }, session: S) => {
        try {
          const result: unknown = await handler(params, session);
          if (id !== undefined) return { jsonrpc: '2.0', id, result: result === undefined ? null : result };
          beginOf(result)?.();
          return null;
        } catch (error) {
          if (error instanceof WorkerdError) throw error;
          throw new WorkerdError('internal', 'internal error', { logId: options.onFault(method, error) });
        }
      });
    }
    this.#server.mapErrorToJSONRPCErrorResponse = (id, error: unknown) =>
      error instanceof WorkerdError
        ? errorResponse(id, error.rpcCode, error.message, error.data)
        : errorResponse(id, -32603, 'internal error', { code: 'internal', retry: false });
  }

  /** A whole message: its elements, and whether the answers go back as an array. */
  admit(message: unknown): { readonly elements: readonly Admitted[]; readonly batch: boolean } {
    if (!Array.isArray(message)) return { elements: [this.#admitOne(message)], batch: false };
    if (message.length === 0) return refused('an empty batch');
    if (message.length > limits.maxBatch) return refused(`a batch of more than ${limits.maxBatch} requests`);
    return { elements: message.map((element: unknown) => this.#admitOne(element)), batch: true };
  }

  /** Carries out one admitted call; never rejects. `null`: a notification, which gets no answer. */
  async call(request: JSONRPCRequest, session: S): Promise<JSONRPCResponse | null> {
    try {
      return await this.#server.receive(request, session);
    } catch {
      return request.id === undefined ? null : errorResponse(request.id, -32603, 'internal error');
    }
  }

  #admitOne(element: unknown): Admitted {
    if (!isObject(element)) return invalid(null, 'a request is an object');
    const rawId = element['id'];
    if (rawId !== undefined && !isId(rawId)) return invalid(null, 'id must be a string, a safe integer or null');
    const id = rawId as JSONRPCID | undefined;
    if (element['jsonrpc'] !== '2.0') return invalid(id ?? null, 'jsonrpc must be "2.0"');
    const method = element['method'];
    if (typeof method !== 'string') return invalid(id ?? null, 'method must be a string');
    const params = element['params'];
    if (params !== undefined && (typeof params !== 'object' || params === null)) {
      return invalid(id ?? null, 'params must be an object or an array');
    }
    const request = { jsonrpc: '2.0', method, params, ...(id === undefined ? {} : { id }) } as JSONRPCRequest;
    if (!this.#known.has(method)) {
      // A notification gets no answer, not even to say that nobody knows it.
      if (id === undefined) return { kind: 'call', request, held: false };
      return { kind: 'answer', response: errorResponse(id, -32601, `no such method: ${clip(method)}`) };
    }
    return { kind: 'call', request, held: this.#isHeld(method, params) };
  }

  knows(method: string): boolean {
    return this.#known.has(method);
  }
}

const clip = (text: string): string => (text.length > 64 ? `${text.slice(0, 64)}…` : text);
const invalid = (id: JSONRPCID, why: string): Admitted => ({
  kind: 'answer',
  response: errorResponse(id, -32600, `invalid request: ${why}`),
});
const refused = (what: string) => ({ elements: [invalid(null, what)], batch: false });
