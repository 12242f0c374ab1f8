/**
 * The channels of one run: its FIFOs by name, our ends of them, and the log that what it writes goes to. What is read
 * is dealt with at once; what is written waits in the pipe.
 */
import { chownSync, closeSync, constants, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FifoReader, FifoWriter } from './pipes.ts';
import { fifoNames, type SpawnParams } from './protocol.ts';
import { RotatingLog, type RotatingLogOptions } from './rotating-log.ts';
import type { Identity } from './spawn.ts';

export type Channel = keyof typeof fifoNames;

export interface ChannelHooks {
  /** Bytes of the control channel; valid during the call only. */
  readonly onControl: (bytes: Buffer) => void;
  /** One of the readers met its end. */
  readonly onEnd: () => void;
  readonly onRemark: RotatingLogOptions['onRemark'];
}

/** The worker's ends of its FIFOs, until it has them. */
export interface WorkerEnds {
  readonly stdio: readonly (number | 'ignore')[];
  readonly close: () => void;
}

const readerNames = ['out', 'err', 'up'] as const;

/** Of an order, what its channels are made by: not the environment, of which a thousand runs would be most of the memory. */
type ChannelOrder = Pick<SpawnParams, 'kind' | 'stdin' | 'generation' | 'log'>;

export class Channels {
  readonly #order: ChannelOrder;
  readonly #directory: string;
  readonly #hooks: ChannelHooks;
  readonly #readers: FifoReader[] = [];
  #log: RotatingLog | null = null;
  #down: FifoWriter | null = null;
  #input: FifoWriter | null = null;

  constructor({ kind, stdin, generation, log }: ChannelOrder, directory: string, hooks: ChannelHooks) {
    this.#order = { kind, stdin, generation, log };
    this.#directory = directory;
    this.#hooks = hooks;
  }

  path(channel: Channel): string {
    return join(this.#directory, fifoNames[channel]);
  }

  get paths(): readonly string[] {
    const channels: readonly Channel[] = ['out', 'err', 'up', 'down'];
    return (this.#order.stdin ? [...channels, 'in' as const] : channels).map((channel) => this.path(channel));
  }

  /** Nobody can write to us any more. */
  get ended(): boolean {
    return this.#readers.every((reader) => reader.ended);
  }

  /** All of its FIFOs are there: the last that is made is. */
  get exist(): boolean {
    return existsSync(this.paths.at(-1) ?? '');
  }

  makeDirectory(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  removeDirectory(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  chown({ uid, gid }: Identity): void {
    for (const path of this.paths) chownSync(path, uid, gid);
  }

  /** The worker's ends; opened before ours, or ours would meet the end of file. */
  openWorkerEnds(): WorkerEnds {
    const opened: number[] = [];
    const open = (channel: Channel, flags: number): number => {
      const descriptor = openSync(this.path(channel), flags | constants.O_NOFOLLOW);
      opened.push(descriptor);
      return descriptor;
    };
    const close = () => {
      for (const descriptor of opened) closeSync(descriptor);
    };
    // Programs of any language expect descriptors that block; our hosts ask for ones that do not.
    const control = constants.O_RDWR | (this.#order.kind === 'command' ? 0 : constants.O_NONBLOCK);
    try {
      const out = open('out', constants.O_RDWR);
      const err = open('err', constants.O_RDWR);
      const up = open('up', control);
      const down = open('down', control);
      // Its own writing end keeps it from an end of file when the shim dies: the next one writes on.
      const input = this.#order.stdin ? open('in', constants.O_RDWR) : 'ignore';
      return { stdio: [input, out, err, up, down], close };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Our ends, and the log. A thread opens its own by name, whenever it comes to it. */
  openOwnEnds(): void {
    const { log, generation, kind, stdin } = this.#order;
    const { onRemark, onControl, onEnd } = this.#hooks;
    this.#log = new RotatingLog({ ...log, generation, onRemark });
    const takers = {
      out: (bytes: Buffer) => this.#log?.write('o', bytes),
      err: (bytes: Buffer) => this.#log?.write('e', bytes),
      // A copy: what a line says may have other pipes read, into the buffer that this is a view of.
      up: (bytes: Buffer) => onControl(Buffer.from(bytes)),
    };
    for (const name of readerNames) {
      const reader = { path: this.path(name), onBytes: takers[name], onEnd, keepOpen: kind === 'thread' };
      this.#readers.push(new FifoReader({ ...reader, gently: name === 'up' }));
    }
    this.#down = new FifoWriter(this.path('down'));
    if (stdin) this.#input = new FifoWriter(this.path('in'));
  }

  /** Why the log cannot be written; `null`: it can. */
  get logFailing(): string | null {
    return this.#log?.failing ?? null;
  }

  /** Whatever was written before this call has been dealt with after it. */
  drain(): void {
    for (const reader of this.#readers) reader.drain();
  }

  /** `null`: it is not open. */
  down(text: string): boolean | null {
    return this.#down?.write(text) ?? null;
  }

  input(text: string): boolean {
    return this.#input?.write(text) ?? false;
  }

  /** The worker may have been removed: its log goes on for what still writes to it, but brings no directory back. */
  createNoMore(): void {
    this.#log?.createNoMore();
  }

  closeWriters(): void {
    this.#down?.close();
    this.#input?.close();
    this.#down = null;
    this.#input = null;
  }

  closeLog(): void {
    this.#log?.close();
    this.#log = null;
  }

  closeAll(): void {
    for (const reader of this.#readers) reader.close();
    this.closeWriters();
    this.closeLog();
  }
}
