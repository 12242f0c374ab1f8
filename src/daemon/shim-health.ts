/**
 * Whether there is a shim that answers, for whoever wants to know: said of it when it is lost, and looked at when asked.
 * A look never waits for the shim: one that is stopped by a signal is seen at once, one that hangs is seen once a
 * question to it has been open for a second.
 */
import type { ShimInfo } from '../shared/daemon-info.ts';
import type { Clock } from './ports.ts';
import type { Problems } from './problems.ts';
import { readStat } from './proc.ts';
import type { HelloResult } from './shim/protocol.ts';

/** The daemon's line to the shim, as far as it matters here. */
export interface Line {
  readonly shim: (HelloResult & { /** By the clock that nobody sets. */ readonly heardMono: number }) | null;
  call(method: 'ack', params: { readonly upTo: number }): Promise<unknown>;
}

export interface ShimHealthOptions {
  readonly line: () => Line;
  readonly clock: Clock;
  readonly problems: Problems;
  /** Where the shim says what it says by itself. */
  readonly shimLog: string;
  /** It is a service manager's to start. */
  readonly external: boolean;
  /** The state of a process, as in /proc/PID/stat; `null`: it is gone. */
  readonly stateOf?: (pid: number) => string | null;
}

/** So long it may take to answer before that is said, and before it is called a problem. */
const [promptMs, patienceMs] = [250, 1000];
/** What it said by itself that shortly ago is an answer as well. */
const freshMs = 500;

const effects = 'workers go on, what they print waits in their pipes; starts and stops wait';

const stateInTable = (pid: number): string | null => {
  try {
    return readStat(pid)?.state ?? null;
  } catch {
    // No descriptor to look with: that is said elsewhere.
    return null;
  }
};

export class ShimHealth {
  readonly #options: ShimHealthOptions;
  readonly #stateOf: (pid: number) => string | null;
  /** When the question was asked that is open. */
  #askedMono: number | null = null;
  /** By a signal, when it was last looked at. */
  #isStopped = false;

  constructor(options: ShimHealthOptions) {
    this.#options = options;
    this.#stateOf = options.stateOf ?? stateInTable;
    options.problems.look('shim-silent', () => this.#look());
  }

  get info(): ShimInfo | null {
    const { shim } = this.#options.line();
    if (shim === null) return null;
    const { pid, version, protocol } = shim;
    return { pid, version, protocol, answers: !this.#isStopped && this.#openMs() < promptMs };
  }

  /** The connection ended. */
  lost(why: string): void {
    this.#askedMono = null;
    this.#gone(why);
  }

  notReached(why: string, next?: string): void {
    this.#gone(why, next);
  }

  /** One answers, and has told what it kept. */
  found(): void {
    this.#options.problems.clear('shim-gone');
  }

  #gone(why: string, remedy?: string): void {
    const { problems, external, shimLog } = this.#options;
    const usual = external
      ? 'Start it: systemctl start workerd-shim (or, as a user, systemctl --user)'
      : `Another is being started. If this stays, see: ${shimLog}`;
    problems.set('shim-gone', `there is no shim, the parent of the workers (${why}): ${effects}. ${remedy ?? usual}`);
  }

  /** How long the question to it has been open. */
  #openMs(): number {
    return this.#askedMono === null ? 0 : this.#options.clock.mono() - this.#askedMono;
  }

  #look(): string | null {
    const { line } = this.#options;
    const { shim } = line();
    this.#isStopped = false;
    if (shim === null) return null;
    const { pid } = shim;
    const state = this.#stateOf(pid);
    this.#isStopped = state === 'T' || state === 't';
    if (this.#isStopped) {
      return `the shim (pid ${pid}) is stopped by a signal: ${effects}. Let it go on with: kill -CONT ${pid}`;
    }
    this.#ask();
    const openMs = this.#openMs();
    if (openMs < patienceMs) return null;
    const uninterruptible = state === 'D' ? ', it waits for a disk' : '';
    const seconds = Math.floor(openMs / 1000);
    const next = `It is given time; see what it does: cat /proc/${pid}/stack /proc/${pid}/status`;
    return `the shim (pid ${pid}) has not answered for ${seconds} s${uninterruptible}: ${effects}. ${next}`;
  }

  /** One question at a time, and none where it has just spoken. */
  #ask(): void {
    const { line, clock } = this.#options;
    const heardMono = line().shim?.heardMono ?? Number.NEGATIVE_INFINITY;
    if (this.#askedMono !== null || clock.mono() - heardMono < freshMs) return;
    const asked = clock.mono();
    this.#askedMono = asked;
    const answered = () => {
      if (this.#askedMono === asked) this.#askedMono = null;
    };
    // Nothing is acknowledged by it: it is the smallest thing that can be asked.
    line().call('ack', { upTo: 0 }).then(answered, answered);
  }
}
