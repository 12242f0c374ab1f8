/** Error objects of JSON-RPC, as plain data: apart from the gate, which clients do not need. */
import type { JSONRPCErrorResponse, JSONRPCID } from 'json-rpc-2.0';

export const errorResponse = (id: JSONRPCID, code: number, message: string, data?: unknown): JSONRPCErrorResponse => ({
  jsonrpc: '2.0',
  id,
  error: data === undefined ? { code, message } : { code, message, data },
});
