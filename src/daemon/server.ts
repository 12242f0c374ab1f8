/**
 * The public socket: binds it under a temporary name and renames it into place, puts it back when it vanishes, and
 * gives every connection a peer, a gate and bounds. Unlinks it only while it is still its own.
 */
import { randomBytes } from 'node:crypto';
import { type FSWatcher, lstatSync, renameSync, rmSync, unlinkSync, watch } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { Budget } from '../shared/budget.ts';
import { connectionLost, WorkerdError } from '../shared/errors.ts';
import type { Gate } from '../shared/gate.ts';
import { limits } from '../shared/limits.ts';
import { temporarySocketPath } from '../shared/paths.ts';
import { Peer } from '../shared/peer.ts';
import { errorResponse } from '../shared/rpc-errors.ts';
import type { DescriptorRoom } from './descriptor-room.ts';
import type { Connection } from './handlers.ts';
import { cannotListen } from './instance.ts';
import type { Logger } from './ports.ts';

export interface ListenerOptions {
  readonly path: string;
  /** Makes the directory of the socket where it has vanished. */
  readonly prepareDirectory: () => void;
  readonly gate: Gate<Connection>;
  readonly room: DescriptorRoom;
  readonly log: Logger;
  /** A client has said something. */
  readonly onBusy: () => void;
  readonly onGone: (connection: Connection) => void;
}

const backlog = 4096;
/** How soon it is tried again to put a socket back that could not be. */
const putBackMs = 200;
/** For the last answers, at the daemon's end. */
const lastWordsMs = 500;
/** So long a refused client may take to read why; more than so many at once are refused without words. */
const refusalMs = 1000;
const maxRefusals = 64;

interface SocketFile {
  readonly dev: number;
  readonly ino: number;
}

interface Refusal {
  readonly log: string;
  readonly message: string;
  readonly data: Readonly<Record<string, string | number>>;
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
  readonly #budget = new Budget({ onCut: (why) => this.#options.log.warn({ why }, 'cut off a connection') });
  readonly #refused = new Set<Socket>();
  #rebinding = false;
  #saidMissing = false;

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
    for (const socket of [...this.#sockets, ...this.#refused]) socket.destroy();
  }

  async #bind(): Promise<void> {
    const { path, log } = this.#options;
    const temporary = temporarySocketPath(path, randomBytes(3).toString('hex'));
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      const refuse = (error: Error) => reject(cannotListen(path, error));
      server.once('error', refuse);
      // A socket is made, within this call, with every bit that the umask leaves: 0600 from its first moment.
      const before = process.umask(0o177);
      try {
        server.listen({ path: temporary, backlog }, () => {
          server.off('error', refuse);
          resolve();
        });
      } finally {
        process.umask(before);
      }
    });
    server.on('error', (error) => log.error({ error: error.message }, 'the socket failed'));
    if (this.#closed) {
      // It had vanished, and we ended before it was back: one that is left would look like that of a crash.
      server.close();
      return;
    }
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
      this.#options.prepareDirectory();
      await this.#bind();
      // The directory may be another one now, of which the watch knows nothing.
      this.#watch();
      log.warn({ path }, 'the socket had vanished; put it back');
    } catch (error) {
      if (!this.#saidMissing)
        log.error({ path, error: String(error) }, 'the socket has vanished; trying to put it back');
      this.#saidMissing = true;
      this.#putBackLater();
      return;
    } finally {
      this.#rebinding = false;
    }
    this.#saidMissing = false;
    // Whoever removes a directory may be at it still.
    if (!this.#isOwn()) this.#putBackLater();
  }

  #putBackLater(): void {
    setTimeout(() => void this.#putBack(), putBackMs).unref();
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

  /** In words, to a client that has time to read them; what it sends is read and not looked at. */
  #refuse(socket: Socket, { log, message, data }: Refusal): void {
    this.#options.log.warn(data, log);
    socket.on('error', () => {});
    if (this.#closed || this.#refused.size >= maxRefusals || this.#options.room.isGone(socket)) {
      socket.destroy();
      return;
    }
    this.#refused.add(socket);
    const error = new WorkerdError('limit.exceeded', message, data);
    const timer = setTimeout(() => socket.destroy(), refusalMs);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#refused.delete(socket);
    });
    socket.resume();
    // It has read why once it closes its side, too.
    socket.once('end', () => socket.destroy());
    socket.end(`${JSON.stringify(errorResponse(null, error.rpcCode, error.message, error.data))}\n`);
  }

  /** Why one more cannot be served; `null`: it can. Counted until the descriptor is free, not until the last answer. */
  #refusal(socket: Socket): Refusal | null {
    const { maxConnections } = limits;
    if (this.#sockets.size >= maxConnections) {
      return {
        log: 'too many connections; refused one',
        message: `the daemon serves at most ${maxConnections} connections, and has them; try again later`,
        data: { limit: 'maxConnections' },
      };
    }
    const { room } = this.#options;
    if (!room.isScarce(socket)) return null;
    return {
      log: 'no descriptors are left for one more connection; refused it',
      message:
        `the daemon may open ${room.limit} files, and keeps the last for its own work; ` +
        'try again later, or start it with a higher limit of open files (ulimit -n)',
      data: { limit: 'openFiles', openFiles: room.limit },
    };
  }

  #accept(socket: Socket): void {
    const { gate, log, onBusy, onGone } = this.#options;
    const refusal = this.#refusal(socket);
    if (refusal !== null) {
      this.#refuse(socket, refusal);
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
    socket.on('data', onBusy);
    const peer: Peer<Connection> = new Peer<Connection>({
      socket,
      gate,
      session: connection,
      budget: this.#budget,
      onClose: (why) => {
        this.#connections.delete(connection);
        log.debug({ connection: connection.number, why }, 'connection closed');
        // What it waited for ends with it, and that is no fault.
        gone.abort(connectionLost(why));
        onGone(connection);
      },
    });
    this.#connections.add(connection);
  }
}
