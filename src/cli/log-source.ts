/** Where the logs of a worker lie, and its runs one after the other: what `logs`, `run` and `status` read from. */
import { dirname, join } from 'node:path';
import type { Client, WorkerEvent } from '../shared/client.ts';
import { WorkerdError } from '../shared/errors.ts';
import { hasCode } from '../shared/log-file.ts';
import { isAlive, type WorkerView } from '../shared/worker.ts';
import type { Context } from './context.ts';

/** The daemon names the place; where nothing was written yet, the place it will be. */
export const logDirectory = async (daemon: Pick<Context, 'call'>, name: string): Promise<string> => {
  const { files } = await daemon.call('logs.locate', { name });
  const file = files[0];
  if (file !== undefined) return dirname(file.path);
  const { home } = await daemon.call('daemon.info', {});
  return join(home, 'logs', name);
};

/** Logs that this user may not read: exit code 77, and where they are. */
export const explainDenied = (error: unknown, name: string): unknown =>
  hasCode(error, 'EACCES', 'EPERM')
    ? new WorkerdError('internal', `no permission to read the logs of ${name}: ${(error as Error).message}`, {
        exitCode: 77,
      })
    : error;

/** Feeds each worker's tracker, over one subscription. What is given back never comes, but fails where the daemon went away. */
export const trackRuns = (
  client: Client,
  trackers: ReadonlyMap<string, RunTracker>,
  signal: AbortSignal,
): Promise<never> => {
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  const follow = async () => {
    const names = trackers.size <= mostNames ? { names: [...trackers.keys()] } : {};
    for await (const event of client.watch({ ...names, types: ['snapshot', 'phase', 'removed'] }, { signal })) {
      if ('name' in event) trackers.get(event.name)?.apply(event);
    }
  };
  follow()
    .catch((error: unknown) => lost.reject(error))
    .finally(() => {
      for (const tracker of trackers.values()) tracker.finish();
    });
  return lost.promise;
};

/** A subscription takes no more; that to all workers is then the smaller one. */
const mostNames = 1000;

/** The runs of one worker as its events tell of them: which is over, and which comes next. */
export class RunTracker {
  #latest = 0;
  #over = 0;
  #finished = false;
  #changed: (() => void)[] = [];
  readonly #endings = new Map<number, AbortController>();

  /** Feeds it until the subscription ends. */
  async follow(client: Client, name: string, signal: AbortSignal): Promise<void> {
    for await (const event of client.watch({ names: [name], types: ['snapshot', 'phase', 'removed'] }, { signal })) {
      this.apply(event);
    }
    this.finish();
  }

  apply(event: WorkerEvent): void {
    if (event.type === 'removed') this.finish();
    else if (event.type === 'snapshot' || event.type === 'phase') this.see(event.worker);
  }

  see({ generation, phase, leftovers }: WorkerView): void {
    this.#latest = Math.max(this.#latest, generation);
    // What a run left behind may still write; then only the next run ends the reading.
    const over = (!isAlive(phase) || phase === 'backoff') && leftovers.length === 0;
    this.#over = Math.max(this.#over, this.#latest - 1, over ? generation : 0);
    this.#settle();
  }

  /** No run comes after the latest: all that is there is read, and that is all. */
  finish(latest = this.#latest): void {
    this.#finished = true;
    this.#latest = Math.max(this.#latest, latest);
    this.#over = this.#latest;
    this.#settle();
  }

  /** Aborted once the run is over. */
  ended(generation: number): AbortSignal {
    const controller = this.#endings.get(generation) ?? new AbortController();
    this.#endings.set(generation, controller);
    if (generation <= this.#over || this.#finished) controller.abort();
    return controller.signal;
  }

  /** The run that follows; `null`: there will be none. */
  async after(generation: number, signal: AbortSignal): Promise<number | null> {
    while (this.#latest <= generation) {
      if (this.#finished || signal.aborted) return null;
      await new Promise<void>((resolve) => {
        this.#changed.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return generation + 1;
  }

  #settle(): void {
    for (const [generation, controller] of this.#endings) {
      if (generation > this.#over && !this.#finished) continue;
      controller.abort();
      this.#endings.delete(generation);
    }
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}
