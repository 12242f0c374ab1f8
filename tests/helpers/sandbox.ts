/**
 * A home of its own with the built programs run against it, and a proof at the end that nothing of it is left:
 * no process with its marker or its home, no FIFO, no socket.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { onTestFailed } from 'vitest';
import { type Client, connect } from '../../src/shared/client.ts';
import type { WorkerView } from '../../src/shared/worker.ts';
import { eventually } from './eventually.ts';

export const root = resolve(import.meta.dirname, '../..');
export const dist = join(root, 'dist');
export const fixtures = join(root, 'tests', 'fixtures', 'workers');
const deadlineMs = 60_000;
/** Of the daemon's log, where a test failed. */
const shownLogLines = 60;

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Until it is to have ended. */
  readonly withinMs?: number;
}

/** A program that still runs, with what it has printed so far. */
export interface Running {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly finished: Promise<Finished>;
}

const isLiving = (pid: string): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
};

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};

export class Sandbox {
  readonly directory: string;
  readonly home: string;
  readonly #clients: Client[] = [];
  readonly #children = new Set<ChildProcess>();

  /** What the daemon had said when the sandbox went away. */
  #said: string | null = null;

  constructor(home = 'home') {
    this.directory = realpathSync(mkdtempSync(join(tmpdir(), 'wd-')));
    this.home = join(this.directory, home);
    try {
      onTestFailed(({ task }) => {
        const lines = (this.#said ?? this.said()).split('\n').slice(-shownLogLines);
        console.log(`"${task.name}": the end of the daemon's log\n${lines.join('\n')}`);
      });
    } catch {
      // Shared by the tests of a file.
    }
  }

  /** The daemon's own log, as it stands. */
  said(): string {
    return read(join(this.home, 'workerd.log'));
  }

  get socket(): string {
    return join(this.home, 'workerd.sock');
  }

  env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    const { NODE_EXTRA_CA_CERTS: _slow, NO_COLOR: _color, FORCE_COLOR: _force, ...env } = process.env;
    return { ...(env as Record<string, string>), WORKERD_HOME: this.home, ...extra };
  }

  /** Starts one of the built programs. */
  spawn(program: 'workerctl' | 'workerd', args: readonly string[], options: RunOptions = {}): Running {
    const { withinMs = deadlineMs } = options;
    const child = spawn(process.execPath, [join(dist, `${program}.cjs`), ...args], {
      cwd: options.cwd ?? this.directory,
      env: this.env(options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    const finished = new Promise<Finished>((resolveFinished, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`${program} ${args.join(' ')}: not ended within ${withinMs} ms\n${stdout}\n${stderr}`));
      }, withinMs);
      child.once('error', reject);
      child.once('close', (code, signal) => {
        clearTimeout(timer);
        this.#children.delete(child);
        resolveFinished({ code, signal, stdout, stderr });
      });
    });
    finished.catch(() => {});
    return { child, stdout: () => stdout, stderr: () => stderr, finished };
  }

  workerctl(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.spawn('workerctl', args, options).finished;
  }

  workerd(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.spawn('workerd', args, options).finished;
  }

  /** Starts the daemon; its pid. */
  async startDaemon(): Promise<number> {
    const { code, stdout, stderr } = await this.workerd(['start', '--detach', '--json']);
    if (code !== 0) throw new Error(`workerd start --detach: ${code}\n${stdout}\n${stderr}`);
    return (JSON.parse(stdout) as { pid: number }).pid;
  }

  /** A connection, closed with the sandbox. */
  async client(): Promise<Client> {
    const client = await connect({ home: this.home, client: 'test' });
    this.#clients.push(client);
    return client;
  }

  async status(name: string): Promise<WorkerView> {
    const client = await connect({ home: this.home, client: 'test' });
    try {
      const { workers } = await client.call('status', { names: [name] });
      const [worker] = workers;
      if (worker === undefined) throw new Error(`no worker ${name}`);
      return worker;
    } finally {
      client.close();
    }
  }

  /** Living processes whose environment or command line names this sandbox. */
  processes(): readonly { readonly pid: number; readonly command: string }[] {
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid && isLiving(entry))
      .map((pid) => ({ pid, command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() }))
      .filter(({ pid, command }) => `${read(`/proc/${pid}/environ`)}\0${command}`.includes(this.directory))
      .map(({ pid, command }) => ({ pid: Number(pid), command }));
  }

  /** Ends everything and fails where something is left that should not be. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const child of this.#children) child.kill('SIGKILL');
    try {
      const { code, stderr } = await this.workerd(['stop']);
      if (code !== 0) throw new Error(`workerd stop: exit code ${code}: ${stderr}\n${this.said()}`);
      await eventually(() => this.processes().length === 0, { what: 'no process of the sandbox is left' }).catch(
        (error: unknown) => {
          throw new Error(`${String(error)}: ${JSON.stringify(this.processes())}`);
        },
      );
    } finally {
      for (const { pid } of this.processes()) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Ended in the meantime.
        }
      }
      this.#said = this.said();
      rmSync(this.directory, { recursive: true, force: true });
    }
  }
}
