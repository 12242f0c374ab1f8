/**
 * A file system that stands still: whoever writes to it is in state D, and no signal ends it, until it is thawed. A
 * process of its own thaws and unmounts it when the test ends, or is ended.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const done = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args).status === 0;

const undo = 'trap "" INT TERM HUP; cat >/dev/null; fsfreeze -u "$1"; umount "$1" || umount -l "$1"';

export class FrozenDisk {
  readonly directory: string;
  readonly #keeper: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(directory: string, keeper: ChildProcess) {
    this.directory = directory;
    this.#keeper = keeper;
    this.#ended = once(keeper, 'exit');
  }

  /** A word that says why there can be none here, instead. */
  static make(): FrozenDisk | string {
    if (process.getuid?.() !== 0) return 'only root can freeze a file system';
    const base = mkdtempSync(join(tmpdir(), 'frozen-'));
    const [image, directory] = [join(base, 'image'), join(base, 'mounted')];
    mkdirSync(directory);
    writeFileSync(image, '');
    truncateSync(image, 16 * 1024 * 1024);
    const mounted = done('mkfs.ext4', '-q', '-F', image) && done('mount', '-o', 'loop', image, directory);
    if (!mounted) {
      rmSync(base, { recursive: true, force: true });
      return 'no file system can be made and mounted here';
    }
    const stdio = ['pipe', 'ignore', 'ignore'] as const;
    const keeper = spawn('sh', ['-c', undo, 'sh', directory], { stdio: [...stdio], detached: true, cwd: '/' });
    const disk = new FrozenDisk(directory, keeper);
    if (done('fsfreeze', '-f', directory)) return disk;
    void disk[Symbol.asyncDispose]();
    return 'no file system can be frozen here';
  }

  file(name: string): string {
    return join(this.directory, name);
  }

  /** Whoever waits goes on, or ends at last. */
  thaw(): void {
    spawnSync('fsfreeze', ['-u', this.directory]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keeper.stdin?.end();
    await this.#ended;
    rmSync(join(this.directory, '..'), { recursive: true, force: true });
  }
}
