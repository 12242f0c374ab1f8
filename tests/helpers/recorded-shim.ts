/**
 * A shim that is a recording: listens where a shim does, checks that the daemon asks all that it asked then, answers as
 * was answered then, and tells each fact and note once all that had been asked before it has been asked again. Requests
 * are known by method and run, not by their place: what is asked besides, or in another order, is a daemon's business.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Json, JsonObject } from '../../src/shared/worker.ts';
import { eventually } from './eventually.ts';
import { pathsOf, type ShimSide } from './shim-stage.ts';
import { type Bindings, differences, filled, type Line, type Message, type Session } from './transcript.ts';

/** No process has such a pid: the kernel's go up to 2^22. */
const noPid = 5_000_000;
const firstSeq = 1_000_000;

interface Part {
  readonly line: Line;
  done: boolean;
}

export class RecordedShim implements ShimSide, AsyncDisposable {
  /** What a request of today lacks. */
  readonly faults: string[] = [];
  readonly #home: string;
  readonly #sessions: readonly Session[];
  readonly #bindings: Bindings;
  readonly #server: Server;
  /** Who is to be alive when a shim is killed: processes of ours, by the run's placeholder. */
  readonly #standIns = new Map<string, ChildProcess>();
  #playing = 0;
  #parts: Part[] = [];
  /** What answers to each recorded request: by its id, today's. */
  #asked = new Map<number, number>();
  #socket: Socket | null = null;
  #acknowledged = 0;

  constructor(home: string, sessions: readonly Session[]) {
    this.#home = home;
    this.#sessions = sessions;
    this.#bindings = new Map<string, Json>(
      Object.entries(pathsOf(home)).map(([name, path]) => [`<path:${name}>`, path]),
    );
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#join(socket));
    this.#turnTo(0);
  }

  async listen(): Promise<void> {
    await this.#prepareStandIns();
    await new Promise<void>((resolve) => {
      this.#server.listen(join(this.#home, 'shim.sock'), resolve);
    });
  }

  async settled(): Promise<void> {
    await eventually(() => this.#missing().length === 0 && this.#acknowledged >= this.#lastSeq(), {
      what: 'the daemon asks what it asked then',
      withinMs: 30_000,
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\nmissing: ${JSON.stringify(this.#missing())}\n${this.faults.join('\n')}`);
    });
  }

  async apart(): Promise<void> {
    this.#turnTo(this.#playing + 1);
  }

  async replace(): Promise<void> {
    const old = this.#socket;
    this.#turnTo(this.#playing + 1);
    old?.destroy();
    // It asks for the list a second time when it has all that had been kept for it.
    const isGreeted = () => this.#parts.filter(({ line, done }) => done && line.message.method === 'list').length === 2;
    await eventually(isGreeted, { what: 'the daemon greets the next shim', withinMs: 30_000 });
  }

  #turnTo(index: number): void {
    this.#playing = index;
    this.#parts = (this.#sessions[index]?.lines ?? []).map((line) => ({ line, done: false }));
    this.#asked = new Map();
    this.#acknowledged = 0;
  }

  /** How often and up to what facts are acknowledged is a matter of chance: the last one must be. */
  #missing(): readonly Line[] {
    return this.#parts
      .filter(({ line, done }) => !done && !isAck(line) && !(line.from === 'shim' && this.#isOfAck(line)))
      .map(({ line }) => line);
  }

  #isOfAck({ message }: Line): boolean {
    return message.id !== undefined && this.#parts.some(({ line }) => isAck(line) && line.message.id === message.id);
  }

  #lastSeq(): number {
    const facts = this.#parts.filter(({ line }) => line.message.method === 'fact');
    const seqs = facts.map(({ line }) => this.#bindings.get(String(line.message.params?.['seq'])));
    return Math.max(0, ...seqs.map(Number));
  }

  #join(socket: Socket): void {
    let rest = '';
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (socket === this.#socket) this.#take(JSON.parse(line) as Message, socket);
    });
  }

  #take(request: Message, socket: Socket): void {
    const { id = 0, method = '', params = {} } = request;
    if (method === 'ack') {
      const { upTo } = params;
      if (typeof upTo === 'number') this.#acknowledged = Math.max(this.#acknowledged, upTo);
      else this.faults.push(`ack: up to ${JSON.stringify(upTo)}`);
      send(socket, { jsonrpc: '2.0', id, result: {} });
      return;
    }
    if (method === 'spawn') makeLog(params);
    if (method === 'signal') this.#signal(String(params['run']), String(params['signal']));
    const part = this.#find(request);
    if (part === undefined) send(socket, { jsonrpc: '2.0', id, result: besides(method, params) });
    else {
      part.done = true;
      this.#compare(part.line.message, request);
      this.#asked.set(part.line.message.id ?? 0, id);
    }
    this.#tell(socket);
  }

  /** The next one of this method and run, or (a spawn) of this name and generation. */
  #find(request: Message): Part | undefined {
    const { method, params = {} } = request;
    const isIt = ({ message }: Line): boolean => {
      if (message.method !== method) return false;
      const then = message.params ?? {};
      const members = method === 'spawn' ? ['name', 'generation'] : ['run', 'signal'];
      return members.every((member) => {
        const trial: Bindings = new Map(this.#bindings);
        const has = then[member] !== undefined;
        return (
          !has || differences(then[member] ?? null, params[member], { bindings: trial, values: true }).length === 0
        );
      });
    };
    return this.#parts.find(({ line, done }) => !done && line.from === 'daemon' && isIt(line));
  }

  #compare(recorded: Message, request: Message): void {
    const { id: _then, ...then } = recorded;
    const found = differences(then as unknown as JsonObject, request, { bindings: this.#bindings, values: false });
    this.faults.push(...found.map((fault) => `${recorded.method}: ${fault}`));
  }

  /** In the recorded order: answers to what was asked, and what was told when no more than this had been asked. */
  #tell(socket: Socket): void {
    let allAsked = true;
    for (const part of this.#parts) {
      const { line, done } = part;
      if (line.from === 'daemon') allAsked &&= done || isAck(line);
      else if (!done) {
        const { id } = line.message;
        const today = id === undefined ? undefined : this.#asked.get(id);
        if (id === undefined ? !allAsked : today === undefined) continue;
        part.done = true;
        const message = filled(line.message as unknown as JsonObject, this.#bindings, invent) as JsonObject;
        send(socket, today === undefined ? message : { ...message, id: today });
      }
    }
  }

  #signal(run: string, signal: string): void {
    const [, child] = [...this.#standIns].find(([name]) => this.#bindings.get(name) === run) ?? [];
    const pid = child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It has ended.
    }
  }

  /** A daemon has only a living process adopted. */
  async #prepareStandIns(): Promise<void> {
    for (const { message } of this.#sessions.flatMap(({ lines }) => lines)) {
      if (message.method !== 'adopt') continue;
      const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
      const pid = child.pid ?? 0;
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const startTime = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
      this.#bindings.set(String(message.params?.['pid']), pid);
      this.#bindings.set(String(message.params?.['startTime']), startTime);
      this.#standIns.set(String(message.params?.['run']), child);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#standIns.values()) child.kill('SIGKILL');
    this.#socket?.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const isAck = ({ message }: Line): boolean => message.method === 'ack';

const send = (socket: Socket, message: object): void => {
  socket.write(`${JSON.stringify(message)}\n`);
};

/** An answer to what was not asked then. */
const besides = (method: string, params: JsonObject): JsonObject => {
  if (method === 'list') return { runs: [], seq: firstSeq };
  if (method === 'publish') return { state: params['patch'] ?? {}, revision: 1 };
  return method === 'signal' || method === 'down' || method === 'input' ? { delivered: true } : {};
};

/** The shim makes a run's log before it runs; of what the worker wrote nothing was recorded. */
const makeLog = ({ log, generation }: JsonObject): void => {
  const { directory } = log as { directory: string };
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const kind of ['log', 'idx']) writeFileSync(join(directory, `${String(generation)}.${kind}`), '');
};

const invent = (kind: string, name: string): Json => {
  const number = Number(name);
  switch (kind) {
    case 'pid':
      return noPid + number;
    case 'startTime':
      return number;
    case 'seq':
      return firstSeq + number;
    case 'at':
      return Date.now();
    case 'ms':
    case 'thread':
      return 1;
    case 'boolean':
      return true;
    case 'version':
      return '0.0.0-recorded';
    default:
      throw new Error(`the shim tells a ${kind} that the daemon had not told it`);
  }
};
