/** The file system's own notices of a directory, as something to wait for: whoever follows files need not poll. */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Where the system has no notices left (`fs.inotify.max_user_instances`), it is looked this often instead. */
const lookEveryMs = 250;

/** Wakes a follower when something happened in the log's directory, or in its parent until it exists. */
export class DirectoryNotices {
  readonly #directory: string;
  readonly #prefix: string;
  readonly #signals: readonly AbortSignal[];
  #watcher: FSWatcher | null = null;
  #watched: bigint | null = null;
  #noticed = false;
  #wake: (() => void) | null = null;

  constructor(directory: string, prefix: string, signals: readonly AbortSignal[]) {
    this.#directory = directory;
    this.#prefix = prefix;
    this.#signals = signals;
    for (const one of this.#signals) one.addEventListener('abort', this.#notice);
  }

  readonly #notice = (): void => {
    this.#noticed = true;
    this.#wake?.();
    this.#wake = null;
  };

  /** One notice is enough until somebody looks again: a flood of writes is not to be a flood of calls. */
  readonly #changed = (): void => {
    this.#watcher?.close();
    this.#watcher = null;
    this.#notice();
  };

  /** What happens from now on will wake; so look at the files after this. */
  clear(): void {
    this.#noticed = false;
    for (;;) {
      const ino = statSync(this.#directory, { bigint: true, throwIfNoEntry: false })?.ino ?? null;
      if (this.#watcher !== null && ino === this.#watched) return;
      this.#watch(ino);
      // Looked at again: made since that look, it is another directory than the one that is watched.
      if (this.#watcher === null) return;
    }
  }

  #watch(ino: bigint | null): void {
    this.#watcher?.close();
    this.#watched = ino;
    const [place, prefix] =
      ino === null ? [dirname(this.#directory), basename(this.#directory)] : [this.#directory, this.#prefix];
    const own = basename(this.#directory);
    try {
      this.#watcher = watch(place, (_event, name) => {
        if (name === null || name.startsWith(prefix) || name === own) this.#changed();
      });
      this.#watcher.on('error', this.#changed);
    } catch {
      this.#watcher = null;
    }
  }

  next(): Promise<void> {
    if (this.#noticed || this.#signals.some((signal) => signal.aborted)) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#watcher === null ? setTimeout(this.#notice, lookEveryMs) : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  close(): void {
    for (const one of this.#signals) one.removeEventListener('abort', this.#notice);
    this.#changed();
  }
}
