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
export type Admitted = AdmittedCall | { readonly kind: 'answer'; readonly response: Answer };

/** `null`: there is none to give. */
export type Answer = JSONRPCResponse | null;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Numbers that JSON cannot carry back exactly are no ids. */
const isId = (id: unknown): id is JSONRPCID => id === null || typeof id === 'string' || Number.isSafeInteger(id);

export class Gate<S> {
  /** Serves what takes a while; what it is given to serve is the result that is still to come. */
  readonly #server = new JSONRPCServer<Promise<unknown>>({ errorListener: () => {} });
  readonly #options: GateOptions<S>;
  readonly #handlers: ReadonlyMap<string, Handler<S>>;

  constructor(options: GateOptions<S>) {
    this.#options = options;
    this.#handlers = new Map(Object.entries(options.methods));
    for (const method of this.#handlers.keys()) {
      // The whole answer, not only its result: what the library would wrap around a result costs as much as all else.
      this.#server.addMethodAdvanced(method, async ({ id }, result) => {
        try {
          return answerTo(id, await result);
        } catch (error) {
          return this.#failure(id, method, error);
        }
      });
    }
  }

  /** A whole message: its elements, and whether the answers go back as an array. */
  admit(message: unknown): { readonly elements: readonly Admitted[]; readonly batch: boolean } {
    if (!Array.isArray(message)) return { elements: [this.#admitOne(message)], batch: false };
    if (message.length === 0) return refused('an empty batch');
    if (message.length > limits.maxBatch) return refused(`a batch of more than ${limits.maxBatch} requests`);
    return { elements: message.map((element: unknown) => this.#admitOne(element)), batch: true };
  }

  /**
   * Carries out one admitted call; never throws or rejects. `null`: a notification, which gets no answer. What its
   * handler knows at once is answered at once: most of what a short request would cost is to wait for nothing.
   */
  call(request: JSONRPCRequest, session: S): Answer | Promise<Answer> {
    const { id, method, params } = request;
    try {
      const result = this.#handlers.get(method)?.(params, session);
      if (!(result instanceof Promise)) return answerTo(id, result);
      return Promise.resolve(this.#server.receive(request, result));
    } catch (error) {
      return this.#failure(id, method, error);
    }
  }

  /** What is told of a fault that is nobody's mistake is where to ask for it. */
  #failure(id: JSONRPCID | undefined, method: string, error: unknown): Answer {
    const told =
      error instanceof WorkerdError
        ? error
        : new WorkerdError('internal', 'internal error', { logId: this.#options.onFault(method, error) });
    return id === undefined ? null : errorResponse(id, told.rpcCode, told.message, told.data);
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
    if (!this.#handlers.has(method)) {
      // A notification gets no answer, not even to say that nobody knows it.
      if (id === undefined) return { kind: 'answer', response: null };
      return { kind: 'answer', response: errorResponse(id, -32601, `no such method: ${clip(method)}`) };
    }
    const request: JSONRPCRequest =
      id === undefined ? { jsonrpc: '2.0', method, params } : { jsonrpc: '2.0', method, params, id };
    return { kind: 'call', request, held: this.#options.isHeld?.(method, params) ?? false };
  }
}

const answerTo = (id: JSONRPCID | undefined, result: unknown): Answer => {
  if (id !== undefined) return { jsonrpc: '2.0', id, result: result === undefined ? null : result };
  beginOf(result)?.();
  return null;
};
const clip = (text: string): string => (text.length > 64 ? `${text.slice(0, 64)}…` : text);
const invalid = (id: JSONRPCID, why: string): Admitted => ({
  kind: 'answer',
  response: errorResponse(id, -32600, `invalid request: ${why}`),
});
const refused = (what: string) => ({ elements: [invalid(null, what)], batch: false });
