/**
 * The methods of the protocol, one handler each: parameters are checked against the table (invalid-params.ts),
 * everything else is somebody's who owns it. Decides nothing.
 */
import { beginningAfter } from '../shared/afterwards.ts';
import { repeatable } from '../shared/asking-again.ts';
import { WorkerdError } from '../shared/errors.ts';
import { failpoint } from '../shared/failpoints.ts';
import type { Handler } from '../shared/gate.ts';
import { isGlob, matchesGlob } from '../shared/glob.ts';
import { limits } from '../shared/limits.ts';
import { formatPosition } from '../shared/log-position.ts';
import type { Peer } from '../shared/peer.ts';
import {
  isMethodName,
  type MethodName,
  methods,
  type Params,
  protocolVersion,
  type Result,
} from '../shared/protocol.ts';
import { type Actor, isWorkerName } from '../shared/worker.ts';
import type { Admission } from './admission.ts';
import { isLive, type WorkerRecord } from './core/model.ts';
import { isOver, viewOf } from './core/view.ts';
import { notFound } from './definitions.ts';
import { Deliveries } from './deliveries.ts';
import type { Hub } from './hub.ts';
import { parseParams } from './invalid-params.ts';
import type { LogStore } from './log-store.ts';
import { discover } from './openrpc.ts';
import { approximateBytes, maxPageBytes, newestRuns } from './pages.ts';
import type { Shim, Store } from './ports.ts';
import type { Reconciler } from './reconciler.ts';
import type { Registry } from './registry.ts';
import type { EventType, SubscriptionOptions } from './subscription.ts';
import { systemClock } from './system.ts';
import type { UsageReader } from './usage.ts';
import type { Verbs } from './verbs.ts';
import { lookFor, waitWords, wantedGeneration } from './wait-conditions.ts';
import type { Waiters } from './waiters.ts';

/** One client's connection. */
export interface Connection {
  readonly number: number;
  readonly peer: Peer<Connection>;
  actor: Actor;
  readonly subscriptions: Set<string>;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

export type Handlers = {
  readonly [M in MethodName]: (params: Params<M>, connection: Connection) => Promise<Result<M>> | Result<M>;
};

export interface DaemonControl {
  readonly version: string;
  readonly info: () => Result<'daemon.info'>;
  /** Resolves when every worker (unless kept) has ended; the daemon goes right after the answer. */
  readonly stop: (keepWorkers: boolean, by: Actor) => Promise<void>;
  readonly restart: () => Promise<void>;
}

export interface HandlersOptions {
  readonly registry: Registry;
  readonly store: Store;
  readonly hub: Hub;
  readonly verbs: Verbs;
  readonly waiters: Waiters;
  readonly reconciler: Pick<Reconciler, 'findLeftovers' | 'state'>;
  readonly logs: LogStore;
  readonly shim: Shim & { ready(): Promise<void> };
  readonly usage: UsageReader;
  readonly control: DaemonControl;
}

const defaultPage = 1000;

export const createHandlers = (options: HandlersOptions): Handlers => {
  const { registry, reconciler, hub, verbs, waiters, logs, control } = options;

  const known = (name: string): WorkerRecord => {
    const worker = registry.get(name);
    if (worker === null) throw notFound(name, registry.names());
    return worker;
  };
  const deliveries = new Deliveries({ known, shim: options.shim, clock: systemClock });
  /** Literal names must be known; globs may match nothing. */
  const select = (names: readonly string[] | undefined): readonly string[] => {
    if (names === undefined) return registry.names();
    for (const name of names) if (!isGlob(name)) known(name);
    const literal = new Set(names.filter((name) => !isGlob(name)));
    const globs = names.filter(isGlob);
    return registry.names().filter((name) => literal.has(name) || globs.some((glob) => matchesGlob(glob, name)));
  };
  const usageOf = ({ run }: WorkerRecord) =>
    isLive(run) && run.kind !== 'thread' && run.pid !== null && run.startTime !== null
      ? options.usage.read(run.id, run.pid, run.startTime)
      : null;
  /** What it hears begins after the reply. */
  const subscribe = <R extends object>(
    { peer, subscriptions, signal }: Connection,
    wish: Pick<SubscriptionOptions, 'names' | 'types' | 'logs'>,
    resultOf: (subscription: string) => R,
    since?: string,
  ): R => {
    // Gone in the meantime: nobody would ever take its subscription back.
    signal.throwIfAborted();
    const own = subscriptions.size >= limits.maxSubscriptions;
    if (own || hub.size >= limits.maxSubscriptionsInAll) {
      const limit = own ? 'maxSubscriptions' : 'maxSubscriptionsInAll';
      const where = own ? 'a connection; end one first (unwatch)' : 'on all connections together; try again later';
      throw new WorkerdError('limit.exceeded', `at most ${limits[limit]} subscriptions ${where}`, { limit });
    }
    const { id, start } = hub.subscribe({ peer, ...wish }, since);
    subscriptions.add(id);
    return beginningAfter(resultOf(id), start);
  };
  const view = (name: string) => ({ worker: viewOf(known(name)) });

  return {
    hello(params, connection) {
      connection.actor = {
        uid: params.uid ?? null,
        pid: params.pid ?? null,
        via: params.via ?? params.client ?? null,
      };
      return { protocol: protocolVersion, version: control.version, pid: process.pid };
    },
    start: (params, connection) => verbs.start(params, connection),
    stop: (params, connection) => verbs.stop(params, connection),
    restart: (params, connection) => verbs.restart(params, connection),
    remove: (params, connection) => {
      if (isWorkerName(params.name) || registry.get(params.name) !== null) return verbs.remove(params, connection);
      throw new WorkerdError('usage', 'invalid params: name: is neither a name nor one that is there', {
        member: 'name',
        method: 'remove',
      });
    },
    enable: async ({ name }) => ({ worker: await verbs.enable(name, true) }),
    disable: async ({ name }) => ({ worker: await verbs.enable(name, false) }),
    define: async (params) => ({ worker: await verbs.define(params) }),

    async signal({ name, signal }) {
      await deliveries.signal(name, signal);
      return view(name);
    },
    async send({ name, text }) {
      await deliveries.send(name, text);
      return view(name);
    },
    async publish({ name, state }) {
      const taken = await deliveries.publish(name, state);
      // The shim tells it as a note, too, after its answer; ours shows it all the same.
      reconciler.state({ at: systemClock.now(), ...taken });
      await registry.committed();
      return view(name);
    },

    async status({ names, after, limit, showEnv }) {
      const withLeftovers = select(names).filter((name) => known(name).leftovers.length > 0);
      // Nobody tells when one of them ends: looked at when asked for.
      await Promise.allSettled(withLeftovers.map((name) => reconciler.findLeftovers(name)));
      await registry.committed();
      const selected = select(names);
      const from = after === undefined ? 0 : selected.findIndex((name) => name > after);
      const page = from === -1 ? [] : selected.slice(from, from + (limit ?? defaultPage));
      const workers: Result<'status'>['workers'][number][] = [];
      let bytes = 0;
      for (const name of page) {
        const worker = known(name);
        const shown = viewOf(worker, { usage: usageOf(worker), showEnv });
        bytes += approximateBytes(worker, showEnv, shown);
        if (bytes > maxPageBytes && workers.length > 0) break;
        workers.push(shown);
      }
      const last = workers.at(-1)?.name;
      const isEnd = last === undefined || last === selected.at(-1);
      return { workers, next: isEnd ? null : last };
    },
    async watch({ names, types, since }, connection) {
      await registry.committed();
      select(names);
      const wanted = types === undefined ? null : new Set<EventType>(types);
      const logs = wanted?.has('log') === true ? { logs: options.logs.wish(null) } : {};
      const { cursor } = hub;
      const wish = { names: names ?? null, types: wanted, ...logs };
      return subscribe(connection, wish, (subscription) => ({ subscription, cursor }), since);
    },
    unwatch({ subscription }, connection) {
      // Its own: another client's, whose name can be guessed, is none of its business.
      if (!connection.subscriptions.delete(subscription)) return { removed: false };
      hub.unsubscribe(connection.peer, subscription);
      return { removed: true };
    },

    async logs(params, connection) {
      const { name } = params;
      await registry.committed();
      const worker = known(name);
      const page = logs.read(worker, params);
      const { position, ...found } = page;
      const result = { ...found, cursor: formatPosition(position) };
      if (!params.follow) return result;
      // This run alone, and it is over: what is left is had from the cursor.
      const only = params.generation !== undefined;
      if (only && (worker.generation > position.generation || isOver(worker))) return result;
      const wish = {
        names: [name],
        types: new Set<EventType>(['log', 'phase', 'removed']),
        logs: logs.wish({ name, position, only }, params),
      };
      return subscribe(connection, wish, (subscription) => ({ ...result, subscription }));
    },
    'logs.locate': ({ name }) => ({ files: logs.locate(known(name).name) }),

    async wait({ name, for: condition, timeoutMs }, connection) {
      const generation = wantedGeneration(known(name));
      const look = (now: WorkerRecord | null) => lookFor(condition, now, name, generation);
      const found = await waiters.until(name, look, {
        what: waitWords[condition],
        timeoutMs,
        signal: connection.signal,
      });
      return { worker: viewOf(found) };
    },
    history: ({ name, limit = 100 }) => {
      failpoint('rpc.history');
      const { run } = known(name);
      return { runs: newestRuns(run, options.store.history(name, limit + 1), limit) };
    },

    'daemon.info': () => control.info(),
    async 'daemon.stop'({ keepWorkers }, connection) {
      await control.stop(keepWorkers, connection.actor);
      return { pid: process.pid };
    },
    async 'daemon.restart'() {
      await control.restart();
      return { pid: process.pid };
    },
    'rpc.discover': () => discover(control.version),
  };
};

/** What a client may ask again, and what is the same done twice. */
const mayBeCut: ReadonlySet<string> = new Set([...repeatable, 'remove', 'publish']);

/** Each handler behind the check of its parameters, as the gate wants them. */
export const gateMethods = (
  handlers: Handlers,
  admission: Admission,
): Readonly<Record<string, Handler<Connection>>> => {
  const table: Record<string, Handler<Connection>> = Object.create(null) as Record<string, Handler<Connection>>;
  const add = <M extends MethodName>(method: M) => {
    const handler = handlers[method];
    table[method] = (params, connection) =>
      admission.admit(() => handler(parseParams(method, params), connection), mayBeCut.has(method));
  };
  for (const method of Object.keys(methods) as MethodName[]) add(method);
  return table;
};

/** May be answered late. One that asks not to wait is answered at once, and is work like any other. */
export const isHeld = (method: string, params: unknown): boolean => {
  if (!isMethodName(method) || !('held' in methods[method])) return false;
  const wait: unknown = (params as { wait?: unknown } | undefined)?.wait;
  return wait !== 'none' && wait !== false;
};
