/**
 * The life of one module's run, in a process or a thread: load, say `running`, call, and when the function has settled
 * write everything, say how it ended, and leave. Installs no signal handlers.
 */
import type { Json, WorkerContext } from './contract.ts';
import { errorExit, show } from './failure.ts';
import { loadWorker } from './load.ts';
import { jsonOf } from './published-state.ts';
import { note, Runtime } from './runtime.ts';
import type { Launch } from './wire.ts';

export interface RunOptions {
  readonly launch: Launch;
  readonly kind: WorkerContext['kind'];
  readonly up: number;
  /** Belongs to the event loop from the call on. */
  readonly down: number;
  /** Of a thread. */
  readonly threadId?: number;
}

const maxResultBytes = 256 * 1024;

export const runModule = async ({ launch, kind, up, down, threadId }: RunOptions): Promise<void> => {
  // They name descriptors that no child of the module has.
  delete process.env['WORKERD_FD'];
  delete process.env['WORKERD_DOWN_FD'];
  const runtime = new Runtime({ launch, kind, up, down });
  process.on('exit', () => runtime.leave());
  process.on('uncaughtException', (error) => {
    // A module that handles these itself is left to it; a wait that the stop cut off ends nothing.
    if (process.listenerCount('uncaughtException') > 1 || runtime.isStopping(error)) return;
    fail(runtime, error);
  });
  runtime.listen();
  const resourcesBefore = process.getActiveResourcesInfo();
  let result: unknown = null;
  try {
    const worker = await loadWorker(launch.module, launch.export);
    runtime.say(threadId === undefined ? { running: true } : { running: true, threadId });
    result = await worker(runtime.ctx as WorkerContext<Json>);
  } catch (error) {
    if (!runtime.isStopping(error)) fail(runtime, error);
    result = null;
  }
  succeed(runtime, result, resourcesBefore);
};

const succeed = (runtime: Runtime, result: unknown, resourcesBefore: readonly string[]): never => {
  runtime.leave();
  const open = openHandles(resourcesBefore);
  if (open !== '') note(`the worker ended with open handles: ${open}`);
  // The module has said by itself that it ended badly: that code is how it ended.
  if (process.exitCode === undefined || Number(process.exitCode) === 0) runtime.sayReturned(resultText(result));
  process.exit();
};

const fail = (runtime: Runtime, error: unknown): never => {
  runtime.leave();
  try {
    process.stderr.write(`${show(error)}\n`);
  } catch {
    // The module took its stderr away; the exit carries the error all the same.
  }
  runtime.say({ exit: errorExit(error) });
  process.exit(1);
};

const resultText = (result: unknown): string => {
  try {
    const text = jsonOf(result, 'the result') ?? 'null';
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxResultBytes) return text;
    note(`the result is ${bytes} bytes of JSON, at most ${maxResultBytes} are kept; it is recorded as null`);
  } catch (error) {
    note(`${error instanceof Error ? error.message : String(error)}; it is recorded as null`);
  }
  return 'null';
};

/** What the module left that would have kept it alive, e.g. `Timeout ×2, TCPServerWrap`. */
const openHandles = (before: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  for (const kind of before) counts.set(kind, (counts.get(kind) ?? 0) - 1);
  return [...counts]
    .filter(([kind, count]) => count > 0 && kind !== 'CloseReq')
    .map(([kind, count]) => (count === 1 ? kind : `${kind} ×${count}`))
    .join(', ');
};
