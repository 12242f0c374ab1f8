/**
 * The name under which the shim is found: bound under another, then renamed, so that it appears ready and private at
 * once; put back when it vanishes; removed at the end only while it is still ours.
 */
import { randomBytes } from 'node:crypto';
import { type BigIntStats, type FSWatcher, lstatSync, renameSync, unlinkSync, watch } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { hasCode } from '../../shared/log-file.ts';
import { checkSocketPath, temporarySocketPath } from '../../shared/paths.ts';

export interface EndpointOptions {
  readonly path: string;
  readonly onConnection: (socket: Socket) => void;
  readonly log: (message: string) => void;
}

const lookEveryMs = 1000;

export class Endpoint {
  readonly #options: EndpointOptions;
  #server: Server | null = null;
  #own: BigIntStats | null = null;
  #watcher: FSWatcher | null = null;
  #timer: NodeJS.Timeout | null = null;
  #rebinding = false;
  #closed = false;

  constructor(options: EndpointOptions) {
    this.#options = options;
  }

  /** Throws where another living shim answers there. */
  async open(): Promise<void> {
    const { path } = this.#options;
    checkSocketPath(path);
    if (await answers(path)) throw new Error(`another shim answers on ${path}: there is one for each home`);
    try {
      await this.#bind();
    } catch (error) {
      // A disk without inodes: the name that a dead one left gives one back.
      if (!hasCode(error, 'ENOSPC', 'EDQUOT') || present(path)?.isSocket() !== true) throw error;
      unlinkSync(path);
      await this.#bind();
    }
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(path)) this.#look();
      });
      this.#watcher.on('error', () => this.#lookNowAndThen());
    } catch {
      this.#lookNowAndThen();
    }
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#server?.close();
    if (this.#isOurs()) unlinkSync(this.#options.path);
  }

  async #bind(): Promise<void> {
    const { path, onConnection, log } = this.#options;
    const server = createServer({ allowHalfOpen: true }, onConnection);
    const temporary = temporarySocketPath(path, randomBytes(6).toString('hex'));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // A socket is made, within this call, with every bit that the umask leaves: 0600 from its first moment.
      const before = process.umask(0o177);
      try {
        server.listen({ path: temporary, backlog: 4096 }, resolve);
      } finally {
        process.umask(before);
      }
    });
    server.on('error', (error) => log(`the socket failed: ${error.message}`));
    const stat = lstatSync(temporary, { bigint: true });
    renameSync(temporary, path);
    // Connections of the old one live on; closing it removes its temporary name, which is long gone.
    this.#server?.close();
    this.#server = server;
    this.#own = stat;
  }

  /** Only a name that is missing is put back: one that is another's belongs to another. */
  #look(): void {
    if (this.#closed || this.#rebinding || present(this.#options.path) !== null) return;
    this.#rebinding = true;
    this.#bind()
      .then(() => this.#options.log(`${this.#options.path} had vanished and was put back`))
      .catch((error: unknown) => {
        this.#options.log(`cannot put ${this.#options.path} back: ${String(error)}`);
        this.#lookNowAndThen();
      })
      .finally(() => {
        this.#rebinding = false;
        if (this.#closed) this.close();
      });
  }

  /** Only where the system gives no notice. */
  #lookNowAndThen(): void {
    if (this.#closed) return;
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs);
    this.#timer.unref();
  }

  #isOurs(): boolean {
    const there = present(this.#options.path);
    return there !== null && there.dev === this.#own?.dev && there.ino === this.#own.ino;
  }
}

const present = (path: string): BigIntStats | null => {
  try {
    return lstatSync(path, { bigint: true });
  } catch {
    return null;
  }
};

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => settle(true));
    // EAGAIN: its backlog is full, so it is there.
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'EAGAIN'));
  });
