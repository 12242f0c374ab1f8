/**
 * Named FIFOs: a pool of ready ones, and one end of each. A reader holds a read end of its own, so that the worker
 * never meets a lost one; a writer queues what the pipe has no room for.
 */
import { execFile } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { getSystemErrorMap, promisify } from 'node:util';

const poolSize = 64;
/** Each refill is a process, and a fork of the shim: in a burst few large ones cost less than many small ones. */
const refillSize = 256;
const refillBelow = 48;
/** With `in`. */
const mostOfOneRun = 5;

const run = promisify(execFile);

/** Ready FIFOs in a directory of their own: `mkfifo` is a program, and one call makes many. */
export class FifoPool {
  readonly #directory: string;
  #ready: string[] = [];
  #refill: Promise<void> | null = null;
  #count = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Throws where none can be made now: then it is tried again with the first that are asked for. */
  async open(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const stale of readdirSync(this.#directory)) rmSync(join(this.#directory, stale), { force: true });
    await this.#fill(poolSize);
  }

  /** Moves ready FIFOs to these paths. */
  async take(paths: readonly string[]): Promise<void> {
    while (this.#ready.length < paths.length) {
      this.#refill ??= this.#fill(refillSize);
      await this.#refill;
    }
    for (const path of paths) renameSync(join(this.#directory, this.#ready.pop() ?? ''), path);
    if (this.#ready.length < refillBelow && this.#refill === null) {
      // A failure is met by whoever finds the pool empty.
      this.#refill = this.#fill(refillSize).catch(() => {});
    }
  }

  async close(): Promise<void> {
    await this.#refill?.catch(() => {});
    this.#ready = [];
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Over with a turn of its own, however it ends: what ended within this call would be kept as the one under way. */
  #fill(count: number): Promise<void> {
    return this.#make(count).finally(() => {
      this.#refill = null;
    });
  }

  async #make(count: number): Promise<void> {
    const names = Array.from({ length: count }, () => `${process.pid}-${this.#count++}`);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    try {
      await run('mkfifo', ['-m', '600', '--', ...names], {
        cwd: this.#directory,
        env: { ...process.env, LC_ALL: 'C' },
      });
      this.#ready.push(...names);
    } catch (error) {
      // Where there is little room left some were made: enough for one run stay, the rest is given back.
      const made = names.filter((name) => existsSync(join(this.#directory, name)));
      for (const name of made.splice(mostOfOneRun)) rmSync(join(this.#directory, name), { force: true });
      this.#ready.push(...made);
      if (made.length === 0) throw cannotMake(this.#directory, error);
    }
  }
}

/** In one line, and with the system's word for it: the program names each that it could not make. */
const cannotMake = (directory: string, error: unknown): unknown => {
  const { code, stderr } = error as { code?: unknown; stderr?: string };
  // It could not even be executed.
  if (typeof code === 'string') return error;
  const why = /: ([^:\n]+)$/m.exec(stderr ?? '')?.[1]?.toLowerCase() ?? 'mkfifo failed';
  const known = [...getSystemErrorMap().values()].find(([, words]) => words === why);
  return Object.assign(new Error(`no pipes for it can be made in ${directory}: ${why}`), { code: known?.[0] });
};

/** Shared by all readers: what is in it is dealt with before the next read. As large as a pipe can be made. */
const readBuffer = Buffer.allocUnsafeSlow(1024 * 1024);
/** What a pipe holds where nobody made it larger or smaller. */
const fullPipe = 64 * 1024;
/** Of one pipe, before the others are looked at. */
const mostAtOnce = 1024 * 1024;

/** Refuses what somebody put under the name in its place. */
const openFifo = (path: string, access: number): number => {
  const descriptor = openSync(path, access | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  if (fstatSync(descriptor).isFIFO()) return descriptor;
  closeSync(descriptor);
  throw new Error(`${path} is no FIFO any more`);
};

export interface FifoReaderOptions {
  readonly path: string;
  /** The bytes are valid during the call only. */
  readonly onBytes: (bytes: Buffer) => void;
  /** Nobody can write any more, or the reader was closed. Once. */
  readonly onEnd: () => void;
  /** Holds a write end, too: no end of file before `close`. For what is opened by name later, or again. */
  readonly keepOpen: boolean;
  /** At most one read per turn of the loop: for what costs more to understand than to write. */
  readonly gently: boolean;
}

export class FifoReader {
  readonly #options: FifoReaderOptions;
  readonly #fd: number;
  readonly #socket: Socket;
  #ended = false;

  constructor(options: FifoReaderOptions) {
    this.#options = options;
    const access = options.keepOpen ? constants.O_RDWR : constants.O_RDONLY;
    this.#fd = openFifo(options.path, access);
    this.#socket = new Socket({
      fd: this.#fd,
      readable: true,
      writable: false,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          options.onBytes(readBuffer.subarray(0, length));
          if (!options.gently) {
            // Whoever fills the pipe has filled it again by now: a turn of the loop for each would cost as much again.
            if (length >= fullPipe) this.#readOn(length);
            return true;
          }
          setImmediate(() => {
            if (!this.#ended) this.#socket.resume();
          });
          return false;
        },
      },
    });
    // At the end of file the socket closes the descriptor right after this: it must not be touched from then on.
    this.#socket.on('end', () => this.#finish());
    this.#socket.on('error', () => this.#finish());
    this.#socket.on('close', () => this.#finish());
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Reads, now, all that is in the pipe: whatever was written before this call has been dealt with after it. */
  drain(): void {
    for (let total = 0; total < mostAtOnce; ) {
      const length = this.#readNow();
      if (length === 0) return;
      total += length;
    }
  }

  /** As long as it is found full, and others are not kept waiting for long. */
  #readOn(total: number): void {
    for (let length = total; length >= fullPipe && total < mostAtOnce; total += length) length = this.#readNow();
  }

  /** 0: empty, or its end, or a fault: the socket will meet them, too. */
  #readNow(): number {
    if (this.#ended) return 0;
    let length: number;
    try {
      length = readSync(this.#fd, readBuffer);
    } catch {
      return 0;
    }
    if (length > 0) this.#options.onBytes(readBuffer.subarray(0, length));
    return length;
  }

  close(): void {
    this.#socket.destroy();
    this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.onEnd();
  }
}

const maxQueuedBytes = 1024 * 1024;

/** The writing end of a FIFO. Holds a read end, too: no EPIPE, whoever is there to read. */
export class FifoWriter {
  readonly #fd: number;
  #socket: Socket | null = null;
  #closed = false;

  constructor(path: string) {
    this.#fd = openFifo(path, constants.O_RDWR);
  }

  /** `false`: nobody has read for so long that there is no more room to queue it. */
  write(text: string): boolean {
    if (this.#closed) return false;
    if (this.#socket === null) {
      this.#socket = new Socket({ fd: this.#fd, readable: false, writable: true, allowHalfOpen: true });
      this.#socket.on('error', () => this.close());
    }
    if (this.#socket.writableLength + Buffer.byteLength(text) > maxQueuedBytes) return false;
    this.#socket.write(text);
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#socket === null) closeSync(this.#fd);
    else this.#socket.destroy();
  }
}
