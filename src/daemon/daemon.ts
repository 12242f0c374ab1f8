/**
 * One life of the control plane: builds every part, wires them, serves until told to end, and ends in order.
 * Everything it needs of the process it lives in is handed to it; `main.ts` does that.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WorkerdError } from '../shared/errors.ts';
import { Gate } from '../shared/gate.ts';
import { Leisure } from '../shared/leisure.ts';
import { hostLogDirectory, type Places } from '../shared/paths.ts';
import { protocolVersion } from '../shared/protocol.ts';
import { type Actor, type Caller, isWorkerName } from '../shared/worker.ts';
import { Admission } from './admission.ts';
import { Adoption, resumeRecord, soundRecord } from './adoption.ts';
import { isOpen, type WorkerRecord } from './core/model.ts';
import { phaseOf, timestamp } from './core/view.ts';
import { DescriptorRoom } from './descriptor-room.ts';
import { Ender } from './ender.ts';
import { cleanEnvironment, shimEnvironment } from './environment.ts';
import { notAllEnded } from './failures.ts';
import { FifoKeeper } from './fifo-keeper.ts';
import { type Connection, createHandlers, type DaemonControl, gateMethods, isHeld } from './handlers.ts';
import { Hosts } from './hosts.ts';
import { Hub } from './hub.ts';
import { type Lock, prepareSocketDirectory } from './instance.ts';
import { LogStore } from './log-store.ts';
import type { Logger } from './ports.ts';
import { LinuxProcessTable } from './process-table.ts';
import { Reconciler } from './reconciler.ts';
import { Registry } from './registry.ts';
import { type Opened, openStore } from './registry-file.ts';
import { endHandover, Replacement } from './replacement.ts';
import { Listener } from './server.ts';
import type { ServiceManager } from './service-manager.ts';
import { endShim } from './shim-end.ts';
import { ShimLink } from './shim-link.ts';
import { shimArguments, shimFlags } from './shim-start.ts';
import type { SqliteStore } from './store.ts';
import { Surroundings } from './surroundings.ts';
import { Sweeper } from './sweeper.ts';
import { nonce, systemClock } from './system.ts';
import { UsageReader } from './usage.ts';
import { Verbs } from './verbs.ts';
import { Waiters } from './waiters.ts';
import { WithoutShim } from './without-shim.ts';

export interface DaemonOptions {
  readonly places: Places;
  readonly lock: Lock;
  readonly log: Logger;
  readonly version: string;
  readonly serviceManager: ServiceManager;
  /** The shim is somebody else's to start and to stop. */
  readonly externalShim: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The mask the daemon was started with; its own is 077. */
  readonly callersUmask: number;
  readonly openFiles: number | null;
  /** Put before the shim's program: the limits that its workers are to have, where those are not ours. */
  readonly shimWrapper: readonly string[];
  /** argv of Node, and the directory where shim and hosts are. */
  readonly node: readonly string[];
  readonly programs: string;
}

export type Ending = 'stop' | 'restart';

/** The daemon's own actions, as `startedBy` shows them. */
const itself: Actor = { uid: process.getuid?.() ?? null, pid: process.pid, via: 'workerd' };
const refusedRetryMs = 1000;
const bootMeta = 'boot';
const cleanMeta = 'clean';

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #startedAt = systemClock.now();
  readonly #store: SqliteStore;
  readonly #isColdStart: boolean;
  readonly #newRegistry: boolean;
  readonly #registry: Registry;
  readonly #link: ShimLink;
  readonly #hosts: Hosts;
  readonly #reconciler: Reconciler;
  readonly #adoption: Adoption;
  readonly #fifos: FifoKeeper;
  readonly #hub: Hub;
  readonly #verbs: Verbs;
  readonly #listener: Listener;
  readonly #replacement: Replacement;
  readonly #surroundings: Surroundings;
  #replacing: Promise<void> | null = null;
  readonly #processes = new LinuxProcessTable();
  #ended: (ending: Ending) => void = () => {};
  readonly #whenEnded: Promise<Ending>;
  readonly #serving = Promise.withResolvers<void>();
  #stopping = false;
  #replaced = false;
  #retryPending = false;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#whenEnded = new Promise((resolve) => {
      this.#ended = resolve;
    });
    const { places, log, env, node, programs } = options;
    const clock = systemClock;
    const leisure = new Leisure({ letGo: () => this.#store.letGo() });
    const helperEnv = cleanEnvironment(env);
    const baseCaller: Caller = { env: helperEnv, cwd: '/', umask: options.callersUmask };
    const { bootId } = this.#processes;
    const program = (name: string) => [...node, join(programs, name)];

    const { store, loaded } = openStore(places.registry, clock.now(), log);
    this.#store = store;
    this.#newRegistry = this.#store.meta(bootMeta) === null;
    this.#registry = new Registry({
      store: this.#store,
      clock,
      log,
      announce: (transitions) => {
        leisure.busy();
        waiters.announce(transitions);
        this.#hub.announce(transitions);
        this.#adoption.stirred();
        this.#showStatus();
      },
      onWritten: () => this.#surroundings.registryWritten(),
      onRefused: (error) => {
        log.error({ error: error.message, registry: places.registry }, 'the registry could not be written');
        this.#surroundings.registryRefused(error);
        this.#link.refuse();
        // One for all refusals: each of them would bring the next about.
        if (this.#retryPending) return;
        this.#retryPending = true;
        clock.at(clock.mono() + refusedRetryMs, () => {
          this.#retryPending = false;
          this.#registry.retry();
          // Not before that is tried: refused again, it would have what is told again dropped again, for as long as it is.
          const retell = () => this.#link.retell();
          this.#registry.committed().then(retell, retell);
          this.#reconciler.addAll();
        });
      },
    });
    const waiters = new Waiters(this.#registry, clock);
    this.#hub = new Hub({
      epoch: nonce(4),
      now: () => clock.now(),
      names: () => this.#registry.announcedNames(),
      get: (name) => this.#registry.announced(name),
    });
    this.#surroundings = new Surroundings({
      places,
      clock,
      log,
      store: this.#store,
      line: () => this.#link,
      externalShim: options.externalShim,
      recordOf: (name) => this.#registry.get(name),
    });
    this.#link = new ShimLink({
      places,
      command: options.externalShim
        ? null
        : [...options.shimWrapper, ...node, ...shimFlags, ...shimArguments(programs, places)],
      env: shimEnvironment(env),
      clock,
      log,
      processes: this.#processes,
      store: this.#store,
      listener: this.#surroundings.hearing({
        facts: (facts) => this.#adoption.facts(facts),
        state: (note) => this.#reconciler.state(note),
        connected: (runs) => this.#adoption.connected(runs),
        told: () => {
          this.#adoption.told();
          ender.sayAgain();
        },
        lost: (why) => {
          log.error({ why }, 'the shim is gone; workers go on, their output waits for the next one');
          withoutShim.stirred();
        },
      }),
    });
    this.#fifos = new FifoKeeper(places);
    const sweeper = new Sweeper(this.#processes);
    this.#hosts = new Hosts({
      registry: this.#registry,
      shim: this.#link,
      clock,
      log,
      bootId,
      command: program('thread-host.js'),
      env: { ...helperEnv, WORKERD_HOME: places.home },
      logDirectory: hostLogDirectory(places),
      openFiles: options.openFiles,
      nonce: () => nonce(4),
    });
    const ender = new Ender({ shim: this.#link, hosts: this.#hosts, processes: this.#processes, sweeper, clock, log });
    const orders = { places, processHost: program('host.js'), openFiles: options.openFiles };
    this.#reconciler = new Reconciler({
      registry: this.#registry,
      shim: this.#link,
      hosts: this.#hosts,
      ender,
      fifos: this.#fifos,
      clock,
      log,
      orders,
      bootId,
      nonce: () => nonce(4),
      chance: Math.random,
    });
    this.#adoption = new Adoption({
      registry: this.#registry,
      shim: this.#link,
      reconciler: this.#reconciler,
      hosts: this.#hosts,
      fifos: this.#fifos,
      processes: this.#processes,
      sweeper,
      clock,
      log,
      orders,
      isNewRegistry: () => this.#newRegistry,
    });
    const admission = new Admission();
    this.#replacement = new Replacement({ admission, waiters, places, node, programs, log });
    const logs = new LogStore(places, log);
    const shared = { registry: this.#registry, reconciler: this.#reconciler, clock };
    const withoutShim = new WithoutShim({ ...shared, shim: this.#link, processes: this.#processes });
    this.#verbs = new Verbs({
      ...shared,
      waiters,
      withoutShim,
      logs,
      baseCaller,
      history: (name, limit) => this.#store.history(name, limit),
      stopping: () => this.#stopping,
    });
    const handlers = createHandlers({
      registry: this.#registry,
      store: this.#store,
      hub: this.#hub,
      verbs: this.#verbs,
      waiters,
      reconciler: this.#reconciler,
      logs,
      shim: this.#link,
      usage: new UsageReader(),
      control: this.#control(),
    });
    const gate = new Gate<Connection>({
      methods: gateMethods(handlers, admission),
      isHeld,
      onFault: (method, error) => {
        const logId = nonce(6);
        const stack = error instanceof Error ? error.stack : String(error);
        log.error({ logId, method, stack }, 'internal error');
        return logId;
      },
    });
    this.#listener = new Listener({
      path: places.socket,
      prepareDirectory: () => prepareSocketDirectory(places),
      gate,
      room: new DescriptorRoom(),
      log,
      onBusy: () => leisure.busy(),
      onGone: (connection) => {
        for (const id of connection.subscriptions) this.#hub.unsubscribe(connection.peer, id);
      },
    });
    this.#isColdStart = this.#takeOver(loaded);
  }

  /** Serves until it is told to end; the lock is free when it returns. */
  async run(onReady: () => void): Promise<Ending> {
    const { log, places, serviceManager, lock, externalShim } = this.#options;
    if (externalShim) writeFileSync(places.serviceMark, '', { mode: 0o600 });
    else rmSync(places.serviceMark, { force: true });
    this.#adoption.loseOtherBoots();
    const started = this.#link.start();
    // A shim of the service manager's may come later, one that is stopped goes on later, and where none can be had that is to
    // be said: clients are served meanwhile.
    await Promise.race([started, externalShim ? this.#pause(externalShimMs) : this.#link.silence]);
    if (!this.#stopping) {
      this.#hosts.endIdle();
      // A registry that was lost cannot say; a shim that holds runs can.
      if (this.#isColdStart && !(this.#newRegistry && this.#adoption.metRuns)) this.#startEnabled();
      const listensMono = systemClock.mono();
      await this.#listener.listen();
      log.info({ daemon: process.pid, socket: places.socket, home: places.home }, 'ready');
      endHandover(places.socket, listensMono);
      onReady();
      this.#serving.resolve();
      serviceManager.ready(this.#statusText());
      void this.#findLeftovers();
    }
    const ending = await this.#whenEnded;
    await this.#listener.close();
    this.#adoption.close();
    this.#reconciler.close();
    this.#hosts.close();
    this.#link.close();
    this.#fifos.close();
    this.#registry.close();
    this.#store.close();
    lock.release();
    log.info({ ending }, 'ended');
    return ending;
  }

  /** Every worker in good order, then the shim; `keepWorkers`: neither. Gives back what could not be ended. */
  async stop(keepWorkers: boolean, by: Actor): Promise<readonly WorkerRecord[]> {
    const { serviceManager, externalShim, log } = this.#options;
    log.info({ keepWorkers, via: by.via, by: by.pid }, 'ending');
    this.#stopping = true;
    serviceManager.stopping();
    if (keepWorkers) return [];
    this.#link.known.wake();
    const left = await this.#verbs.stopAll({ actor: by, signal: new AbortController().signal });
    if (left.length > 0) log.error({ workers: left.map(({ name }) => name) }, 'not every worker could be ended');
    this.#registry.flushNow();
    try {
      this.#store.setMeta(cleanMeta, '1');
    } catch (error) {
      // What could not be stopped for want of a registry, the shim ends in good order by itself.
      log.error({ error: String(error) }, 'the registry could not be written; ending all the same');
    }
    if (!externalShim) {
      await endShim({ link: this.#link, processes: this.#processes, clock: systemClock, log });
    }
    return left;
  }

  /** The answer to whoever asked goes first. */
  finish(): void {
    setImmediate(() => setImmediate(() => this.#ended('stop')));
  }

  /**
   * The build on disk takes over, in this process, and the workers stay. Rejects in words where it cannot: then nothing
   * has changed. Its end comes when every request that was begun is answered.
   */
  restart(by: Actor): Promise<void> {
    this.#replacing ??= this.#replace(by).finally(() => {
      this.#replacing = null;
    });
    return this.#replacing;
  }

  async #replace(by: Actor): Promise<void> {
    const refuseWhileStopping = () => {
      if (this.#stopping) throw new WorkerdError('daemon.stopping', 'the daemon is about to end');
    };
    this.#options.log.info({ via: by.via, by: by.pid }, 'asked to be replaced');
    // Replaced before it was ready, it would never tell its starter that it is.
    await Promise.race([this.#serving.promise, this.#whenEnded]);
    refuseWhileStopping();
    await this.#replacement.check();
    refuseWhileStopping();
    this.#replacement.begin();
    this.#stopping = true;
    this.#replaced = true;
    void this.#replacement.settle().then(() => this.#ended('restart'));
  }

  /** It has given way: nothing is begun or ended here any more. */
  get isReplaced(): boolean {
    return this.#replaced;
  }

  get externalShim(): boolean {
    return this.#options.externalShim;
  }

  #control(): DaemonControl {
    const { places, version } = this.#options;
    const info = {
      version,
      protocol: protocolVersion,
      pid: process.pid,
      home: places.home,
      socket: places.socket,
      startedAt: timestamp(this.#startedAt) ?? '',
      node: process.version,
    };
    return {
      version,
      info: () => ({ ...info, ...this.#surroundings.look() }),
      stop: async (keepWorkers, by) => {
        const left = await this.stop(keepWorkers, by);
        this.finish();
        if (left.length > 0) throw notAllEnded(left, process.pid);
      },
      restart: () => this.restart(itself),
    };
  }

  /** True at a cold start: another boot, or the last daemon ended everything in good order. */
  #takeOver({ workers, hosts }: Opened['loaded']): boolean {
    const { bootId } = this.#processes;
    const strange = workers.filter(({ name }) => !isWorkerName(name)).length;
    if (strange > 0) {
      this.#options.log.warn(
        { rows: strange },
        'the registry holds names that cannot be; rm is all that is done to them',
      );
    }
    this.#registry.load(workers.map((worker) => resumeRecord(soundRecord(worker), systemClock, bootId)));
    this.#hosts.load(hosts, this.#registry.all());
    const cold = this.#store.meta(bootMeta) !== bootId || this.#store.meta(cleanMeta) === '1';
    this.#store.setMeta(bootMeta, bootId);
    this.#store.setMeta(cleanMeta, '0');
    return cold;
  }

  #startEnabled(): void {
    for (const worker of [...this.#registry.all()]) {
      if (worker.enabled && worker.intent.want === 'down' && !isOpen(worker.run)) {
        this.#verbs.wantEnabled(worker.name, itself);
      }
    }
  }

  /** What earlier runs left alive is known by looking, not from the registry. */
  async #findLeftovers(): Promise<void> {
    await Promise.allSettled(this.#registry.names().map((name) => this.#reconciler.findLeftovers(name)));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      systemClock.at(systemClock.mono() + ms, resolve);
    });
  }

  #statusText(): string {
    let running = 0;
    for (const worker of this.#registry.all()) if (phaseOf(worker) === 'running') running += 1;
    return `${running} ${running === 1 ? 'worker' : 'workers'} running`;
  }

  #showStatus(): void {
    this.#options.serviceManager.status(this.#statusText());
  }
}

/** With an external shim: how long to wait for it before serving without. */
const externalShimMs = 1000;
