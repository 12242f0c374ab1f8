/** Hosts as the shim runs them: real processes on real FIFOs, in a directory of their own that is gone afterwards. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { O_RDWR, O_RDONLY, O_NONBLOCK } = constants;
const hostDirectory = fileURLToPath(new URL('../../src/daemon/host/', import.meta.url));
export const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/workers/${name}`, import.meta.url));

export type Line = Readonly<Record<string, unknown>>;
type Stream = 'out' | 'err' | 'up';
const streams: readonly Stream[] = ['out', 'err', 'up'];
type Fifo = Stream | 'down';

/** The four FIFOs of one run, read by descriptors of its own as the shim reads them. */
export class Channel {
  readonly paths: Readonly<Record<Fifo, string>>;
  readonly #readers: Readonly<Record<Stream, number>>;
  readonly #down: number;
  readonly #text: Record<Stream, string> = { out: '', err: '', up: '' };
  readonly #buffer = Buffer.alloc(65536);

  constructor(directory: string) {
    mkdirSync(directory);
    const path = (name: Fifo): string => join(directory, name);
    this.paths = { out: path('out'), err: path('err'), up: path('up'), down: path('down') };
    execFileSync('mkfifo', Object.values(this.paths));
    const open = (name: Stream): number => openSync(this.paths[name], O_RDONLY | O_NONBLOCK);
    this.#readers = { out: open('out'), err: open('err'), up: open('up') };
    this.#down = openSync(this.paths.down, O_RDWR | O_NONBLOCK);
  }

  drain(...only: readonly Stream[]): void {
    for (const stream of only.length === 0 ? streams : only) {
      for (let length = 1; length > 0; ) {
        try {
          length = readSync(this.#readers[stream], this.#buffer);
        } catch {
          length = 0;
        }
        this.#text[stream] += this.#buffer.toString('latin1', 0, length);
      }
    }
  }

  text(stream: Stream): string {
    return Buffer.from(this.#text[stream], 'latin1').toString('utf8');
  }

  /** Complete lines of control up. */
  get lines(): readonly Line[] {
    return this.text('up')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  }

  line(member: string): unknown {
    return this.lines.find((line) => member in line)?.[member];
  }

  /** What the shim would hold as the state. */
  get state(): Line {
    return Object.assign({}, ...this.lines.map((line) => line['state'] ?? {})) as Line;
  }

  send(line: Line): void {
    writeSync(this.#down, `${JSON.stringify(line)}\n`);
  }

  stop(reason = 'stop'): void {
    this.send({ stop: { reason, deadline: '2030-01-01T00:00:00.000Z', by: null } });
  }

  close(): void {
    for (const fd of [...Object.values(this.#readers), this.#down]) closeSync(fd);
  }
}

export interface RunningHost {
  readonly channel: Channel;
  readonly child: ChildProcess;
  readonly exit: { code: number | null; signal: string | null } | null;
}

export interface ModuleRun {
  readonly module: string;
  readonly export?: string;
  readonly params?: unknown;
  readonly env?: Readonly<Record<string, string>>;
}

export class Bench {
  readonly directory = mkdtempSync(join(tmpdir(), 'workerd-host-'));
  readonly #channels: Channel[] = [];
  readonly #children: ChildProcess[] = [];
  #count = 0;

  /** A module of the test's own, in a directory with nothing else in it. */
  file(name: string, text: string): string {
    this.#count += 1;
    const directory = join(this.directory, `module-${this.#count}`);
    mkdirSync(directory);
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  }

  fileBeside(path: string, name: string, text: string): void {
    const beside = join(dirname(path), name);
    mkdirSync(dirname(beside), { recursive: true });
    writeFileSync(beside, text);
  }

  channel(): Channel {
    this.#count += 1;
    const channel = new Channel(join(this.directory, `run-${this.#count}`));
    this.#channels.push(channel);
    return channel;
  }

  process({ module, export: name = 'default', params = {}, env = {} }: ModuleRun): RunningHost {
    return this.#spawn(['main.ts', module, name], {
      WORKERD_NAME: 'under-test',
      WORKERD_GENERATION: '3',
      WORKERD_RUN: 'run-1',
      WORKERD_PARAMS: JSON.stringify(params),
      WORKERD_HOME: this.directory,
      WORKERD_FD: '3',
      WORKERD_DOWN_FD: '4',
      ...env,
    });
  }

  threadHost(env: Readonly<Record<string, string>> = {}): RunningHost {
    return this.#spawn(['thread-host.ts'], env);
  }

  thread(host: RunningHost, { module, export: name = 'default', params = {}, env = {} }: ModuleRun): Channel {
    const channel = this.channel();
    const launch = { name: 'under-test', generation: 3, module, export: name, params, env: { ...env } };
    host.channel.send({ launch, run: channel.paths.up, fifos: channel.paths });
    return channel;
  }

  /** Waits for a condition; shows what there was when it does not come. */
  async until(
    what: string,
    condition: () => boolean,
    { withinMs = 30_000, drain = true }: { withinMs?: number; drain?: boolean } = {},
  ): Promise<void> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      if (drain) for (const channel of this.#channels) channel.drain();
      if (condition()) return;
      if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}\n${this.#seen()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await this.until('all hosts gone', () =>
      this.#children.every((child) => child.exitCode !== null || child.signalCode !== null),
    );
    for (const channel of this.#channels) channel.close();
    rmSync(this.directory, { recursive: true });
  }

  #spawn([file = '', ...args]: readonly string[], env: Readonly<Record<string, string>>): RunningHost {
    const channel = this.channel();
    const { out, err, up, down } = channel.paths;
    const fds = [
      openSync(out, O_RDWR),
      openSync(err, O_RDWR),
      openSync(up, O_RDWR | O_NONBLOCK),
      openSync(down, O_RDWR | O_NONBLOCK),
    ];
    const child = spawn(process.execPath, ['--disable-sigusr1', join(hostDirectory, file), ...args], {
      stdio: ['ignore', ...fds],
      env: { PATH: process.env['PATH'] ?? '', ...env },
    });
    for (const fd of fds) closeSync(fd);
    this.#children.push(child);
    const host = { channel, child, exit: null as RunningHost['exit'] };
    child.on('exit', (code, signal) => {
      host.exit = { code, signal };
    });
    return host;
  }

  #seen(): string {
    return this.#channels
      .flatMap((channel) => streams.map((stream) => `${stream}: ${channel.text(stream).slice(-2000)}`))
      .join('\n');
  }
}
