/**
 * The thread hosts: processes that thread workers share. Finds or starts the one that fits a worker, ends it when it
 * has been empty for a while, forgets it when it died. What a host's end means for its threads is told by the shim,
 * run by run.
 */
import type { WorkerRecord } from './core/model.ts';
import { type Clock, type HostRow, isShimAway, type Logger, type Shim } from './ports.ts';
import type { Registry } from './registry.ts';
import { runMarker, type SpawnParams } from './shim/protocol.ts';

export interface HostsOptions {
  readonly registry: Registry;
  readonly shim: Shim;
  readonly clock: Clock;
  readonly log: Logger;
  readonly bootId: string;
  /** argv of a thread host. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logDirectory: string;
  readonly openFiles: number | null;
  readonly nonce: () => string;
}

interface Host {
  readonly run: string;
  readonly key: string;
  readonly threads: Set<string>;
  /** The shim was asked to start it. */
  asked: Promise<void>;
  pid: number | null;
  startTime: number | null;
  cancelEnd: () => void;
  ending: boolean;
  /** Shims that were asked for it. */
  asks: number;
}

/** A host that has been empty this long is ended: a restarted worker should still find it warm. */
const idleMs = 5000;
/** It may be what shims die of: its threads then are lost with it, as often as their policy says. */
const mostAsks = 3;
const hostLog = { maxBytes: 1024 * 1024, files: 2 };

/** No worker's name begins so. */
export const isHostRun = (run: string): boolean => run.startsWith('_host.');

/** What threads must share, as none of it can differ inside one process. As text it is the key of a host. */
interface Surroundings {
  readonly cwd: string;
  readonly umask: number;
  readonly nodeOptions: string | null;
}

const keyOf = ({ spec, caller }: WorkerRecord): string => {
  const inherited = spec.inheritEnv ? caller.env['NODE_OPTIONS'] : undefined;
  const surroundings: Surroundings = {
    cwd: spec.cwd ?? caller.cwd,
    umask: spec.umask ?? caller.umask,
    nodeOptions: spec.env['NODE_OPTIONS'] ?? inherited ?? null,
  };
  return JSON.stringify(surroundings);
};

export class Hosts {
  readonly #options: HostsOptions;
  readonly #hosts = new Map<string, Host>();

  constructor(options: HostsOptions) {
    this.#options = options;
  }

  /** After a daemon's start: the hosts that an earlier one had. */
  load(rows: readonly HostRow[], workers: Iterable<WorkerRecord>): void {
    for (const row of rows) {
      // Of another boot: whoever has its pid now is somebody else.
      if (row.bootId !== this.#options.bootId) {
        this.#options.registry.updateHost(row.run, null);
        continue;
      }
      this.#hosts.set(row.run, {
        ...row,
        threads: new Set(),
        asked: Promise.resolve(),
        cancelEnd() {},
        ending: false,
        asks: 1,
      });
    }
    for (const { run } of workers) {
      if (run?.host && run.stage !== 'closed') this.#hosts.get(run.host)?.threads.add(run.id);
    }
  }

  /** One that the registry does not know, from what the shim kept of it. */
  restore(run: string, key: string, { pid, startTime }: Pick<Host, 'pid' | 'startTime'>): void {
    if (this.#hosts.has(run)) return;
    const row = { run, key, pid, startTime, bootId: this.#options.bootId };
    this.load([row], this.#options.registry.all());
    this.#options.registry.updateHost(run, row);
  }

  /** The host for a thread that is about to start; what is new is in the registry, to be committed with the run. */
  place(worker: WorkerRecord, run: string): string {
    const key = keyOf(worker);
    const host = [...this.#hosts.values()].find((each) => each.key === key && !each.ending) ?? this.#open(key);
    host.cancelEnd();
    host.threads.add(run);
    return host.run;
  }

  /** Until the shim was asked for the host; rejects where it could not be. */
  async asked(run: string): Promise<void> {
    await this.#hosts.get(run)?.asked;
  }

  #open(key: string): Host {
    const { registry, nonce, bootId, log } = this.#options;
    const run = `_host.0.${nonce()}`;
    registry.updateHost(run, { run, key, pid: null, startTime: null, bootId });
    const host: Host = {
      run,
      key,
      threads: new Set(),
      asked: registry.committed().then(() => this.#spawn(run, key)),
      pid: null,
      startTime: null,
      cancelEnd() {},
      ending: false,
      asks: 1,
    };
    host.asked.catch((error: unknown) => {
      log.error({ run, error: String(error) }, 'could not ask the shim for a thread host');
      // A shim that went away is asked again, when one answers (adoption.ts).
      if (isShimAway(error)) return;
      this.#hosts.delete(run);
      registry.updateHost(run, null);
    });
    this.#hosts.set(run, host);
    return host;
  }

  async #spawn(run: string, key: string): Promise<void> {
    await this.#options.shim.call('spawn', this.#order(run, key));
  }

  #order(run: string, key: string): SpawnParams {
    const { command, env, logDirectory, openFiles } = this.#options;
    const { cwd, umask, nodeOptions } = JSON.parse(key) as Surroundings;
    return {
      run,
      name: '_host',
      generation: 0,
      kind: 'host',
      argv: command,
      env: { ...env, ...(nodeOptions === null ? {} : { NODE_OPTIONS: nodeOptions }), [runMarker]: run },
      cwd,
      umask,
      user: null,
      openFiles,
      stdin: false,
      stop: { signal: 'SIGTERM', graceMs: 0 },
      log: { directory: `${logDirectory}/${run}`, ...hostLog },
      host: null,
      launch: null,
      keep: [key],
    };
  }

  /** A host that a dead shim left: the one that answers now reads on. */
  async adopt(run: string): Promise<void> {
    const host = this.#hosts.get(run);
    if (host?.pid == null || host.startTime === null) return;
    const { pid, startTime } = host;
    await this.#options.shim.call('adopt', { ...this.#order(run, host.key), pid, startTime, revision: 0 });
  }

  /** One that a shim was asked for and never told of: asked for anew where threads wait for it, else forgotten. */
  async askAgain(run: string): Promise<void> {
    const host = this.#hosts.get(run);
    if (host === undefined) return;
    host.asks += 1;
    if (host.threads.size === 0 || host.asks > mostAsks) return this.exited(run);
    host.asked = this.#spawn(run, host.key);
    try {
      await host.asked;
    } catch (error) {
      if (isShimAway(error)) throw error;
      this.#options.log.error({ run, error: String(error) }, 'could not ask the shim for a thread host');
      this.exited(run);
    }
  }

  /** Its process is gone: nothing is started in it any more. What it left is read, then it has `exited`. */
  died(run: string): void {
    const host = this.#hosts.get(run);
    if (host !== undefined) host.ending = true;
  }

  /** It lives, or is about to. */
  isUsable(run: string): boolean {
    return this.#hosts.get(run)?.ending === false;
  }

  spawned(run: string, pid: number | null, startTime: number | null): void {
    const host = this.#hosts.get(run);
    if (host === undefined) return;
    host.pid = pid;
    host.startTime = startTime;
    const { registry, bootId, log } = this.#options;
    registry.updateHost(run, { run, key: host.key, pid, startTime, bootId });
    log.info({ run, pid }, 'thread host started');
  }

  identityOf(run: string): { pid: number; startTime: number } | null {
    const host = this.#hosts.get(run);
    return host?.pid == null || host.startTime === null ? null : { pid: host.pid, startTime: host.startTime };
  }

  /** Its threads are told of one by one; it goes out of the books. */
  exited(run: string): void {
    const host = this.#hosts.get(run);
    host?.cancelEnd();
    this.#hosts.delete(run);
    this.#options.registry.updateHost(run, null);
    this.#options.log.info({ run, pid: host?.pid ?? null }, 'thread host ended');
  }

  /** A thread that was taken over with it. */
  joined(hostRun: string, run: string): void {
    this.#hosts.get(hostRun)?.threads.add(run);
  }

  /** A thread is gone; the last one gives the host some time, then takes it along. */
  threadEnded(hostRun: string, run: string): void {
    const host = this.#hosts.get(hostRun);
    if (host === undefined) return;
    host.threads.delete(run);
    if (host.threads.size === 0) this.#endLater(host);
  }

  /** Hosts in which nothing lives any more (after a daemon's start). */
  endIdle(): void {
    for (const host of this.#hosts.values()) if (host.threads.size === 0) this.#endLater(host);
  }

  #endLater(host: Host): void {
    const { clock, shim } = this.#options;
    host.cancelEnd();
    host.cancelEnd = clock.at(clock.mono() + idleMs, () => {
      host.ending = true;
      shim.call('signal', { run: host.run, signal: 'SIGTERM', to: 'group' }).catch(() => {
        // No shim to tell it now: it can still be used, and is looked at again.
        host.ending = false;
        if (this.#hosts.has(host.run) && host.threads.size === 0) this.#endLater(host);
      });
    });
  }

  close(): void {
    for (const host of this.#hosts.values()) host.cancelEnd();
  }

  all(): Iterable<{ readonly run: string; readonly pid: number | null; readonly startTime: number | null }> {
    return this.#hosts.values();
  }
}
