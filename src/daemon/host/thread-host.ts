/**
 * A thread host: starts and terminates threads as fd 4 says, and tells on fd 3 of each that is gone. Runs no user code
 * in its own thread, so it always answers; it runs until it is killed, and no error of a thread ends it.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { setTimeout } from 'node:timers';
import { Worker } from 'node:worker_threads';
import { errorExit } from './failure.ts';
import type { ThreadData } from './thread-data.ts';
import { type Exit, isRecord, type Launch, LineReader, LineWriter } from './wire.ts';

interface ThreadLaunch extends Launch {
  readonly env: Readonly<Record<string, string>>;
}
interface LaunchOrder {
  readonly run: string;
  readonly launch: ThreadLaunch;
  readonly fifos: { readonly out: string; readonly err: string; readonly up: string; readonly down: string };
}

const retryMs = 20;
const maxPast = 256;
const threadUrl = new URL(`./thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);

class ThreadHost {
  readonly #threads = new Map<string, { worker: Worker; terminating: boolean }>();
  readonly #up = new LineWriter(3);
  readonly #unsaid: string[] = [];
  /** How the latest that are gone ended. */
  readonly #past = new Map<string, Exit>();

  hear(line: Readonly<Record<string, unknown>>): void {
    const { launch, terminate } = line;
    // The shim, which spoke these words, is trusted with their form.
    if (isRecord(launch)) this.#launch(line as unknown as LaunchOrder);
    else if (isRecord(terminate)) this.#terminate(String(terminate['run']));
  }

  #launch({ run, launch, fifos }: LaunchOrder): void {
    // Asked twice where a shim died after it had asked: never two of one run.
    if (this.#threads.has(run)) return;
    const past = this.#past.get(run);
    if (past !== undefined) {
      this.#gone(run, past);
      return;
    }
    const opened: number[] = [];
    const open = (path: string): number => {
      const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
      opened.push(fd);
      return fd;
    };
    const downTaken = new Int32Array(new SharedArrayBuffer(4));
    const close = (): void => {
      const down = opened[3];
      for (const fd of opened) if (fd !== down || Atomics.load(downTaken, 0) === 0) closeSync(fd);
    };
    try {
      const descriptors = { out: open(fifos.out), err: open(fifos.err), up: open(fifos.up), down: open(fifos.down) };
      const { env, ...rest } = launch;
      const data: ThreadData = { launch: rest, descriptors, downTaken };
      this.#watch(run, new Worker(threadUrl, { name: launch.name, env: { ...env }, workerData: data }), close);
    } catch (error) {
      close();
      this.#gone(run, errorExit(error));
    }
  }

  #watch(run: string, worker: Worker, close: () => void): void {
    const thread = { worker, terminating: false };
    this.#threads.set(run, thread);
    let failure: Exit | null = null;
    worker.on('error', (error) => {
      failure = isOutOfMemory(error) ? outOfMemory(error) : errorExit(error);
    });
    worker.on('exit', (code) => {
      this.#threads.delete(run);
      close();
      this.#gone(run, failure ?? (thread.terminating ? { kind: 'terminated' } : { kind: 'code', code }));
    });
  }

  #terminate(run: string): void {
    const thread = this.#threads.get(run);
    if (thread === undefined) return;
    thread.terminating = true;
    void thread.worker.terminate();
  }

  #gone(run: string, exit: Exit): void {
    this.#past.set(run, exit);
    const [oldest] = this.#past.keys();
    if (this.#past.size > maxPast && oldest !== undefined) this.#past.delete(oldest);
    this.#unsaid.push(JSON.stringify({ threadExited: { run, exit } }));
    if (this.#unsaid.length === 1) this.#say();
  }

  /** Never waits for the reader: the other threads need this one. */
  #say(): void {
    for (let line = this.#unsaid[0]; line !== undefined && this.#up.offer(line); line = this.#unsaid[0]) {
      this.#unsaid.shift();
    }
    if (this.#unsaid.length > 0 || !this.#up.finish()) setTimeout(() => this.#say(), retryMs);
  }
}

const isOutOfMemory = (error: unknown): error is Error =>
  error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';

const outOfMemory = (error: Error): Exit => ({
  kind: 'error',
  name: 'ERR_WORKER_OUT_OF_MEMORY',
  message:
    `out of memory: ${error.message}. ` +
    'Let it hold less, or give it more with NODE_OPTIONS=--max-old-space-size=MEGABYTES in its environment',
  stack: null,
});

// One thread's trouble is not to be the others' end, not even by a fault in here.
process.on('uncaughtException', (error) => console.error('workerd: thread host:', error));
const host = new ThreadHost();
new LineReader(4, (line) => host.hear(line)).listen();
