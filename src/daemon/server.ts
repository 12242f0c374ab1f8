/**
 * The public socket: binds it under a temporary name and renames it into place, puts it back when it vanishes, and
 * gives every connection a peer, a gate and bounds. Unlinks it only while it is still its own.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, type FSWatcher, lstatSync, renameSync, rmSync, unlinkSync, watch } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { WorkerdError } from '../shared/errors.ts';
import type { Gate } from '../shared/gate.ts';
import { limits } from '../shared/limits.ts';
import { temporarySocketPath } from '../shared/paths.ts';
import { Peer } from '../shared/peer.ts';
import type { Connection } from './handlers.ts';
import type { Logger } from './ports.ts';

export interface ListenerOptions {
  readonly path: string;
  readonly gate: Gate<Connection>;
  readonly log: Logger;
  readonly onGone: (connection: Connection) => void;
}

const backlog = 4096;
/** For the last answers, at the daemon's end. */
const lastWordsMs = 500;

interface SocketFile {
  readonly dev: number;
  readonly ino: number;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #connections = new Set<Connection>();
  readonly #sockets = new Set<Socket>();
  #onEmpty: () => void = () => {};
  #server: Server | null = null;
  #file: SocketFile | null = null;
  #watcher: FSWatcher | null = null;
  #closed = false;
  #next = 1;
  #rebinding = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  get connections(): number {
    return this.#connections.size;
  }

  async listen(): Promise<void> {
    await this.#bind();
    this.#watch();
  }

  /** Accepts nothing more, and lets every connection have what is due to it; one that does not read is cut off. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    this.#unlinkOwn();
    this.#server?.close();
    if (this.#sockets.size === 0) return;
    const { promise: all, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    const timer = setTimeout(resolve, lastWordsMs);
    for (const { peer } of this.#connections) peer.close('the daemon ends');
    await all;
    clearTimeout(timer);
    for (const socket of this.#sockets) socket.destroy();
  }

  async #bind(): Promise<void> {
    const { path, log } = this.#options;
    const temporary = temporarySocketPath(path, randomBytes(3).toString('hex'));
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: temporary, backlog }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error) => log.error({ error: error.message }, 'the socket failed'));
    // Made with every bit that the umask leaves; nobody knows the temporary name.
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
    const { dev, ino } = lstatSync(path);
    const former = this.#server;
    this.#server = server;
    this.#file = { dev, ino };
    // Connections of a socket file that vanished go on; closing it would unlink by the name it was bound under.
    former?.close();
    rmSync(temporary, { force: true });
  }

  /** An event, not a poll: the directory tells when the file goes. */
  #watch(): void {
    const { path, log } = this.#options;
    this.#watcher?.close();
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, (event) => {
        if (event === 'rename') void this.#putBack();
      });
      this.#watcher.on('error', () => {});
    } catch (error) {
      log.warn({ error: String(error) }, 'cannot watch the directory of the socket');
    }
  }

  async #putBack(): Promise<void> {
    const { path, log } = this.#options;
    if (this.#closed || this.#rebinding || this.#isOwn()) return;
    this.#rebinding = true;
    try {
      await this.#bind();
      log.warn({ path }, 'the socket had vanished; put it back');
    } catch (error) {
      log.error({ path, error: String(error) }, 'the socket has vanished and cannot be put back');
    } finally {
      this.#rebinding = false;
    }
  }

  #isOwn(): boolean {
    try {
      const { dev, ino } = lstatSync(this.#options.path);
      return dev === this.#file?.dev && ino === this.#file.ino;
    } catch {
      return false;
    }
  }

  #unlinkOwn(): void {
    if (!this.#isOwn()) return;
    try {
      unlinkSync(this.#options.path);
    } catch {
      // Gone between the two calls.
    }
  }

  #accept(socket: Socket): void {
    const { gate, log, onGone } = this.#options;
    if (this.#connections.size >= limits.maxConnections) {
      log.warn({ limit: limits.maxConnections }, 'too many connections; refused one');
      const data = { code: 'limit.exceeded', retry: true, limit: 'maxConnections' };
      const error = { code: -32010, message: `at most ${limits.maxConnections} connections`, data };
      socket.on('error', () => {});
      socket.end(`${JSON.stringify({ jsonrpc: '2.0', id: null, error })}\n`, () => socket.destroy());
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#onEmpty();
    });
    const gone = new AbortController();
    const connection: Connection = {
      number: this.#next,
      actor: { uid: null, pid: null, via: null },
      subscriptions: new Set(),
      signal: gone.signal,
      get peer() {
        return peer;
      },
    };
    this.#next += 1;
    const peer: Peer<Connection> = new Peer<Connection>({
      socket,
      gate,
      session: connection,
      onClose: (why) => {
        this.#connections.delete(connection);
        log.debug({ connection: connection.number, why }, 'connection closed');
        // What it waited for ends with it, which is foreseen.
        gone.abort(new WorkerdError('daemon.unreachable', `the client is gone: ${why}`));
        onGone(connection);
      },
    });
    this.#connections.add(connection);
  }
}
