/** A shim in a home of its own, and a small daemon's side of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fact, Remark, ShimMethod, ShimMethods, SpawnParams, StateNote } from '../../src/daemon/shim/protocol.ts';
import { Peer } from '../../src/shared/peer.ts';

const main = join(import.meta.dirname, '../../src/daemon/shim/main.ts');
export const fixtures = join(import.meta.dirname, '../fixtures/workers');

/** Waits for a condition, not for a time. */
export const eventually = async <T>(
  what: string,
  look: () => T | null | undefined | false,
  withinMs = 30_000,
): Promise<T> => {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await new Promise((next) => setTimeout(next, 5));
  }
};

export class Connection {
  readonly facts: Fact[] = [];
  readonly states: StateNote[] = [];
  readonly remarks: Remark[] = [];
  readonly socket: Socket;
  readonly peer: Peer;
  closed: string | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    this.peer = new Peer({
      socket,
      onNotification: (method, params) => {
        if (method === 'fact') this.facts.push(params as Fact);
        else if (method === 'state') this.states.push(params as StateNote);
        else if (method === 'remark') this.remarks.push(params as Remark);
      },
      onClose: (why) => {
        this.closed = why;
      },
    });
  }

  ask<M extends ShimMethod>(method: M, params: ShimMethods[M]['params']): Promise<ShimMethods[M]['result']> {
    return this.peer.request(method, params) as Promise<ShimMethods[M]['result']>;
  }

  of(run: string): readonly Fact[] {
    return this.facts.filter((fact) => fact.run === run);
  }

  fact<K extends Fact['kind']>(run: string, kind: K, withinMs?: number): Promise<Extract<Fact, { kind: K }>> {
    return eventually(
      `${kind} of ${run}`,
      () => this.facts.find((fact): fact is Extract<Fact, { kind: K }> => fact.run === run && fact.kind === kind),
      withinMs,
    );
  }

  async hello(token: string, after = 0): Promise<void> {
    await this.ask('hello', { protocol: 1, token });
    await this.ask('facts', { after });
  }
}

export class ShimHome {
  readonly home = mkdtempSync(join(tmpdir(), 'workerd-shim-'));
  readonly token = '0123456789abcdef'.repeat(4);
  readonly connections: Connection[] = [];
  process: ChildProcess | null = null;
  stderr = '';

  constructor() {
    writeFileSync(join(this.home, 'shim.token'), `${this.token}\n`, { mode: 0o600 });
  }

  async start(): Promise<void> {
    const earlier = this.process;
    // What a careless parent leaves open must not come through to workers.
    const careless = openSync('/dev/null', 'r');
    const child = spawn(process.execPath, [main, '--home', this.home, '--ready-fd', '3'], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', careless, careless, careless, careless],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    });
    closeSync(careless);
    this.process = child;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    let said = '';
    child.stdio[3]?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await eventually('the shim to be ready', () => {
      if (child.exitCode === null) return said.includes('"ready":true');
      this.process = earlier;
      throw new Error(`the shim ended at once: ${this.stderr}`);
    });
  }

  get pid(): number {
    return this.process?.pid ?? 0;
  }

  async connect(): Promise<Connection> {
    const socket = connect({ path: join(this.home, 'shim.sock'), allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', () => resolve());
      socket.once('error', reject);
    });
    const connection = new Connection(socket);
    this.connections.push(connection);
    return connection;
  }

  async daemon(after = 0): Promise<Connection> {
    const connection = await this.connect();
    await connection.hello(this.token, after);
    return connection;
  }

  order(run: string, argv: readonly string[], more: Partial<SpawnParams> = {}): SpawnParams {
    return {
      run,
      name: run,
      generation: 1,
      kind: 'command',
      argv,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', WORKERD_RUN: run, WORKERD_FD: '3', WORKERD_DOWN_FD: '4' },
      cwd: '/',
      umask: 0o022,
      user: null,
      openFiles: null,
      stdin: false,
      stop: { signal: 'SIGTERM', graceMs: 1000 },
      log: { directory: this.logs(run), maxBytes: 64 * 1024 * 1024, files: 5 },
      host: null,
      launch: null,
      ...more,
    };
  }

  logs(name: string): string {
    return join(this.home, 'logs', name);
  }

  log(name: string, generation = 1): Buffer {
    return readFileSync(join(this.logs(name), `${generation}.log`));
  }

  runDirectories(): readonly string[] {
    return readdirSync(join(this.home, 'run')).filter((name) => name !== 'pool');
  }

  descriptors(): readonly string[] {
    return readdirSync(`/proc/${this.pid}/fd`);
  }

  async kill(): Promise<void> {
    const child = this.process;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await eventually('the shim to be gone', () => child.signalCode !== null || child.exitCode !== null);
  }

  async remove(): Promise<void> {
    await this.kill();
    const pids = this.connections.flatMap(({ facts }) =>
      facts.flatMap((fact) => (fact.kind === 'spawned' && fact.pid !== null ? [fact.pid] : [])),
    );
    for (const { socket } of this.connections) socket.destroy();
    for (const pid of pids) {
      if (!isWorker(pid)) continue;
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** The pid is still one of a worker of ours: it carries the marker. */
const isWorker = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').includes('WORKERD_RUN=');
  } catch {
    return false;
  }
};
