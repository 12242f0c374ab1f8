/** What `doctor` looks at, as plain facts: gathered from the world by its siblings, judged by the checks. */
import type { DaemonInfo } from '../../shared/daemon-info.ts';
import type { Mount } from '../../shared/mounts.ts';
import type { Places } from '../../shared/paths.ts';
import type { WorkerView } from '../../shared/worker.ts';

export type EntryKind = 'directory' | 'file' | 'socket' | 'fifo' | 'link' | 'other';

/** A name in the file system, not followed where it is a link. */
export interface Entry {
  readonly path: string;
  readonly kind: EntryKind;
  readonly uid: number;
  /** Permission bits, the sticky one included. */
  readonly mode: number;
  readonly links: number;
  readonly bytes: number;
  readonly changedAt: number;
}
/** Nothing there (`ENOENT`), or it cannot be looked at. */
export interface Unseen {
  readonly path: string;
  readonly error: string;
}
export type Seen = Entry | Unseen;
export const isEntry = (seen: Seen): seen is Entry => !('error' in seen);

/** Of the home's file system, as the one who asks may use it. */
export interface Space {
  readonly freeBytes: number;
  readonly allBytes: number;
  readonly freeInodes: number;
  /** 0: it has none to count. */
  readonly allInodes: number;
}

export interface RegistryFile {
  /** Its first bytes are those of an SQLite database. */
  readonly isDatabase: boolean;
  /** As long as it says it is, or not known. */
  readonly isWhole: boolean;
  /** What SQLite found; `null`: not looked, since somebody uses it or left a log beside it. */
  readonly fault: string | null;
}

/** What lies in the home. */
export interface HomeFacts {
  readonly home: Seen;
  /** From its directory up to the root: as it is written, and with links followed. */
  readonly parents: readonly Entry[];
  readonly socket: Seen;
  /** The socket's directory, where that is not the home. */
  readonly socketDirectory: Seen | null;
  /** All that a daemon keeps there, as far as it is there. */
  readonly files: readonly Seen[];
  /** Directories of runs, by run id. */
  readonly runs: readonly string[];
  /** Registries that were moved aside. */
  readonly damaged: readonly string[];
  readonly registry: RegistryFile | null;
  /** The file system that it is on. */
  readonly mount: Mount | null;
  readonly space: Space | null;
  readonly serviceMark: boolean;
  /** What the daemon's own log says last, where that is an error. */
  readonly lastWords: string | null;
}

export interface Limit {
  readonly soft: number | null;
  readonly hard: number | null;
}

export interface ProcessFacts {
  readonly pid: number;
  readonly uid: number;
  /** As in /proc/PID/stat: `T` is stopped by a signal. */
  readonly state: string;
  /** By the clock that nobody sets, since the machine's start. */
  readonly startedAfterBootMs: number;
  /** Its program; `null`: not ours to see. */
  readonly program: string | null;
  /** That program was removed or replaced since. */
  readonly programGone: boolean;
  readonly openFiles: Limit;
  readonly openedFiles: number | null;
  readonly processes: Limit;
  /** The tightest of its control groups. */
  readonly group: { readonly path: string; readonly max: number; readonly now: number } | null;
}

export type Reach =
  | {
      readonly kind: 'answers';
      readonly latencyMs: number;
      /** An older daemon does not tell all of it. */
      readonly info: Partial<DaemonInfo> & Pick<DaemonInfo, 'pid'>;
      /** `null`: it did not say in time. */
      readonly workers: readonly WorkerView[] | null;
    }
  | { readonly kind: 'silent'; readonly why: string }
  | { readonly kind: 'absent'; readonly stale: boolean }
  | { readonly kind: 'denied' }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'replaced' }
  | { readonly kind: 'refuses'; readonly why: string };

export interface ProcessesFacts {
  /** Who holds the lock of the home: the daemon, whether it answers or not. */
  readonly daemon: ProcessFacts | null;
  /** Where it was told to listen; `null`: where it does by default. */
  readonly daemonSocket: string | null;
  readonly shims: readonly ProcessFacts[];
  /** Runs that a living process carries the mark of. */
  readonly runs: ReadonlySet<string>;
  /** Processes and threads of the daemon's user. */
  readonly threads: number;
}

export interface ClockFacts {
  readonly now: number;
  /** The time by the kernel's own books; `null`: not known. */
  readonly kernelNow: number | null;
  readonly sinceBootMs: number | null;
}

/** A program of our names, found on PATH. */
export interface FoundProgram {
  readonly name: 'workerd' | 'workerctl';
  readonly path: string;
  /** `runtime`: the JavaScript runtime of that name; `install`: another one of ours. */
  readonly kind: 'ours' | 'install' | 'runtime' | 'unknown';
  readonly version: string | null;
}

export interface Unit {
  readonly name: string;
  readonly enabled: boolean;
  readonly active: boolean;
  /** `active`, `failed`, … as systemd has it. */
  readonly state: string;
}

export interface Facts {
  readonly uid: number;
  readonly userNames: ReadonlyMap<number, string>;
  readonly cli: { readonly version: string; readonly node: string; readonly program: string };
  readonly places: Places;
  readonly asked: { readonly home: string | undefined; readonly socket: string | undefined };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: HomeFacts;
  readonly reach: Reach;
  readonly processes: ProcessesFacts;
  readonly clock: ClockFacts;
  /** In the order of PATH. */
  readonly programs: readonly FoundProgram[];
  readonly units: readonly Unit[];
}
