/** What the package exports as `workerctl`; everything else is its own business and may change. */
export {
  type CallOptions,
  Client,
  type ConnectOptions,
  connect,
  type LogsCallOptions,
  type LogsOptions,
  type WatchOptions,
} from './client.ts';
export { type ErrorCode, type ErrorData, WorkerdError } from './errors.ts';
export type { MethodName, ParamsInput, Result, WorkerEvent } from './protocol.ts';
export type * from './worker.ts';
