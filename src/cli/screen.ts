/**
 * A terminal on which the workers are redrawn in place: one write a frame, at most 30 a second, and one look a second
 * for what time alone changes. Whatever happens, the terminal is left as it was, with the last frame on it.
 */
import { isAlive } from '../shared/worker.ts';
import type { Context } from './context.ts';
import { BrokenPipe } from './io.ts';
import { Frames } from './render/frame.ts';
import { watchFrame } from './render/watch-frame.ts';
import type { WatchModel } from './watch-model.ts';

const minFrameMs = 34;
/** Drawing takes at most a fifth of the time, however many workers there are. */
const restFactor = 4;
const tickMs = 1000;

export class Screen {
  readonly #context: Context;
  readonly #model: WatchModel;
  readonly #frames = new Frames();
  readonly #columnWidths = new Map<string, number>();
  readonly #undo: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** A frame is on its way; what changes until then is in it. */
  #due = false;
  #notBefore = -Infinity;
  #open = true;
  #drawn = false;
  #shown: readonly string[] = [];
  /** What was said last, until something happens. */
  #notice: string | null = null;

  constructor(context: Context, model: WatchModel) {
    this.#context = context;
    this.#model = model;
    const { io } = context;
    this.#write(this.#frames.enter());
    context.onScreen = (text) => {
      this.#notice = text;
      this.redraw();
    };
    this.#undo.push(() => {
      context.onScreen = null;
    });
    this.#undo.push(io.onExit(() => this.#restore()));
    for (const [signal, number] of [
      ['SIGHUP', 1],
      ['SIGQUIT', 3],
      ['SIGTERM', 15],
    ] as const) {
      this.#undo.push(
        io.onSignal(signal, () => {
          this.#restore();
          process.exit(128 + number);
        }),
      );
    }
    // Node itself learns the new size from this signal, and perhaps after us.
    this.#undo.push(io.onSignal('SIGWINCH', () => void setImmediate(() => this.redraw())));
    this.#undo.push(
      io.onSignal('SIGTSTP', () => {
        this.#write(this.#frames.leave());
        process.kill(process.pid, 'SIGSTOP');
      }),
    );
    // While it was stopped somebody else drew here: begin below.
    this.#undo.push(
      io.onSignal('SIGCONT', () => {
        this.#write(this.#frames.enter());
        this.redraw();
      }),
    );
  }

  /** The workers that the last frame has a row for. */
  get shown(): readonly string[] {
    return this.#shown;
  }

  /** Something happened: what was said before is over. */
  changed(): void {
    this.#notice = null;
    this.redraw();
  }

  /** Draws soon; however often it is asked. */
  redraw(): void {
    if (!this.#open || this.#due) return;
    this.#due = true;
    clearTimeout(this.#timer);
    const wait = this.#notBefore - performance.now();
    if (wait <= 0) this.#draw();
    else this.#timer = setTimeout(() => this.#draw(), wait);
  }

  /** The last frame stays, where there was one; the cursor stands below it. */
  close(): void {
    if (!this.#open) return;
    if (this.#drawn || this.#model.views.size > 0) this.#draw(true);
    this.#restore();
    for (const undo of this.#undo.splice(0)) undo();
  }

  #draw(last = false): void {
    this.#due = false;
    clearTimeout(this.#timer);
    if (!this.#open) return;
    const began = performance.now();
    const size = { columns: this.#context.width ?? 80, rows: this.#context.io.stdout.size()?.rows ?? 24 };
    const { lines, shown } = watchFrame(this.#model, {
      style: this.#context.style,
      now: this.#context.now(),
      size,
      widths: this.#columnWidths,
      notice: this.#notice,
      last,
    });
    this.#shown = shown;
    this.#drawn = true;
    this.#write(this.#frames.next(lines, size, { last }));
    const ended = performance.now();
    this.#notBefore = ended + Math.max(minFrameMs, restFactor * (ended - began));
    if (this.#open && !last) this.#tick();
  }

  /** Uptimes, times left and "3s ago" go on by themselves. */
  #tick(): void {
    const { views } = this.#model;
    if (views.size === 0) return;
    const living = [...views.values()].some((view) => isAlive(view.phase));
    this.#timer = setTimeout(() => this.#draw(), living ? tickMs : 5 * tickMs).unref();
  }

  #write(text: string): void {
    if (text === '' || !this.#open) return;
    try {
      this.#context.io.stdout.write(text);
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
      this.#open = false;
    }
  }

  #restore(): void {
    clearTimeout(this.#timer);
    this.#write(this.#frames.leave());
    this.#open = false;
  }
}
