/** What a daemon tells of itself and of its surroundings, as types: the result of `daemon.info`. */

/** What can be wrong with the daemon itself; how a worker fares is no such thing. */
export type ProblemKind = 'registry' | 'shim-gone' | 'shim-silent' | 'descriptors' | 'logs';
export interface Problem {
  readonly kind: ProblemKind;
  readonly since: string;
  /** The thing, the reason, the next step. */
  readonly message: string;
}
export interface DaemonInfo {
  readonly version: string;
  readonly protocol: number;
  readonly pid: number;
  readonly home: string;
  readonly socket: string;
  readonly startedAt: string;
  /** The version of Node it runs in. */
  readonly node: string;
  /** `null`: there is none that it is connected to. */
  readonly shim: ShimInfo | null;
  readonly problems: readonly Problem[];
}
export interface ShimInfo {
  readonly pid: number;
  readonly version: string;
  readonly protocol: number;
  /** False where a question to it stays open; after a second that is a problem. */
  readonly answers: boolean;
}
