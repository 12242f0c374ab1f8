/** The steps of a stop, one a method: each is on disk before it is taken. When which is due is the plan's to say. */
import { failpoint } from '../shared/failpoints.ts';
import type { StopProgress, WorkerRecord } from './core/model.ts';
import { timestamp } from './core/view.ts';
import type { Ender } from './ender.ts';
import type { Clock, Logger } from './ports.ts';
import type { Registry } from './registry.ts';

export interface StopperOptions {
  readonly registry: Registry;
  readonly ender: Ender;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Stopper {
  readonly #options: StopperOptions;

  constructor(options: StopperOptions) {
    this.#options = options;
  }

  async ask(worker: WorkerRecord): Promise<void> {
    const { registry, clock, ender } = this.#options;
    const { run, stopOrder, name } = worker;
    if (run === null) return;
    const graceMs = stopOrder?.force === true ? 0 : (stopOrder?.graceMs ?? run.graceMs);
    const stop: StopProgress = {
      reason: stopOrder?.reason ?? 'stop',
      by: stopOrder?.by ?? null,
      deadlineAt: run.stop?.deadlineAt ?? clock.now() + graceMs,
      deadlineMono: run.stop?.deadlineMono ?? clock.mono() + graceMs,
      step: 'asked',
      stepMono: clock.mono(),
    };
    registry.update(name, { ...worker, run: { ...run, stop, stoppedBy: stop.by } });
    await registry.committed(name);
    failpoint('stop.asked.before');
    if (stopOrder?.force !== true) {
      await ender.ask(run, { reason: stop.reason, deadline: timestamp(stop.deadlineAt) ?? '', by: stop.by });
    }
    failpoint('stop.asked');
  }

  async force(worker: WorkerRecord): Promise<void> {
    const { run, stopOrder } = worker;
    if (run === null) return;
    // A command had its stop signal; what is left is SIGKILL. A module is told by force first.
    const atOnce = run.kind === 'command' || (run.kind === 'process' && stopOrder?.force === true);
    await this.#step(worker, atOnce ? 'killed' : 'forced');
    await (atOnce ? this.#options.ender.kill(run) : this.#options.ender.force(run));
  }

  /** False: it was not said yet, and so nothing has outlived it. */
  async kill(worker: WorkerRecord): Promise<boolean> {
    if (worker.run === null) return false;
    const { id, kind, stop } = worker.run;
    if (stop?.step !== 'killed') this.#options.log.warn({ name: worker.name, run: id, kind }, 'ending it with SIGKILL');
    await this.#step(worker, 'killed');
    if (await this.#options.ender.kill(worker.run)) return true;
    const { registry } = this.#options;
    const now = registry.get(worker.name);
    if (now?.run?.id === id && now.run.stop !== null) {
      registry.update(worker.name, { ...now, run: { ...now.run, stop: { ...now.run.stop, kills: 0 } } });
    }
    return false;
  }

  async #step(worker: WorkerRecord, step: StopProgress['step']): Promise<void> {
    const { registry, clock } = this.#options;
    const { run } = worker;
    if (run?.stop == null) return;
    const kills = step === 'killed' ? (run.stop.kills ?? 0) + 1 : 0;
    const stop: StopProgress = { ...run.stop, step, stepMono: clock.mono(), kills };
    registry.update(worker.name, { ...worker, run: { ...run, stop } });
    await registry.committed(worker.name);
    failpoint('stop.forced');
  }
}
