/** A sandbox whose daemon is a child of the test: killed, started anew and with faults at will. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { dist, Sandbox } from './sandbox.ts';

export interface Daemon {
  readonly pid: number;
  readonly child: ChildProcess;
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly kill: (signal?: NodeJS.Signals) => Promise<number | string>;
}

export interface Identity {
  readonly pid: number;
  readonly startTime: string;
}

export const startTimeOf = (pid: number): string | null => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
};

export class CrashBox extends Sandbox {
  readonly #daemons = new Set<ChildProcess>();
  #extra: readonly string[] = [];
  #wrapper: readonly string[] = [];

  /** More arguments of `workerd start`, such as `--socket`. */
  with(...args: readonly string[]): this {
    this.#extra = args;
    return this;
  }

  /** The daemon is executed by this: `prlimit …`, `setpriv …`, `nice …`; what replaces itself by it keeps the pid. */
  under(...wrapper: readonly string[]): this {
    this.#wrapper = wrapper;
    return this;
  }

  get daemonLog(): string {
    return join(this.directory, 'daemon.log');
  }

  /** In the foreground; does not wait until it is ready. */
  launch(failpoints = ''): Daemon & { readonly ready: Promise<void> } {
    mkdirSync(this.directory, { recursive: true });
    const log = openSync(this.daemonLog, 'a', 0o600);
    const [program = '', ...argv] = [
      ...this.#wrapper,
      process.execPath,
      '--disable-sigusr1',
      join(dist, 'workerd.cjs'),
      'start',
      '--ready-fd',
      '3',
      ...this.#extra,
    ];
    const child = spawn(program, argv, {
      cwd: this.directory,
      env: this.env({ WORKERD_FAILPOINTS: failpoints }),
      stdio: ['ignore', 'ignore', log, 'pipe'],
    });
    closeSync(log);
    this.#daemons.add(child);
    const ended = new Promise<number | string>((resolve) => {
      child.once('exit', (code, signal) => {
        this.#daemons.delete(child);
        resolve(code ?? signal ?? 'unknown');
      });
    });
    const ready = new Promise<void>((resolve, reject) => {
      let said = '';
      (child.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (!said.includes('\n')) return;
        if (said.includes('"ready":true')) resolve();
        else reject(new Error(said));
      });
      void ended.then((how) => reject(new Error(`the daemon ended before it was ready: ${how}\n${this.said()}`)));
    });
    ready.catch(() => {});
    const kill = (signal: NodeJS.Signals = 'SIGKILL') => {
      child.kill(signal);
      return ended;
    };
    return { pid: child.pid ?? 0, child, ended, ready, kill };
  }

  async daemon(failpoints = ''): Promise<Daemon> {
    const daemon = this.launch(failpoints);
    await daemon.ready;
    return daemon;
  }

  /** The daemon's own log, as it stands. */
  override said(): string {
    try {
      return readFileSync(this.daemonLog, 'utf8');
    } catch {
      return '';
    }
  }

  /** Not the shell that starts it, which carries the same words for a moment. 0: there is none. */
  get shimPid(): number {
    return this.processes().find(({ command }) => /^\S*node .*shim\.cjs --home/.test(command))?.pid ?? 0;
  }

  /** Living processes that carry the marker of a run of this worker, its leaders and what they spawned. */
  livingRuns(name: string): readonly number[] {
    return this.processes().flatMap(({ pid }) => {
      try {
        const environ = readFileSync(`/proc/${pid}/environ`, 'latin1');
        return environ.split('\0').includes(`WORKERD_NAME=${name}`) ? [pid] : [];
      } catch {
        return [];
      }
    });
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    try {
      await super[Symbol.asyncDispose]();
    } finally {
      for (const child of this.#daemons) child.kill('SIGKILL');
    }
  }
}
