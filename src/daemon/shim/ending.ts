/**
 * The shim's own end: every run is asked, given its grace, and ended by force after it. What the daemon does with one
 * worker when it is asked to stop it, the shim does here with all, without a daemon. What outlives SIGKILL (in the kernel)
 * is not waited for: the next shim finds it by its identity.
 */
import { lookAt } from './identity.ts';
import type { Run } from './run.ts';
import type { RunTable } from './runs.ts';

/** Between asking a module's process to end and ending it. */
const afterTermMs = 500;
const lookAtAdoptedMs = 50;
const lookAtStuckMs = 100;
/** What outlives SIGKILL by this is stuck. */
const outlivesKillMs = 5000;

export const endAllRuns = async (table: RunTable, log: (message: string) => void): Promise<void> => {
  const timers: NodeJS.Timeout[] = [];
  const after = (delayMs: number, act: () => void) => void timers.push(setTimeout(act, delayMs));
  const told = new Set<Run>();
  const runs = table.live;
  for (const run of runs) run.endedByShim = true;
  const kill = (run: Run | undefined) => void run?.signal('SIGKILL', 'group');
  const term = (run: Run, signal: string) => {
    run.signal(signal, 'group');
    run.signal('SIGCONT', 'group');
  };
  const endIdleHosts = () => {
    const live = table.live;
    for (const host of live) {
      if (host.order.kind !== 'host' || told.has(host) || live.some((run) => run.order.host === host.id)) continue;
      told.add(host);
      term(host, 'SIGTERM');
      after(afterTermMs, () => kill(host));
    }
  };

  const done = table.end(endIdleHosts);
  for (const run of runs) {
    const { kind, host, stop } = run.order;
    if (!run.alive || kind === 'host') continue;
    const deadline = new Date(Date.now() + stop.graceMs).toISOString();
    run.send({ stop: { reason: 'shutdown', deadline, by: null } });
    if (kind === 'command') {
      term(run, stop.signal);
      after(stop.graceMs, () => kill(run));
    } else if (kind === 'module') {
      run.signal('SIGCONT', 'group');
      after(stop.graceMs, () => term(run, 'SIGTERM'));
      after(stop.graceMs + afterTermMs, () => kill(run));
    } else {
      const owner = table.all.find((other) => other.id === host);
      after(stop.graceMs, () => !run.exited && owner?.send({ terminate: { run: run.id } }));
      after(stop.graceMs + afterTermMs, () => !run.exited && kill(owner));
    }
  }
  // Of these no exit is told: another shim was their parent.
  const look = setInterval(() => {
    for (const run of table.live) {
      if (!run.adopted || run.pid === null) continue;
      const seen = lookAt(run.pid);
      if (seen.kind === 'unknown' || (seen.kind === 'alive' && seen.startTime === run.startTime)) continue;
      table.conclude(run.id, { kind: 'lost', reason: 'its end was not seen: an earlier shim was its parent' });
    }
  }, lookAtAdoptedMs);
  if (!runs.some((run) => run.adopted)) clearInterval(look);

  // A daemon that has waited for them before it told us to end has used their time up.
  const stuck = (run: Run): boolean => {
    const { killedMs } = run.order.kind === 'thread' ? (table.find(run.order.host) ?? run) : run;
    return killedMs !== null && performance.now() - killedMs >= outlivesKillMs;
  };
  const { promise: givenUp, resolve: giveUp } = Promise.withResolvers<void>();
  const lookAtStuck = setInterval(() => {
    const { live } = table;
    if (live.length > 0 && live.every(stuck)) giveUp();
  }, lookAtStuckMs);
  await Promise.race([done, givenUp]);
  clearInterval(look);
  clearInterval(lookAtStuck);
  for (const run of table.live) log(`${run.id}: cannot be ended: pid ${run.pid} outlives SIGKILL; it is left alone`);
  for (const timer of timers) clearTimeout(timer);
  table.endLeftovers(new Set(runs.map((run) => run.id)));
};
