/**
 * A terminal on which the table is redrawn in place: one write a frame, at most 20 a second, and at least one a second
 * for what time alone changes. Whatever happens, the terminal is left as it was, with the last frame on it.
 */
import { isAlive } from '../shared/worker.ts';
import type { Context } from './context.ts';
import { BrokenPipe } from './io.ts';
import { tableText } from './render/table.ts';
import { clip, displayWidth } from './render/text.ts';
import type { WatchModel } from './watch-model.ts';

const minFrameMs = 50;
const maxFrameMs = 1000;
/** No cursor, and no wrapping: a line that is too long must not become two. */
const begin = '\x1b[?25l\x1b[?7l';
const finish = '\x1b[?7h\x1b[?25h';

export class Screen {
  readonly #context: Context;
  readonly #model: WatchModel;
  readonly #columnWidths = new Map<string, number>();
  readonly #undo: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #drawnAt = -Infinity;
  #lines: readonly string[] = [];
  #width = 80;
  #open = true;

  constructor(context: Context, model: WatchModel) {
    this.#context = context;
    this.#model = model;
    const { io } = context;
    io.stdout.write(begin);
    this.#undo.push(io.onExit(() => this.#restore()));
    for (const [signal, number] of [
      ['SIGTERM', 15],
      ['SIGHUP', 1],
    ] as const) {
      this.#undo.push(
        io.onSignal(signal, () => {
          this.#restore();
          process.exit(128 + number);
        }),
      );
    }
    this.#undo.push(io.onSignal('SIGWINCH', () => this.redraw()));
    // Stopped in the background somebody else may have drawn here: begin below.
    this.#undo.push(
      io.onSignal('SIGCONT', () => {
        this.#lines = [];
        io.stdout.write(begin);
        this.redraw();
      }),
    );
  }

  /** Draws soon; however often it is asked. */
  redraw(): void {
    if (!this.#open) return;
    const wait = Math.max(0, this.#drawnAt + minFrameMs - performance.now());
    clearTimeout(this.#timer);
    if (wait === 0) this.#draw();
    else this.#timer = setTimeout(() => this.#draw(), wait);
  }

  /** The last frame stays; the cursor stands below it. */
  close(): void {
    if (!this.#open) return;
    this.#draw();
    this.#restore();
    for (const undo of this.#undo.splice(0)) undo();
  }

  #draw(): void {
    clearTimeout(this.#timer);
    if (!this.#open) return;
    this.#drawnAt = performance.now();
    const { io } = this.#context;
    const width = this.#context.width ?? 80;
    const height = io.stdout.size()?.rows ?? 24;
    const lines = this.#frame(width, Math.max(1, height - 1));
    const up = this.#rowsAbove(width);
    const text = `${up > 0 ? `\x1b[${up}A` : ''}\r${lines.map((line) => `\x1b[2K${line}\n`).join('')}\x1b[J`;
    this.#lines = lines;
    this.#width = width;
    try {
      io.stdout.write(text);
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
      this.#open = false;
      return;
    }
    const ticking = [...this.#model.views.values()].some((view) => isAlive(view.phase));
    if (ticking) this.#timer = setTimeout(() => this.#draw(), maxFrameMs).unref();
  }

  #frame(width: number, height: number): readonly string[] {
    const views = [...this.#model.views.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const { style } = this.#context;
    if (views.length === 0) return [clip('no workers yet', width, style.ellipsis)];
    const options = {
      style,
      now: this.#context.now(),
      width,
      samples: this.#model.samples,
      widths: this.#columnWidths,
    };
    const lines = tableText(views, options).trimEnd().split('\n');
    if (lines.length <= height) return lines;
    const hidden = lines.length - (height - 1);
    return [...lines.slice(0, height - 1), style.paint('dim', clip(`and ${hidden} more`, width, style.ellipsis))];
  }

  /** Rows that the last frame takes now: a terminal made narrower has broken its long lines. */
  #rowsAbove(width: number): number {
    if (width >= this.#width) return this.#lines.length;
    return this.#lines.reduce((rows, line) => rows + Math.max(1, Math.ceil(displayWidth(line) / width)), 0);
  }

  #restore(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#timer);
    try {
      this.#context.io.stdout.write(finish);
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
    }
  }
}
