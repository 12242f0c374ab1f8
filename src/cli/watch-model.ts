/** What a watcher knows: the workers as the events tell of them, their progress over time, and whether all have ended. */
import type { WorkerEvent } from '../shared/client.ts';
import { isAlive, type WorkerView } from '../shared/worker.ts';
import { progressOf, type Sample } from './render/progress.ts';

/** Rates are taken over this long. */
const sampleWindowMs = 10_000;
const maxSamples = 64;

export class WatchModel {
  readonly views = new Map<string, WorkerView>();
  readonly samples = new Map<string, Sample[]>();
  /** Not heard of since events were lost: out of date, or gone, which the client then tells as `removed`. */
  readonly stale = new Set<string>();
  readonly #ends: boolean;
  readonly #seen = new Set<string>();
  #expected: readonly string[] | null = null;

  constructor({ ends }: { readonly ends: boolean }) {
    this.#ends = ends;
  }

  /** The workers that were meant; until they are known nothing is over. */
  expect(workers: readonly WorkerView[]): void {
    this.#expected = workers.map((view) => view.name);
  }

  /** All that were named have ended for good, and have been shown so. */
  get over(): boolean {
    if (!this.#ends || this.#expected === null || !this.#expected.every((name) => this.#seen.has(name))) return false;
    return [...this.views.values()].every((view) => !isAlive(view.phase));
  }

  apply(event: WorkerEvent): void {
    if (event.type === 'log') return;
    if (event.type === 'gap') {
      for (const name of this.views.keys()) this.stale.add(name);
      return;
    }
    this.#seen.add(event.name);
    // Only what names the whole worker makes up for what was lost.
    if (event.type === 'snapshot' || event.type === 'phase') this.stale.delete(event.name);
    switch (event.type) {
      case 'snapshot':
      case 'phase':
        this.#put(event.worker, Date.parse(event.at));
        break;
      case 'state':
        this.#change(event, { state: event.state, stateRevision: event.stateRevision, stateAt: event.at });
        break;
      case 'ready':
        this.#change(event, { ready: true });
        break;
      case 'removed':
        this.#drop(event.name);
        break;
      default:
        event satisfies never;
    }
  }

  #drop(name: string): void {
    this.views.delete(name);
    this.samples.delete(name);
    this.stale.delete(name);
  }

  #change(event: WorkerEvent, change: Partial<WorkerView>): void {
    const view = this.views.get(event.name);
    if (view !== undefined) this.#put({ ...view, ...change }, Date.parse(event.at));
  }

  #put(view: WorkerView, at: number): void {
    const before = this.views.get(view.name);
    const sameRun = before?.generation === view.generation;
    const kept = sameRun
      ? { cpuPercent: view.cpuPercent ?? before.cpuPercent, memoryBytes: view.memoryBytes ?? before.memoryBytes }
      : {};
    this.views.set(view.name, isAlive(view.phase) ? { ...view, ...kept } : view);
    this.#sample(view, sameRun, at);
  }

  #sample(view: WorkerView, sameRun: boolean, at: number): void {
    const progress = progressOf(view.state);
    const samples = sameRun ? (this.samples.get(view.name) ?? []) : [];
    const last = samples.at(-1);
    if (progress === null || (last !== undefined && progress.done < last.done)) samples.length = 0;
    // Spread over the window: a publish every millisecond must not push the older ones out.
    if (progress !== null && (last === undefined || at - last.at >= sampleWindowMs / maxSamples)) {
      samples.push({ at, done: progress.done });
    }
    while (samples.length > maxSamples || at - (samples[0]?.at ?? at) > sampleWindowMs) samples.shift();
    this.samples.set(view.name, samples);
  }

  /** CPU and memory as `status` has them; nothing else is taken from it, the events are ahead of it. */
  measure(workers: readonly WorkerView[]): void {
    for (const { name, generation, cpuPercent, memoryBytes } of workers) {
      const view = this.views.get(name);
      if (view?.generation === generation) this.views.set(name, { ...view, cpuPercent, memoryBytes });
    }
  }
}
