/** Error objects of JSON-RPC, as plain data: apart from the gate, which clients do not need. */
import type { JSONRPCErrorResponse, JSONRPCID, JSONRPCRequest, JSONRPCResponse } from 'json-rpc-2.0';
import { WorkerdError } from './errors.ts';
import { limits } from './limits.ts';

export const errorResponse = (id: JSONRPCID, code: number, message: string, data?: unknown): JSONRPCErrorResponse => ({
  jsonrpc: '2.0',
  id,
  error: data === undefined ? { code, message } : { code, message, data },
});

/** An answer longer than a frame is the client's to ask for in smaller parts. */
export const encodeAnswer = (answer: JSONRPCResponse): string => {
  const text = JSON.stringify(answer);
  if (text.length * 3 <= limits.maxFrameBytes || Buffer.byteLength(text) <= limits.maxFrameBytes) return text;
  const { rpcCode, message, data } = new WorkerdError(
    'limit.exceeded',
    `the answer is longer than ${limits.maxFrameBytes} bytes; ask for less at a time`,
    { limit: 'maxFrameBytes' },
  );
  return JSON.stringify(errorResponse(answer.id, rpcCode, message, data));
};

export const tooManyHeld = (request: JSONRPCRequest): JSONRPCResponse | null => {
  if (request.id === undefined) return null;
  const error = new WorkerdError('limit.exceeded', `at most ${limits.maxHeld} requests may wait on one connection`, {
    limit: 'maxHeld',
  });
  return errorResponse(request.id, error.rpcCode, error.message, error.data);
};
