/**
 * The closed list of errors: RPC code, exit code of the CLI, and whether the same request may succeed later.
 * How a worker ended is not an error but data (`Exit` in worker.ts).
 */

interface ErrorKind {
  readonly rpc: number;
  readonly exit: number;
  readonly retry: boolean;
}

export const errorKinds = {
  'worker.not-found': { rpc: -32001, exit: 4, retry: false },
  'worker.already-running': { rpc: -32002, exit: 1, retry: false },
  'worker.start-failed': { rpc: -32003, exit: 1, retry: false },
  'worker.spec-conflict': { rpc: -32004, exit: 1, retry: false },
  'worker.busy': { rpc: -32005, exit: 1, retry: true },
  'worker.not-running': { rpc: -32006, exit: 1, retry: false },
  'wait.timeout': { rpc: -32007, exit: 124, retry: true },
  'wait.impossible': { rpc: -32008, exit: 1, retry: false },
  'daemon.stopping': { rpc: -32009, exit: 125, retry: true },
  'limit.exceeded': { rpc: -32010, exit: 1, retry: true },
  usage: { rpc: -32602, exit: 2, retry: false },
  'daemon.unreachable': { rpc: -32098, exit: 125, retry: true },
  internal: { rpc: -32603, exit: 125, retry: false },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

/** A message that is too long, or a state, is so the next time, too: these limits are met again. */
const limitsOfSize: ReadonlySet<unknown> = new Set(['maxFrameBytes', 'maxStateBytes']);

/** Exit codes that are no error of ours. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notFound: 4,
  noPermission: 77,
  timeout: 124,
  unreachable: 125,
  interrupted: 130,
} as const;

export interface ErrorData {
  readonly code: ErrorCode;
  readonly retry: boolean;
  readonly [key: string]: unknown;
}

/** Thrown by handlers and by the client alike; everything else that is thrown is a bug. */
export class WorkerdError extends Error {
  override readonly name = 'WorkerdError';
  readonly code: ErrorCode;
  readonly data: ErrorData;
  /** The JSON-RPC code this error travels as. */
  readonly rpcCode: number;

  constructor(
    code: ErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    options: { rpcCode?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.data = { ...details, code, retry: errorKinds[code].retry && !limitsOfSize.has(details['limit']) };
    this.rpcCode = options.rpcCode ?? errorKinds[code].rpc;
  }

  get exitCode(): number {
    const own = this.data['exitCode'];
    return typeof own === 'number' ? own : errorKinds[this.code].exit;
  }
}

export const isErrorCode = (text: unknown): text is ErrorCode =>
  typeof text === 'string' && Object.hasOwn(errorKinds, text);

/** A JSON-RPC error object read back into the class; codes of the specification become `usage` or `internal`. */
export const errorFromRpc = (error: { code: number; message: string; data?: unknown }): WorkerdError => {
  const data =
    typeof error.data === 'object' && error.data !== null ? (error.data as Readonly<Record<string, unknown>>) : {};
  const named = data['code'];
  if (isErrorCode(named)) return new WorkerdError(named, error.message, data, { rpcCode: error.code });
  const code: ErrorCode = error.code === -32603 ? 'internal' : error.code <= -32600 ? 'usage' : 'internal';
  return new WorkerdError(code, error.message, data, { rpcCode: error.code });
};

export const connectionLost = (why: string): WorkerdError =>
  new WorkerdError('daemon.unreachable', `the connection to the daemon was lost: ${why}`, {
    reason: 'connection lost',
  });

/** It never was one of the daemon's: to ask again at once, as after a loss, would only be refused again. */
export const turnedAway = (why: string): WorkerdError =>
  new WorkerdError('daemon.unreachable', `the daemon does not serve this connection: ${why}`, {
    reason: 'too many connections',
  });
