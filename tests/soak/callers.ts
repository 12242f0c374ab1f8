/** Who asks the daemon: the library over a connection that can be cut, or the command line, which can be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type Client, dial, type ErrorCode, WorkerdError } from '../../src/shared/client.ts';
import { openSocket } from '../../src/shared/connection.ts';
import { errorKinds } from '../../src/shared/errors.ts';
import type { MethodName, ParamsInput, Result } from '../../src/shared/protocol.ts';
import { dist } from '../helpers/sandbox.ts';
import type { Books } from './books.ts';
import { type Definition, flagsOf } from './definitions.ts';

/** Nothing that is asked here may take longer, whatever happens meanwhile. */
const hangsAfterMs = 60_000;

export type Outcome<T> =
  | { readonly kind: 'answer'; readonly result: T }
  | { readonly kind: 'refusal'; readonly code: ErrorCode; readonly message: string }
  /** It broke off: done or not. */
  | { readonly kind: 'unknown'; readonly why: string };

/** What a start is made of beyond its params, for who writes it as flags. */
export interface Asked<M extends MethodName> {
  readonly method: M;
  readonly params: ParamsInput<M>;
  readonly definition?: Definition | null;
}

export interface Caller {
  readonly label: string;
  ask<M extends MethodName>(asked: Asked<M>): Promise<Outcome<Result<M>>>;
  /** Cuts its connection, or kills it; false: there is nothing to cut. */
  cut(): boolean;
  close(): void;
}

const brokenOff: ReadonlySet<ErrorCode> = new Set(['daemon.unreachable', 'daemon.stopping']);

export class LibraryCaller implements Caller {
  readonly label: string;
  readonly client: Client;
  readonly #socket: { now: Socket | null };
  readonly #books: Books;

  private constructor(label: string, client: Client, socket: { now: Socket | null }, books: Books) {
    this.label = label;
    this.client = client;
    this.#socket = socket;
    this.#books = books;
  }

  static async make(path: string, label: string, books: Books): Promise<LibraryCaller> {
    const socket: { now: Socket | null } = { now: null };
    const open = async (signal: AbortSignal | undefined) => {
      socket.now = await openSocket(path, signal);
      return socket.now;
    };
    const client = await dial({ path, client: label, reconnectMs: 30_000, open });
    return new LibraryCaller(label, client, socket, books);
  }

  async ask<M extends MethodName>({ method, params }: Asked<M>): Promise<Outcome<Result<M>>> {
    const began = performance.now();
    try {
      const result = await this.client.call(method, params, { signal: AbortSignal.timeout(hangsAfterMs) });
      return { kind: 'answer', result };
    } catch (error) {
      if (!(error instanceof WorkerdError)) {
        const seconds = ((performance.now() - began) / 1000).toFixed(0);
        this.#books.problem(`${this.label}: ${method} ${brief(params)} after ${seconds} s: ${String(error)}`);
        return { kind: 'unknown', why: String(error) };
      }
      if (brokenOff.has(error.code)) return { kind: 'unknown', why: error.message };
      return { kind: 'refusal', code: error.code, message: error.message };
    }
  }

  cut(): boolean {
    this.#socket.now?.destroy();
    return this.#socket.now !== null;
  }

  close(): void {
    this.client.close();
  }
}

export const brief = (params: unknown): string => {
  const { spec: _spec, ...rest } = params as { spec?: unknown };
  return JSON.stringify(rest);
};

/** The same request as a command line. */
const argvOf = (method: MethodName, params: unknown, definition: Definition | null): readonly string[] | null => {
  const given = params as Readonly<Record<string, unknown>>;
  const name = String(given['name']);
  switch (method) {
    case 'start': {
      const flags = given['ifRunning'] === undefined ? [] : ['--if-running', String(given['ifRunning'])];
      if (given['wait'] === 'none') flags.push('--no-wait');
      if (given['enable'] === true) flags.push('--enable');
      if (definition === null) return ['start', ...flags, name];
      const { flags: own, what } = flagsOf(definition);
      return ['start', '-n', name, ...flags, ...own, ...what];
    }
    case 'stop':
      return [
        'stop',
        ...(given['force'] === true ? ['--force'] : []),
        ...(given['wait'] === false ? ['--no-wait'] : []),
        name,
      ];
    case 'restart':
      return ['restart', name];
    case 'remove':
      return [
        'rm',
        ...(given['force'] === true ? ['--force'] : []),
        ...(given['keepLogs'] === true ? ['--keep-logs'] : []),
        name,
      ];
    case 'signal':
      return ['signal', name, String(given['signal'])];
    case 'send':
      return ['send', name, String(given['text'])];
    case 'publish':
      return ['publish', name, ...Object.entries(given['state'] as object).map(([key, value]) => `${key}=${value}`)];
    case 'enable':
    case 'disable':
      return [method, name];
    case 'wait':
      return ['wait', name, '--for', String(given['for']), '--timeout', `${given['timeoutMs']}ms`];
    case 'status':
      return ['status', ...((given['names'] as string[] | undefined) ?? [])];
    case 'history':
      return ['history', name];
    default:
      return null;
  }
};

export class CliCaller implements Caller {
  readonly label: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #cwd: string;
  readonly #books: Books;
  readonly #children = new Set<ChildProcess>();

  constructor(label: string, env: Readonly<Record<string, string>>, cwd: string, books: Books) {
    this.label = label;
    this.#env = env;
    this.#cwd = cwd;
    this.#books = books;
  }

  static can(method: MethodName): boolean {
    return argvOf(method, { names: [], state: {} }, null) !== null;
  }

  async ask<M extends MethodName>({ method, params, definition = null }: Asked<M>): Promise<Outcome<Result<M>>> {
    const words = argvOf(method, params, definition);
    if (words === null) throw new Error(`the command line has no ${method}`);
    const said = await this.run([words[0] ?? '', '--json', ...words.slice(1)]);
    if (said.signal !== null) return { kind: 'unknown', why: `killed by ${said.signal}` };
    let answer: { error?: { code: ErrorCode; message: string } } | null = null;
    try {
      answer = JSON.parse(said.stdout);
    } catch {
      this.#books.problem(`workerctl ${words.join(' ')}: ${said.code} ${JSON.stringify(said.stdout + said.stderr)}`);
      return { kind: 'unknown', why: 'no JSON' };
    }
    const error = answer?.error;
    if (error === undefined) return { kind: 'answer', result: answer as Result<M> };
    if (brokenOff.has(error.code)) return { kind: 'unknown', why: error.message };
    const exit = errorKinds[error.code]?.exit;
    if (exit !== said.code && method !== 'wait') {
      this.#books.problem(`workerctl ${words.slice(0, 3).join(' ')}: exit code ${said.code} with ${error.code}`);
    }
    return { kind: 'refusal', code: error.code, message: error.message };
  }

  run(
    args: readonly string[],
  ): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, [join(dist, 'workerctl.cjs'), ...args], {
      cwd: this.#cwd,
      env: { ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<CliCaller['run']>>>();
    const timer = setTimeout(() => {
      this.#books.problem(`workerctl ${args.slice(0, 4).join(' ')}: not ended after ${hangsAfterMs / 1000} s`);
      child.kill('SIGKILL');
    }, hangsAfterMs);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      this.#children.delete(child);
      resolve({ code, signal, stdout, stderr });
    });
    return promise;
  }

  cut(): boolean {
    for (const child of this.#children) child.kill('SIGKILL');
    return this.#children.size > 0;
  }

  close(): void {
    this.cut();
  }
}
