/**
 * `workerctl run`: a worker in the foreground. Its stdout and stderr are passed on byte for byte, and its exit code;
 * Ctrl-C (or SIGTERM) stops it, a second one kills it.
 */
import type { Client, ParamsInput } from '../../shared/client.ts';
import { exitCodes, WorkerdError } from '../../shared/errors.ts';
import { followChunks } from '../../shared/log-follow.ts';
import type { StartResult } from '../../shared/protocol.ts';
import { tailLines } from '../../shared/tail.ts';
import type { WorkerView } from '../../shared/worker.ts';
import type { Args } from '../args.ts';
import type { Context } from '../context.ts';
import { definitionOptions, readStart, sayDropped } from '../definition.ts';
import { exitCodeOf } from '../exit-code.ts';
import { Interrupts } from '../interrupts.ts';
import { BrokenPipe } from '../io.ts';
import { explainDenied, logDirectory, RunTracker } from '../log-source.ts';
import { allWorkers } from '../names.ts';
import { gapInWords } from '../render/log.ts';
import { alreadyText } from '../render/outcome.ts';
import { exitText } from '../render/text.ts';
import type { Verb } from '../run.ts';

export const run: Verb = {
  spec: {
    usage: '[options] NAME | ./module.ts[#export] | [-n NAME] -- COMMAND [ARG...]',
    summary: 'Start a worker and stay with it: its output, and its exit code.',
    details:
      'As start, in the foreground. Ctrl-C (or SIGTERM) stops the worker, a second one kills it. A worker that runs already is joined, from now on.',
    options: [...definitionOptions, { flags: '--rm', text: 'forget the worker at the end' }],
    examples: [
      ['workerctl run --rm -- make -j4', 'a job that others can watch and stop'],
      ['workerctl run ./counter.ts', 'a module; Ctrl-C stops it'],
    ],
    takesCommand: true,
    minOperands: 0,
    maxOperands: 1,
  },
  run: (context, args) => runForeground(context, args),
};

const runForeground = async (context: Context, args: Args): Promise<number> => {
  const request = readStart(args, context.io);
  const { params, likelyName } = request;
  // Which runs were there before tells the first one of ours, however soon the answer to `start` comes.
  const before = await allWorkers(context, { names: [`${likelyName}*`] });
  const client = await context.client();
  const done = new AbortController();
  const interrupts = new Interrupts(context);
  try {
    const result = await client.call('start', { ...params, wait: 'none' }, { signal: interrupts.givenUp });
    const { name } = result.worker;
    interrupts.attach(client, name);
    sayDropped(context, request);
    // Nobody named it: that an equal one runs already, in another directory perhaps, is not to be expected.
    const unnamed = params.name === undefined;
    if (unnamed && result.outcome === 'already-running')
      context.note(`${alreadyText(result.worker)}; joined, from now on`);
    const tracker = new RunTracker();
    const ending = client.call('wait', { name, for: 'exit' });
    ending.then(({ worker }) => tracker.finish(worker.generation)).catch(() => tracker.finish());
    const passing = passOn(context, client, { name, tracker, result, before, signal: done.signal, interrupts });
    const output = passing.then(
      () => null,
      (error: unknown) => sayCut(context, name, error),
    );
    output.catch(() => {});
    await inTime(client, name, params);
    const ended = await Promise.race([ending, interrupts.refused]);
    if (ended instanceof WorkerdError) {
      context.fail(ended);
      return interrupts.code ?? exitCodes.failed;
    }
    const { worker } = ended;
    const left = await interrupts.leaves(output);
    if (!left) explain(context, worker);
    if (args.flag('rm')) await forget(context, client, name);
    if (left) interrupts.end();
    const cut = left ? null : await output;
    return interrupts.code ?? cut ?? exitCodeOf(worker) ?? exitCodes.failed;
  } finally {
    interrupts.stop();
    done.abort();
  }
};

/** Others may be at it, too: one that joined it, or one that starts it again. How it ended stays what it was. */
const forget = async (context: Context, client: Client, name: string): Promise<void> => {
  try {
    await client.call('remove', { name });
  } catch (error) {
    if (!(error instanceof WorkerdError)) throw error;
    if (error.code === 'worker.busy') context.note(`${name} is not forgotten: ${error.message}`);
    else if (error.code !== 'worker.not-found') throw error;
  }
};

/** A full disk, say: said at once, as the worker goes on, be it for days. The exit code. */
const sayCut = (context: Context, name: string, error: unknown): number => {
  if (error instanceof WorkerdError || error instanceof BrokenPipe) throw error;
  const why = error instanceof Error ? error.message : String(error);
  const words = `cannot pass on what ${name} writes: ${why}. It goes on, and its log has all: workerctl logs ${name}`;
  return context.fail(new WorkerdError('internal', words, { name }));
};

/** Where a time was given to be running or ready in: passed means exit code 124, and the worker is left as it is. */
const inTime = async (client: Client, name: string, { wait, timeoutMs }: ParamsInput<'start'>): Promise<void> => {
  if (timeoutMs === undefined || wait === 'none') return;
  try {
    await client.call('wait', { name, for: wait ?? 'ready', timeoutMs });
  } catch (error) {
    // It ended without: its exit code says so.
    if (!(error instanceof WorkerdError) || error.code !== 'wait.impossible') throw error;
  }
};

interface Joined {
  readonly name: string;
  readonly tracker: RunTracker;
  readonly result: StartResult;
  readonly before: readonly WorkerView[];
  readonly signal: AbortSignal;
  readonly interrupts: Interrupts;
}

/** Output of the run and of those that follow it, until the tracker knows of no more. */
const passOn = async (context: Context, client: Client, joined: Joined): Promise<void> => {
  const { name, tracker, result, before, signal, interrupts } = joined;
  const earlier = before.find((view) => view.name === name)?.generation ?? 0;
  const old = result.outcome === 'already-running';
  const first = old ? result.worker.generation : earlier + 1;
  try {
    const directory = await logDirectory(client, name);
    let from = old ? (tailLines(directory, 0, { generation: first }).cursor?.offset ?? 0) : 0;
    tracker.follow(client, name, signal).catch(() => {});
    const write = passingOn(context, () => client.call('stop', { name }).catch(() => {}));
    for (let generation: number | null = first; generation !== null; ) {
      const options = { from, merge: true, gaps: true, signal, ended: tracker.ended(generation) };
      for await (const chunks of followChunks(directory, generation, options)) {
        for (const { at, stream, bytes, lost } of chunks) {
          if (lost === undefined) await write(stream, bytes);
          else context.note(`${name}: ${gapInWords({ at, generation, lost })}`);
          interrupts.passed();
        }
      }
      generation = await tracker.after(generation, signal);
      from = 0;
    }
  } catch (error) {
    throw explainDenied(error, name);
  }
};

/** Whoever read our output has left: nobody wants the rest, so the worker is asked to stop, once. */
const passingOn = (context: Context, stop: () => void) => {
  let broken = false;
  return async (stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> => {
    if (broken) return;
    try {
      await context.io[stream].writePatiently(bytes);
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
      broken = true;
      stop();
    }
  };
};

/** What the worker's own output cannot say. */
const explain = (context: Context, { name, exit, reason }: WorkerView): void => {
  if (context.json && exit?.kind === 'spawn-failed') {
    context.fail(new WorkerdError('worker.start-failed', `${name}: ${exitText(exit)}`, { name, exit }));
    return;
  }
  if (exit?.kind === 'spawn-failed' || exit?.kind === 'lost' || exit?.kind === 'terminated') {
    context.note(`${name}: ${exitText(exit)}`);
  }
  if (reason === 'crash-loop') context.note(`${name}: ended too often too soon, not restarted any more (crash-loop)`);
};
