/** What came from a far end and was not looked at yet: whole lines in order, and the one that is not ended. */
import { FrameReader, isBlank, type Line } from './framing.ts';
import { limits } from './limits.ts';

export class Inbox {
  readonly #reader = new FrameReader();
  readonly #onUnfinished: () => void;
  /** Those before `#next` are done: taking the first of an array of thousands moves all the others. */
  #frames: Line[] = [];
  #next = 0;
  #frameBytes = 0;
  #unfinished: NodeJS.Timeout | undefined;

  /** `onUnfinished`: a line was begun and not ended in time. */
  constructor(onUnfinished: () => void) {
    this.#onUnfinished = onUnfinished;
  }

  get isEmpty(): boolean {
    return this.#next === this.#frames.length;
  }

  /** One is left. */
  get isLast(): boolean {
    return this.#next + 1 === this.#frames.length;
  }

  get holdsUnfinished(): boolean {
    return this.#reader.unfinished;
  }

  get heldBytes(): number {
    return this.#reader.pendingBytes + this.#frameBytes;
  }

  /** False: a line is longer than a frame may be. */
  push(chunk: Buffer): boolean {
    const frames = this.#reader.push(chunk);
    if (frames === 'too-large') return false;
    this.#watchUnfinished(frames.length > 0);
    for (const frame of frames) {
      if (isBlank(frame)) continue;
      this.#frames.push(frame);
      this.#frameBytes += frame.length;
    }
    return true;
  }

  take(): Line | null {
    const frame = this.#frames[this.#next];
    if (frame === undefined) return null;
    this.#next += 1;
    this.#frameBytes -= frame.length;
    if (this.isEmpty) {
      this.#forget();
      // Only now the far end is read again.
      this.#unfinished?.refresh();
    }
    return frame;
  }

  /** Nothing more comes. */
  end(): void {
    clearTimeout(this.#unfinished);
  }

  clear(): void {
    this.end();
    this.#forget();
  }

  #forget(): void {
    this.#frames = [];
    this.#next = 0;
    this.#frameBytes = 0;
  }

  /**
   * Counted from the beginning of a line: one that drips in is not given more time. While whole ones wait their turn the
   * far end is not read, and the end of the line may have been sent long ago.
   */
  #watchUnfinished(lineEnded: boolean): void {
    if (lineEnded || !this.#reader.unfinished) {
      clearTimeout(this.#unfinished);
      this.#unfinished = undefined;
    }
    if (!this.#reader.unfinished || this.#unfinished !== undefined) return;
    const expired = () => {
      if (this.isEmpty) this.#onUnfinished();
      else this.#unfinished?.refresh();
    };
    this.#unfinished = setTimeout(expired, limits.unfinishedFrameMs);
    this.#unfinished.unref();
  }
}
