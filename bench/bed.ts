/** A home of its own with a daemon, the built CLI, and a FIFO through which workers say that they run. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Client, connect } from '../src/shared/client.ts';

const dist = resolve(import.meta.dirname, '..', 'dist');
export const cli = join(dist, 'workerctl.cjs');
const daemon = join(dist, 'workerd.cjs');

/** What slows Node's start on some machines, and is nobody's work here. */
const { NODE_EXTRA_CA_CERTS: _certificates, NODE_OPTIONS: _options, ...environment } = process.env;

/** Runs a program to its end; milliseconds. */
export const timeProgram = (argv: readonly string[], env: NodeJS.ProcessEnv = environment): Promise<number> =>
  new Promise((done, reject) => {
    const began = performance.now();
    const child = spawn(argv[0] ?? '', argv.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.resume();
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (code === 0) done(performance.now() - began);
      else reject(new Error(`${argv.join(' ')}: exit code ${code}: ${said}`));
    });
  });

export const emptyNode = (): Promise<number> => timeProgram([process.execPath, '-e', '0']);

export class Bed {
  readonly directory = mkdtempSync(join(tmpdir(), 'wd-bench-'));
  readonly home = join(this.directory, 'home');
  readonly env: NodeJS.ProcessEnv = { ...environment, WORKERD_HOME: this.home };
  readonly fifo = join(this.directory, 'fifo');
  readonly #socket: Socket;
  readonly #descriptor: number;
  #onWord: (() => void) | null = null;
  client!: Client;

  private constructor() {
    execFileSync('mkfifo', [this.fifo]);
    this.#descriptor = openSync(this.fifo, constants.O_RDWR | constants.O_NONBLOCK);
    this.#socket = new Socket({ fd: openSync(this.fifo, constants.O_RDONLY | constants.O_NONBLOCK) });
    this.#socket.on('data', () => {
      this.#onWord?.();
      this.#onWord = null;
    });
  }

  static async make(): Promise<Bed> {
    const bed = new Bed();
    await bed.start();
    bed.client = await connect({ home: bed.home });
    return bed;
  }

  /** Returns when the daemon answers. */
  start(): Promise<number> {
    return timeProgram([process.execPath, daemon, 'start', '--detach'], this.env);
  }

  /** argv of a worker whose first act is a word on the FIFO. */
  get sayer(): readonly string[] {
    return ['/bin/sh', '-c', `echo >> ${this.fifo}; exec sleep 100000`];
  }

  /** When the next word arrives, by performance.now(). */
  word(): Promise<number> {
    return new Promise((done) => {
      this.#onWord = () => done(performance.now());
    });
  }

  workerctl(...args: readonly string[]): Promise<number> {
    return timeProgram([process.execPath, cli, ...args], this.env);
  }

  async startMany(count: number): Promise<void> {
    const spec = { kind: 'command' as const, command: ['sleep', '100000'] };
    await Promise.all(
      Array.from({ length: count }, (_, index) => this.client.call('start', { name: `many-${index}`, spec })),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await timeProgram([process.execPath, daemon, 'stop'], this.env);
    this.#socket.destroy();
    closeSync(this.#descriptor);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
