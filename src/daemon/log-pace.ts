/**
 * How much of a kind the daemon's own log takes: a thousand workers that start at once, or a client that comes again and
 * again, must not fill a disk. Of each message so many lines a second, then how many more there were.
 */

export const maxLinesPerSecond = 10;
const windowMs = 1000;
/** Messages looked after at once; more would be made by whoever puts something of his own into one. */
const maxWindows = 256;

interface Window {
  readonly beganMono: number;
  lines: number;
  /** Says how many more there were, as the first of them would have been said. */
  say: (more: number) => void;
}

export interface LogPaceOptions {
  /** Monotonic milliseconds. */
  readonly mono: () => number;
  /** Calls once, later, unless the process ends before. */
  readonly after: (ms: number, callback: () => void) => void;
}

export class LogPace {
  readonly #options: LogPaceOptions;
  readonly #windows = new Map<string, Window>();

  constructor(options: LogPaceOptions) {
    this.#options = options;
  }

  /** False: it is only counted, and `say` tells, when its second is over, how many more of this message there were. */
  admit(message: string, say: (more: number) => void): boolean {
    const now = this.#options.mono();
    const window = this.#windows.get(message);
    if (window === undefined || now - window.beganMono >= windowMs) {
      this.#end(message);
      if (this.#windows.size >= maxWindows) this.flush();
      this.#windows.set(message, { beganMono: now, lines: 1, say });
      return true;
    }
    window.lines += 1;
    if (window.lines <= maxLinesPerSecond) return true;
    if (window.lines === maxLinesPerSecond + 1) {
      window.say = say;
      this.#options.after(window.beganMono + windowMs - now, () => {
        if (this.#windows.get(message) === window) this.#end(message);
      });
    }
    return false;
  }

  /** What is counted and not said yet is said now. */
  flush(): void {
    for (const message of [...this.#windows.keys()]) this.#end(message);
  }

  #end(message: string): void {
    const window = this.#windows.get(message);
    this.#windows.delete(message);
    if (window !== undefined && window.lines > maxLinesPerSecond) window.say(window.lines - maxLinesPerSecond);
  }
}
