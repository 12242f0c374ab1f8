/**
 * What the directories of FIFOs tell where neither the registry nor a shim knows a run (both were lost): whoever lives
 * in one is listed as it looks from outside, so that it is seen, stopped, and never started a second time. Where nobody
 * lives, the directory goes.
 */
import { readdirSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import type { Places } from '../shared/paths.ts';
import { isWorkerName } from '../shared/worker.ts';
import type { Identity, KnownLeftover, WorkerRecord } from './core/model.ts';
import { nameOfRun } from './core/new-run.ts';
import { type Hosts, isHostRun } from './hosts.ts';
import type { Clock, Logger, ProcessTable, Shim } from './ports.ts';
import { recordSeen } from './rebuild.ts';
import type { Registry } from './registry.ts';
import type { RunStatus } from './shim/protocol.ts';
import type { Sweeper } from './sweeper.ts';

export interface SurvivorsOptions {
  readonly registry: Registry;
  readonly shim: Shim;
  readonly hosts: Hosts;
  readonly processes: ProcessTable;
  readonly sweeper: Sweeper;
  readonly clock: Clock;
  readonly log: Logger;
  readonly orders: { readonly places: Places };
}

const millisecondsPerTick = 10;
const takenOver = 'taken over as it looks from outside: its registry and its shim were lost';

export const findSurvivors = async (options: SurvivorsOptions, held: ReadonlyMap<string, RunStatus>): Promise<void> => {
  const { registry, hosts, sweeper, processes, shim, orders, log } = options;
  const hostRuns = new Set([...hosts.all()].map(({ run }) => run));
  const isKnown = (run: string) => held.has(run) || hostRuns.has(run) || isOpenIn(registry, run);
  const strange = directoriesIn(orders.places.runs).filter((run) => runPattern.test(run) && !isKnown(run));
  const living = new Map<string, readonly KnownLeftover[]>();
  await Promise.all(
    strange.map(async (run) => {
      const target = { run, group: null, since: null, until: null, mark: null, also: [] };
      living.set(run, await sweeper.look(target));
    }),
  );
  const threadsOf = new Map<string, string>();
  const leaders = new Map<string, Identity>();
  for (const [run, found] of living) {
    const leader = found.find((each) => processes.groupOf(each) === each.pid);
    if (leader === undefined) continue;
    leaders.set(run, leader);
    if (!isHostRun(run)) continue;
    for (const path of processes.openedBy(leader.pid)) {
      const thread = strange.find((each) => each !== run && path.startsWith(`${join(orders.places.runs, each)}/`));
      if (thread !== undefined) threadsOf.set(thread, run);
    }
  }
  for (const run of strange) {
    const host = threadsOf.get(run) ?? null;
    const leader = leaders.get(host ?? run);
    if (leader !== undefined) takeOver(options, run, host, leader);
    else if (living.get(run)?.length === 0) void shim.call('release', { run }).catch(() => {});
    else log.warn({ run, pids: living.get(run)?.map(({ pid }) => pid) }, 'left alive by a run that nobody knows');
  }
};

/** `<name>.<generation>.<nonce>`. */
const runPattern = /^.+\.\d+\.[0-9a-f]+$/;

const directoriesIn = (path: string): readonly string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

const isOpenIn = (registry: Registry, run: string): boolean => {
  const known = registry.get(nameOfRun(run))?.run ?? null;
  return known?.id === run && known.stage !== 'closed';
};

const takeOver = (options: SurvivorsOptions, run: string, host: string | null, { pid, startTime }: Identity): void => {
  const { registry, hosts, processes, clock, log } = options;
  const look = processes.lookOf(pid);
  if (isHostRun(run)) {
    // Nothing is known of its surroundings that is sure enough to put other threads into it: its key is its own.
    const nodeOptions = look.env['NODE_OPTIONS'] ?? null;
    hosts.restore(run, JSON.stringify({ cwd: look.cwd, umask: 0o077, nodeOptions, only: run }), { pid, startTime });
    for (const worker of registry.all()) if (worker.run?.host === run) hosts.joined(run, worker.run.id);
    log.warn({ run, pid }, 'a thread host that nobody knows: taken over');
    return;
  }
  const name = nameOfRun(run);
  const generation = Number(run.split('.').at(-2));
  const worker = registry.get(name);
  if (!isWorkerName(name) || (worker !== null && worker.generation >= generation)) {
    log.warn({ run, pid }, 'a run that nobody knows lives beside a newer one of its worker');
    return;
  }
  const isModule = /(^|\/)host\.(js|ts)$/.test(look.argv.at(-3) ?? '');
  const status: RunStatus = {
    run,
    name,
    generation,
    kind: host !== null ? 'thread' : isModule ? 'module' : 'command',
    host,
    pid,
    startTime,
    running: true,
    ready: false,
    state: null,
    stateAt: null,
    stateRevision: 0,
    exited: false,
    adopted: true,
  };
  const startedAt = clock.now() - Math.max(0, uptime() * 1000 - startTime * millisecondsPerTick);
  const seen = recordSeen(status, { ...look, bootId: processes.bootId, now: Math.round(startedAt) });
  log.warn({ name, run, pid }, takenOver);
  registry.update(name, { ...(worker === null ? seen : known(worker, seen)), reason: takenOver });
  if (host !== null) hosts.joined(host, run);
};

/** An old copy of the registry knows what it is, if not this run of it. */
const known = (worker: WorkerRecord, { run, generation, intent }: WorkerRecord): WorkerRecord => ({
  ...worker,
  run,
  generation,
  intent,
  backoff: null,
  stopOrder: null,
});
