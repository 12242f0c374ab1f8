/**
 * What the test has done, and when: so that every ending, every refusal and every answer that did not come can be asked
 * for its cause. Everything is written down before it is done. What had no cause is a problem.
 */

/** What may end a run, or cut a request. `to` is pulled in once its effect is known to be over. */
export interface Cause {
  readonly kind: 'stop' | 'signal' | 'kill' | 'host-kill' | 'shim-kill';
  /** `null`: any. */
  readonly name: string | null;
  readonly signal: string | null;
  /** The run that was hit, where it is known. */
  readonly run: string | null;
  readonly fromMs: number;
  toMs: number;
}

export type DisturbanceKind = 'kill' | 'restart' | 'pause' | 'cut' | 'client' | 'shim';

interface Disturbance {
  readonly kind: DisturbanceKind;
  readonly fromMs: number;
  toMs: number;
}

/** A shim was killed at some time between the two. */
export interface ShimKill {
  readonly fromMs: number;
  readonly toMs: number;
  /** Together with the daemon: then what was not on disk yet, and what nobody had read, is known to nobody. */
  readonly both: boolean;
}

/** How long a kill may take to be seen as an ending: a row's second, five times over. */
const killSeenWithinMs = 5000;
/** After the daemon is said to be there again, clients take this long to notice. */
const afterMs = 1500;

export interface Counts {
  [what: string]: number;
}

export class Books {
  readonly problems: string[] = [];
  readonly counts: Counts = {};
  readonly recoveriesMs: number[] = [];
  readonly #causes: Cause[] = [];
  #disturbances: Disturbance[] = [];
  readonly #shimKills: ShimKill[] = [];
  readonly #began = performance.now();

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  /** Seconds since the beginning, for people who compare a problem with the daemon's log. */
  get clock(): string {
    return `${((performance.now() - this.#began) / 1000).toFixed(2)}s ${new Date().toISOString().slice(11, 23)}`;
  }

  problem(text: string): void {
    if (this.problems.length < 200) this.problems.push(`[${this.clock}] ${text}`);
    if (process.env['WORKERD_SOAK_LOUD'] !== undefined) console.error(`PROBLEM [${this.clock}] ${text}`);
  }

  cause(cause: Omit<Cause, 'fromMs' | 'toMs'>): Cause {
    const lasting = cause.kind === 'stop' ? Infinity : killSeenWithinMs;
    const written = { ...cause, fromMs: Date.now(), toMs: Date.now() + lasting };
    this.#causes.push(written);
    return written;
  }

  /** It is killed by the call, right after that is written down. */
  shimKilled(both: boolean, kill: () => void): void {
    const fromMs = Date.now();
    this.cause({ kind: 'shim-kill', name: null, signal: null, run: null });
    kill();
    this.#shimKills.push({ fromMs, toMs: Date.now(), both });
    this.count('shims killed');
  }

  /** Of a run that lived between the two. */
  shimKills(fromMs: number, toMs: number): readonly ShimKill[] {
    return this.#shimKills.filter((kill) => kill.toMs + 1 >= fromMs && kill.fromMs <= toMs + 1);
  }

  /** Those that can have ended a run at that moment. */
  causesOf(name: string, run: string | null, atMs: number): readonly Cause[] {
    // The ending's time is the shim's, taken a little after the fact and cut to milliseconds.
    return this.#causes.filter(
      (cause) =>
        (cause.name === null || cause.name === name) &&
        (cause.run === null || run === null || cause.run === run) &&
        cause.fromMs <= atMs + 1 &&
        atMs <= cause.toMs + 50,
    );
  }

  disturbance(kind: DisturbanceKind): { readonly over: () => void } {
    const written: Disturbance = { kind, fromMs: Date.now(), toMs: Infinity };
    this.#disturbances.push(written);
    this.count(`disturbance: ${kind}`);
    if (this.#disturbances.length > 400) this.#disturbances = this.#disturbances.slice(-200);
    return {
      over: () => {
        written.toMs = Date.now() + afterMs;
      },
    };
  }

  /** A shim was away, or stood still, at some time since then: what was passed to it may not be known. */
  shimDisturbedSince(fromMs: number): boolean {
    return this.#disturbances.some(({ kind, toMs }) => kind === 'shim' && toMs >= fromMs);
  }

  /** Something that may cut a request was going on at some time since then. */
  disturbedSince(fromMs: number, but: readonly DisturbanceKind[] = ['shim']): boolean {
    return this.#disturbances.some(({ kind, toMs }) => !but.includes(kind) && toMs >= fromMs);
  }
}
