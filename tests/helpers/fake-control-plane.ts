/**
 * The reconciler with everything around it real but the world: shim, store, clock and process table are fakes.
 * By itself the shim starts what it is told to start; how a run ends is the test's to say.
 */
import { tmpdir } from 'node:os';
import { Adoption } from '../../src/daemon/adoption.ts';
import { isLive, type StopOrder, type WorkerRecord } from '../../src/daemon/core/model.ts';
import { phaseOf } from '../../src/daemon/core/view.ts';
import { Ender } from '../../src/daemon/ender.ts';
import { FifoKeeper } from '../../src/daemon/fifo-keeper.ts';
import { Hosts } from '../../src/daemon/hosts.ts';
import type { OrderContext } from '../../src/daemon/orders.ts';
import { Reconciler } from '../../src/daemon/reconciler.ts';
import { Registry, type Transition } from '../../src/daemon/registry.ts';
import { Sweeper } from '../../src/daemon/sweeper.ts';
import { resolvePlaces } from '../../src/shared/paths.ts';
import type { Exit, Phase } from '../../src/shared/worker.ts';
import { FakeClock, turns } from './fake-clock.ts';
import { FakeProcessTable } from './fake-process-table.ts';
import { FakeShim, type Order } from './fake-shim.ts';
import { FakeStore, silentLog } from './fake-store.ts';
import { fakeWorker } from './fake-worker.ts';

const places = resolvePlaces({ home: `${tmpdir()}/wd-no-such-home`, env: {}, uid: 1000 });

export class FakeControlPlane {
  readonly clock = new FakeClock();
  readonly store = new FakeStore();
  readonly shim = new FakeShim(this.clock);
  readonly processes = new FakeProcessTable();
  readonly transitions: Transition[] = [];
  readonly refusals: Error[] = [];
  readonly errors: object[] = [];
  readonly registry: Registry;
  readonly reconciler: Reconciler;
  readonly adoption: Adoption;
  readonly hosts: Hosts;
  readonly orders: OrderContext = { places, processHost: ['host'], openFiles: null };
  /** Started runs that have not ended: never two of one worker. */
  readonly alive = new Set<string>();
  readonly #leaders = new Map<string, number>();
  #pids = 5000;
  #nonces = 0;

  constructor() {
    const { clock, shim, store, processes } = this;
    const log = { ...silentLog, error: (details: object) => this.errors.push(details) };
    this.registry = new Registry({
      store,
      clock,
      log,
      announce: (transitions) => this.transitions.push(...transitions),
      onRefused: (error) => this.refusals.push(error),
    });
    const nonce = () => `n${++this.#nonces}`;
    const shared = { registry: this.registry, shim, clock, log, bootId: 'boot', nonce };
    this.hosts = new Hosts({
      ...shared,
      command: ['thread-host'],
      env: {},
      logDirectory: '/nowhere',
      openFiles: null,
    });
    const { hosts, orders } = this;
    const ender = new Ender({ shim, hosts, processes, sweeper: new Sweeper(processes), clock, log });
    const fifos = new FifoKeeper(places);
    this.reconciler = new Reconciler({ ...shared, hosts, ender, fifos, orders, chance: () => 0.5 });
    const adopted = { ...shared, hosts, fifos, processes, sweeper: new Sweeper(processes), orders };
    this.adoption = new Adoption({ ...adopted, reconciler: this.reconciler, isNewRegistry: () => false });
    shim.listener = (facts) => this.reconciler.facts(facts);
    shim.onOrder = (order) => this.obey(order);
  }

  /** What the shim does by itself. */
  obey(order: Order): void {
    if (order.method === 'spawn') this.started(order.params.run, order.params.kind);
    if (order.method === 'signal' && order.params.signal === 'SIGKILL') this.killed(order.params.run);
  }

  started(run: string, kind: string): void {
    this.alive.add(run);
    const isThread = kind === 'thread';
    const pid = isThread ? null : ++this.#pids;
    if (pid !== null) {
      this.#leaders.set(run, pid);
      this.processes.put({ pid, run, command: run });
    }
    queueMicrotask(() =>
      this.shim.tell(
        { kind: 'spawned', run, pid, startTime: pid === null ? null : 100 },
        { kind: 'running', run, threadId: isThread ? 1 : null },
      ),
    );
  }

  killed(run: string): void {
    this.end(run, { kind: 'signal', signal: 'SIGKILL' });
  }

  end(run: string, exit: Exit, ranMs = 20_000): void {
    if (!this.alive.delete(run)) return;
    this.processes.end(this.#leaders.get(run) ?? 0);
    const rest = { state: null, stateAt: null, stateRevision: 0, result: null, byShim: false } as const;
    queueMicrotask(() => this.shim.tell({ kind: 'exited', run, exit, ranMs, ...rest }));
  }

  define(changes: Partial<WorkerRecord> = {}): void {
    const worker = fakeWorker(changes);
    this.registry.update(worker.name, worker);
  }

  /** As the verbs do it. */
  want(name = 'w', order: Partial<StopOrder> = {}): void {
    const worker = this.worker(name);
    const intent = { want: 'up', atLeast: worker.generation + 1 } as const;
    const stopOrder = { reason: 'replace', by: null, graceMs: null, force: false, ...order } as const;
    this.#change({ ...worker, intent, stopOrder, backoff: null, restarts: 0, shortRuns: 0 });
  }

  unwant(name = 'w', order: Partial<StopOrder> = {}): void {
    const stopOrder = { reason: 'stop', by: null, graceMs: null, force: false, ...order } as const;
    this.#change({ ...this.worker(name), intent: { want: 'down' }, stopOrder });
  }

  #change(worker: WorkerRecord): void {
    this.registry.update(worker.name, worker);
    this.reconciler.add(worker.name);
  }

  worker(name = 'w'): WorkerRecord {
    const worker = this.registry.get(name);
    if (worker === null) throw new Error(`no worker ${name}`);
    return worker;
  }

  phase(name = 'w'): Phase {
    return phaseOf(this.worker(name));
  }

  /** The live run of a worker. */
  run(name = 'w'): string {
    const { run } = this.worker(name);
    if (!isLive(run)) throw new Error(`${name} is ${this.phase(name)}`);
    return run.id;
  }

  async start(name = 'w'): Promise<string> {
    this.want(name);
    await turns();
    return this.run(name);
  }

  /** What was said to a run: signals and lines, in order, with the time since it was first asked. */
  said(run: string): readonly string[] {
    const orders = this.shim.orders.filter(
      (order) => (order.method === 'signal' || order.method === 'down') && order.params.run === run,
    );
    const since = orders[0]?.mono ?? 0;
    return orders.map((order) => {
      const what =
        order.method === 'signal'
          ? order.params.signal
          : order.method === 'down'
            ? Object.keys(order.params.message)[0]
            : '';
      return `${order.mono - since} ${what}`;
    });
  }
}
