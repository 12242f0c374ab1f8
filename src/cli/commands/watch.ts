/** `workerctl watch`: the workers as they are, then every change as it happens. */
import type { Client, WorkerEvent } from '../../shared/client.ts';
import { isAlive, type WorkerView } from '../../shared/worker.ts';
import type { Context } from '../context.ts';
import { allWorkers, checkNames } from '../names.ts';
import { eventText } from '../render/event.ts';
import { oneLine } from '../render/text.ts';
import type { Verb } from '../run.ts';
import type { Screen } from '../screen.ts';
import { WatchModel } from '../watch-model.ts';

export const watch: Verb = {
  spec: {
    usage: '[options] [NAME...]',
    summary: 'Watch workers: a snapshot, then every change as it happens.',
    details:
      'On a terminal the table is redrawn in place; elsewhere there is a line per change. With names it ends by itself once all of them have ended for good. Leaving it stops nothing.',
    options: [{ flags: '--forever', text: 'go on when all have ended' }],
    examples: [
      ['workerctl watch', 'all workers; Ctrl-C leaves'],
      ['workerctl watch import', 'until it has ended: progress, rate, time left'],
      ["workerctl watch 'web-*' --json", 'an event per line, for scripts'],
    ],
    minOperands: 0,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const names = args.operands;
    checkNames(names);
    const client = await context.client();
    const ends = names.length > 0 && !args.flag('forever');
    const model = new WatchModel({ ends });
    const over = new AbortController();
    const signal = AbortSignal.any([context.signal, over.signal]);
    const events = client.watch(names.length === 0 ? {} : { names }, { signal });
    const screen = await openScreen(context, model);
    const show = screen === null ? linesOf(context, model) : () => screen.changed();
    // Asked beside the subscription: which workers were meant, and whether there are such at all.
    const meant = meantWorkers(context, names, screen !== null).then((workers) => {
      model.expect(workers);
      if (model.over) over.abort();
      // Of no worker there is no event that would have it drawn.
      else if (workers.length === 0) screen?.redraw();
    });
    meant.catch((error: unknown) => over.abort(error));
    try {
      let usage: Promise<void> | null = null;
      for await (const event of events) {
        model.apply(event);
        show(event);
        if (screen !== null && usage === null) {
          usage = refreshUsage(context, client, { screen, model, signal });
          usage.catch(() => {});
        }
        if (model.over) break;
      }
      await meant;
      context.signal.throwIfAborted();
      return 0;
    } finally {
      over.abort();
      screen?.close();
    }
  },
};

const meantWorkers = async (
  context: Context,
  names: readonly string[],
  drawn: boolean,
): Promise<readonly WorkerView[]> => {
  if (names.length > 0) return allWorkers(context, { names });
  return drawn ? allWorkers(context) : [];
};

const openScreen = async (context: Context, model: WatchModel) => {
  const { io, json, quiet } = context;
  if (json || quiet || !io.stdout.isTty || io.env['TERM'] === 'dumb') return null;
  const { Screen } = await import('../screen.ts');
  return new Screen(context, model);
};

const linesOf = (context: Context, model: WatchModel) => {
  let nameWidth = 0;
  return (event: WorkerEvent): void => {
    if (context.json) {
      context.result(event);
      return;
    }
    if (context.quiet) {
      if (event.type !== 'gap') context.line(oneLine(event.name));
      return;
    }
    nameWidth = Math.max(nameWidth, ...[...model.views.keys()].map((name) => name.length));
    const text = eventText(event, { style: context.style, now: context.now(), nameWidth });
    if (text !== null) context.line(text);
  };
};

const refreshEveryMs = 2000;
const firstLookMs = 50;
const fewWorkers = 100;

interface Refresh {
  readonly screen: Screen;
  readonly model: WatchModel;
  readonly signal: AbortSignal;
}

/** CPU and memory are no events: a terminal asks for them, for the rows it shows and while one of them lives. */
const refreshUsage = async (context: Context, client: Client, { screen, model, signal }: Refresh): Promise<void> => {
  // The first events come all at once: one look at what they make.
  await pause(firstLookMs, signal);
  while (!signal.aborted && !client.closed) {
    // Of a few all: which of them have a row is known a frame later.
    const asked = model.views.size <= fewWorkers ? [...model.views.keys()] : screen.shown;
    const names = asked.filter((name) => {
      const view = model.views.get(name);
      return view !== undefined && isAlive(view.phase);
    });
    if (names.length > 0) {
      model.measure(await allWorkers(context, { names }).catch(() => []));
      screen.redraw();
    }
    await pause(refreshEveryMs, signal);
  }
};

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    timer.unref();
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
