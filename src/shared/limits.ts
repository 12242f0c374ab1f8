/** Every bound that a peer can meet, with its unit. Reaching one is said, never hidden. */
export const limits = {
  /** One message (a line without its newline), in bytes, either way. */
  maxFrameBytes: 1024 * 1024,
  /** Nesting of arrays and objects in a message. */
  maxDepth: 64,
  maxBatch: 100,
  /** A line that was begun must be ended within this. */
  unfinishedFrameMs: 10_000,
  /** Answers waiting for a client that does not read; beyond it the connection is cut. */
  maxUnreadBytes: 8 * 1024 * 1024,
  /** Requests in work on one connection; beyond it the connection is not read. */
  maxInFlight: 64,
  /** Held requests (`wait`, a `start` that waits) on one connection; beyond it `limit.exceeded`. */
  maxHeld: 1024,
  /** Held requests on all connections together. */
  maxHeldInAll: 16_384,
  /** Unread answers and unfinished lines of all connections together; beyond it the worst one is cut off. */
  maxBytesInAll: 128 * 1024 * 1024,
  maxConnections: 1024,
  maxSubscriptions: 64,
  maxSubscriptionsInAll: 4096,
  /** Published state, as JSON. */
  maxStateBytes: 64 * 1024,
  /** What a module returns, as JSON. */
  maxResultBytes: 256 * 1024,
  /** Environment and arguments of a worker in sum. */
  maxEnvironmentBytes: 512 * 1024,
  /** One string of an argv or an environment: the kernel's MAX_ARG_STRLEN. */
  maxStringBytes: 128 * 1024,
  /** Path of a Unix socket: what macOS takes, and one byte less than Linux silently cuts at. */
  maxSocketPathBytes: 103,
} as const;
