/**
 * The protocol between daemon and shim: small, versioned, frozen. Newline-delimited JSON-RPC on `shim.sock`, the daemon
 * asks, the shim tells facts as notifications.
 *
 * Order the shim MUST keep, per run:
 *   1. `spawned` before anything else; a run that could not be spawned has `exited` (spawn-failed) alone.
 *   2. `running` before `ready`; both at most once; both before `exited`.
 *   3. Whatever the run wrote before it ended (output, state, result) is in the files and in `exited` before that is told.
 *   4. `exited` exactly once, and last.
 * Facts carry one rising `seq` per shim, are kept until acknowledged, and are told again to whoever asks for `facts`.
 * `state` notifications are latest-wins and carry no `seq`; the newest state is also in `list` and in `exited`. What was
 * published before `ready` is told before it; older shims told it after.
 */
import type { SoftLimits } from '../../shared/resource-limits.ts';
import type { Exit, Json, JsonObject } from '../../shared/worker.ts';

export const shimProtocolVersion = 1;

/** The environment variable by which every process of a run is found; its value is the run id. */
export const runMarker = 'WORKERD_RUN';

export interface HelloParams {
  readonly protocol: number;
  /** 64 hex digits from `<home>/shim.token`; against speaking to the wrong shim. */
  readonly token: string;
}
export interface HelloResult {
  readonly protocol: number;
  readonly version: string;
  readonly pid: number;
  /** In clock ticks since boot, as in /proc/PID/stat field 22. */
  readonly startTime: number;
}

/** What to run. `host` names the run of a thread host: then nothing is spawned, `launch` is sent to that host. */
export interface SpawnParams {
  /** Unique for ever; spawning a known one again changes nothing. */
  readonly run: string;
  readonly name: string;
  readonly generation: number;
  /**
   * `command`: may say state, ready, progress on fd 3. `module`: a process host, which also says running and exit.
   * `host`: a thread host, which tells of its threads. `thread`: a run inside one.
   */
  readonly kind: 'command' | 'module' | 'host' | 'thread';
  readonly argv: readonly string[];
  /** The whole environment, marker and all. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly umask: number;
  readonly user: string | null;
  /** Soft limit of open files that holds for the worker; `null`: as the shim has it. */
  readonly openFiles: number | null;
  /** More of its soft limits; what is not named is as the shim was started with. Absent from daemons older than it. */
  readonly limits?: SoftLimits;
  readonly stdin: boolean;
  /** How the shim itself ends the run when it is told to end. */
  readonly stop: { readonly signal: string; readonly graceMs: number };
  readonly log: { readonly directory: string; readonly maxBytes: number; readonly files: number };
  readonly host: string | null;
  /** For `thread`: what the host needs to know; the shim adds the run and the paths of its FIFOs. */
  readonly launch: JsonObject | null;
  /**
   * What the daemon wants to be told again of this run should its registry be lost (`kept`); never looked into. Absent
   * from daemons older than it.
   */
  readonly keep?: readonly string[];
}

/** What the daemon has on disk of a run whose shim is gone. */
export interface Known {
  readonly running: boolean;
  readonly ready: boolean;
  readonly state: JsonObject | null;
  readonly stateAt: number | null;
  /** Since it was started. */
  readonly ranMs: number;
}

export interface RunStatus {
  readonly run: string;
  readonly name: string;
  readonly generation: number;
  readonly kind: SpawnParams['kind'];
  readonly host: string | null;
  readonly pid: number | null;
  readonly startTime: number | null;
  readonly running: boolean;
  readonly ready: boolean;
  readonly state: JsonObject | null;
  readonly stateAt: number | null;
  readonly stateRevision: number;
  readonly exited: boolean;
  /** Spawned by an earlier shim: this one is not its parent and will see no exit (see `adopt`). */
  readonly adopted: boolean;
  /** Why its log cannot be written, as it was remarked; absent where it can, and from shims older than it. */
  readonly logFailing?: string;
}

interface FactBase {
  readonly seq: number;
  readonly run: string;
  /** Wall clock, milliseconds since the epoch. */
  readonly at: number;
}
export type Fact = FactBase &
  (
    | { readonly kind: 'spawned'; readonly pid: number | null; readonly startTime: number | null }
    | { readonly kind: 'running'; readonly threadId: number | null }
    | { readonly kind: 'ready' }
    | {
        readonly kind: 'exited';
        readonly exit: Exit;
        /** How long it ran, by a clock that nobody sets. */
        readonly ranMs: number;
        readonly state: JsonObject | null;
        readonly stateAt: number | null;
        readonly stateRevision: number;
        readonly result: Json;
        /** The shim ended it because it was itself told to end. */
        readonly byShim: boolean;
      }
  );

/** Latest-wins: told when it changes, held back while the daemon does not read. */
export interface StateNote {
  readonly run: string;
  readonly state: JsonObject;
  readonly at: number;
  readonly revision: number;
}

/** For the daemon's log: a run wrote rubbish on its control channel, a log could not be written, … */
export interface Remark {
  readonly run: string | null;
  readonly message: string;
  /** Its log cannot be written, or can again. Absent where it is of something else, and from shims older than it. */
  readonly log?: LogTurn;
}
export type LogTurn = 'failing' | 'resumed';

export interface ShimMethods {
  hello: { params: HelloParams; result: HelloResult };
  list: { params: Record<string, never>; result: { readonly runs: readonly RunStatus[]; readonly seq: number } };
  /** Tells every kept fact after `after`, then each new one, as `fact`; and the newest states as `state`. */
  facts: { params: { readonly after: number }; result: Record<string, never> };
  /** Facts up to this one are safe with the daemon. */
  ack: { params: { readonly upTo: number }; result: Record<string, never> };
  /** Answered when the order was taken; what came of it is told as facts. */
  spawn: { params: SpawnParams; result: Record<string, never> };
  signal: {
    params: { readonly run: string; readonly signal: string; readonly to: 'group' | 'leader' };
    result: { readonly delivered: boolean };
  };
  /** One line of JSON to the run's control-down channel. */
  down: { params: { readonly run: string; readonly message: JsonObject }; result: { readonly delivered: boolean } };
  input: { params: { readonly run: string; readonly text: string }; result: { readonly delivered: boolean } };
  publish: {
    params: { readonly run: string; readonly patch: JsonObject };
    result: { readonly state: JsonObject; readonly revision: number };
  };
  /**
   * A run that an earlier, dead shim spawned and that still lives: open its FIFOs by name and read on. The shim is not
   * its parent and will see no exit: the daemon looks for that and says `conclude`.
   */
  adopt: {
    params: SpawnParams & {
      readonly pid: number;
      readonly startTime: number;
      readonly revision: number;
      /** How far it was known to be. Absent from daemons older than it. */
      readonly known?: Known;
    };
    /** `known`: that was taken. Shims older than it do not say so, and have to be told the state by `publish`. */
    result: { readonly known?: true };
  };
  /** An adopted run is gone: read its FIFOs empty and tell `exited` with this exit (unless it said its own before). */
  conclude: { params: { readonly run: string; readonly exit: Exit }; result: Record<string, never> };
  /** The daemon has closed an exited run: its record may go (its FIFOs go once nobody holds them). */
  release: { params: { readonly run: string }; result: Record<string, never> };
  /** What was left with the order of this run. Shims older than it do not know the method. */
  kept: { params: { readonly run: string }; result: { readonly keep: readonly string[] } };
  /** Ends every run in good order, then the shim. */
  shutdown: { params: Record<string, never>; result: { readonly pid: number } };
}
export type ShimMethod = keyof ShimMethods;

export interface ShimNotifications {
  fact: Fact;
  state: StateNote;
  remark: Remark;
}

/** Names of a run's FIFOs in `<home>/run/<run id>/`. */
export const fifoNames = { out: 'out', err: 'err', up: 'up', down: 'down', in: 'in' } as const;

/**
 * The control channel of a run, as lines of JSON. Up: what any worker may say, and what only our hosts say.
 * Unknown lines from a worker are rubbish: remarked once, otherwise ignored.
 */
export interface UpLines {
  readonly state: { readonly state: JsonObject };
  /**
   * In answer to `again`: what was published from outside, as the worker heard of it; what was passed on to it since it
   * was asked is newer. Shims older than it leave it out.
   */
  readonly heard: { readonly state: JsonObject; readonly heard: JsonObject };
  readonly progress: { readonly progress: { done: number; total?: number | null; unit?: string | null } };
  readonly ready: { readonly ready: true };
  /** Hosts only: the module was evaluated and its function called. */
  readonly running: { readonly running: true; readonly threadId?: number };
  /** Hosts only: how the module's function ended. `result` with `returned` alone. */
  readonly exit: { readonly exit: Exit; readonly result?: Json };
  /** Thread hosts only, on the host's own channel: the thread of this run is gone. */
  readonly threadExited: { readonly threadExited: { readonly run: string; readonly exit: Exit } };
}
export interface DownLines {
  readonly stop: { readonly stop: { reason: string; deadline: string; by: Json } };
  readonly message: { readonly message: string };
  /** A patch published from outside. */
  readonly state: { readonly state: JsonObject };
  /** What the worker sent was refused. */
  readonly error: { readonly error: string };
  /** To thread hosts only. `launch` is the daemon's ThreadLaunch, `fifos` absolute paths. */
  readonly launch: {
    readonly launch: JsonObject;
    readonly run: string;
    readonly fifos: { readonly out: string; readonly err: string; readonly up: string; readonly down: string };
  };
  readonly terminate: { readonly terminate: { readonly run: string } };
  /**
   * To modules of a shim that is gone, from the next one: say again what holds (running, ready, the whole state). What
   * the dead one had read, and not passed on, is known to nobody else. Hosts older than it do not know the word.
   */
  readonly again: { readonly again: true };
}

/** What a thread host is told of a thread (`launch`), and a process host through its environment and argv. */
export interface ThreadLaunch {
  readonly name: string;
  readonly generation: number;
  readonly module: string;
  readonly export: string;
  readonly params: Json;
  readonly env: Readonly<Record<string, string>>;
}
