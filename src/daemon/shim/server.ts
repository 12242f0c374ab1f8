/**
 * The shim's socket: one gate, several daemons at once (an old one dying, a new one coming). Each connection proves
 * itself by the token first; what is not our protocol is cut, and costs nobody else anything.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { WorkerdError } from '../../shared/errors.ts';
import { failpoint } from '../../shared/failpoints.ts';
import { Gate, type Handler } from '../../shared/gate.ts';
import { limits } from '../../shared/limits.ts';
import { Peer } from '../../shared/peer.ts';
import type { FactBook } from './facts.ts';
import * as orders from './orders.ts';
import {
  type Fact,
  type HelloResult,
  type LogTurn,
  type RunStatus,
  type ShimMethod,
  shimProtocolVersion,
} from './protocol.ts';
import type { Run } from './run.ts';
import type { RunTable } from './runs.ts';

export interface ShimServerOptions {
  readonly token: string;
  readonly self: Omit<HelloResult, 'protocol'>;
  readonly runs: RunTable;
  readonly facts: FactBook;
  readonly log: (message: string) => void;
  readonly onShutdown: () => void;
  /** A daemon has said something. */
  readonly onBusy: () => void;
}

/** Who does not say who it is within this is cut. */
const greetWithinMs = 10_000;
/** Sent at once to a connection; then it is looked whether it keeps up. */
const batchBytes = 256 * 1024;

class Session {
  readonly peer: Peer<Session>;
  greeted = false;
  /** The last fact told; `null`: it did not ask for them. */
  told: number | null = null;
  readonly changed = new Set<Run>();
  /** By the number of a `ready`: its run, which had published what was not told yet. */
  readonly publishedBefore = new Map<number, Run>();
  scheduled = false;

  constructor(socket: Socket, gate: Gate<Session>, onClose: (session: Session, why: string) => void) {
    this.peer = new Peer<Session>({ socket, gate, session: this, onClose: (why) => onClose(this, why) });
  }
}

export class ShimServer {
  readonly #options: ShimServerOptions;
  readonly #sessions = new Set<Session>();
  readonly #gate: Gate<Session>;

  constructor(options: ShimServerOptions) {
    this.#options = options;
    this.#gate = new Gate<Session>({
      methods: this.#methods(),
      onFault: (method, error) => {
        const id = `shim-${process.pid}-${Date.now()}`;
        options.log(`${id}: a fault in ${method}: ${error instanceof Error ? error.stack : String(error)}`);
        return id;
      },
    });
  }

  accept(socket: Socket): void {
    const { log } = this.#options;
    if (this.#sessions.size >= limits.maxConnections) {
      socket.destroy();
      return;
    }
    const session = new Session(socket, this.#gate, (closed, why) => {
      clearTimeout(deadline);
      this.#sessions.delete(closed);
      if (closed.greeted) log(`a daemon's connection ended: ${why}`);
    });
    const deadline = setTimeout(() => session.peer.destroy('it did not say hello'), greetWithinMs);
    deadline.unref();
    this.#sessions.add(session);
    session.peer.onDrain(() => this.#schedule(session));
    let lineStart = true;
    socket.on('data', (chunk: Buffer) => {
      this.#options.onBusy();
      if (startsLinesWithObjects(chunk, lineStart)) {
        lineStart = chunk[chunk.length - 1] === 0x0a;
        if (session.greeted) clearTimeout(deadline);
        if (session.greeted || !chunk.includes(0x0a)) return;
        // Whatever the line was, it was not a greeting: its error is answered, then it is cut.
        setImmediate(() => {
          if (!session.greeted) session.peer.close('it did not greet with the token');
          else clearTimeout(deadline);
        });
        return;
      }
      if (!session.peer.closed) session.peer.destroy('it does not speak our protocol');
    });
  }

  /** A fact was added: to everyone who asked for them. */
  factAdded(fact: Fact): void {
    for (const session of this.#sessions) {
      if (session.told === null) continue;
      if (fact.kind === 'ready') {
        const run = [...session.changed].find(({ id }) => id === fact.run);
        if (run !== undefined) session.publishedBefore.set(fact.seq, run);
      }
      this.#schedule(session);
    }
  }

  stateChanged(run: Run): void {
    for (const session of this.#sessions) {
      if (session.told === null) continue;
      session.changed.add(run);
      this.#schedule(session);
    }
  }

  remark(run: string | null, message: string, log?: LogTurn): void {
    for (const { told, peer } of this.#sessions)
      if (told !== null && !peer.backlogged)
        peer.notify('remark', log === undefined ? { run, message } : { run, message, log });
  }

  get listened(): boolean {
    return [...this.#sessions].some(({ told }) => told !== null);
  }

  close(): void {
    for (const { peer } of this.#sessions) peer.close('the shim has ended');
  }

  #schedule(session: Session): void {
    if (session.scheduled) return;
    session.scheduled = true;
    setImmediate(() => this.#tell(session));
  }

  /**
   * Facts first and in order, then the newest states; no more than the far end takes. What a run published before it was
   * ready comes before that: who waits until it is ready reads there where to find it.
   */
  #tell(session: Session): void {
    session.scheduled = false;
    const { peer, changed } = session;
    if (peer.closed || peer.backlogged || session.told === null) return;
    let room = batchBytes;
    for (const fact of this.#options.facts.after(session.told)) {
      if (room <= 0) break;
      const run = session.publishedBefore.get(fact.seq);
      session.publishedBefore.delete(fact.seq);
      if (run !== undefined) room -= tellState(session, run);
      room -= sendNote(peer, 'fact', fact);
      session.told = fact.seq;
    }
    for (const run of changed) {
      if (room <= 0) break;
      room -= tellState(session, run);
    }
    peer.flush();
    if (room <= 0) this.#schedule(session);
  }

  #methods(): Record<ShimMethod, Handler<Session>> {
    const { runs, facts, onShutdown } = this.#options;
    const greeted = (handler: Handler<Session>): Handler<Session> => {
      return (params, session) => {
        if (!session.greeted) throw new WorkerdError('usage', 'say hello first, with the token of this home');
        return handler(params, session);
      };
    };
    return {
      hello: (params, session) => this.#hello(params, session),
      list: greeted(() => ({ runs: withinFrame(runs.list()), seq: facts.seq })),
      facts: greeted((params, session) => {
        session.told = orders.count(orders.paramsOf(params), 'after');
        for (const run of runs.live) if (run.state.value !== null) session.changed.add(run);
        this.#schedule(session);
        return {};
      }),
      ack: greeted((params) => {
        failpoint('shim.ack.before');
        facts.acknowledge(orders.count(orders.paramsOf(params), 'upTo'));
        return {};
      }),
      // Not at once: the answer leaves when what it begins in this turn is begun.
      spawn: greeted(async (params) => {
        runs.spawn(orders.spawnOrder(params));
        return {};
      }),
      signal: greeted((params) => {
        const { run, signal, to } = orders.signalOrder(params);
        return { delivered: runs.get(run).signal(signal, to) };
      }),
      down: greeted((params) => {
        const { run, message } = orders.downOrder(params);
        return { delivered: runs.get(run).send(message) };
      }),
      input: greeted((params) => {
        const { run, text } = orders.inputOrder(params);
        return { delivered: runs.get(run).channels.input(text) };
      }),
      publish: greeted((params, session) => {
        const { run, patch } = orders.publishOrder(params);
        const published = runs.publish(run, patch);
        // Before its answer: whoever asked is answered with it.
        this.#tell(session);
        return published;
      }),
      adopt: greeted((params) => {
        const order = orders.adoptOrder(params);
        runs.adopt(order);
        return order.known === undefined ? {} : { known: true };
      }),
      conclude: greeted((params) => {
        const { run, exit } = orders.concludeOrder(params);
        runs.conclude(run, exit);
        return {};
      }),
      release: greeted((params) => {
        runs.release(orders.runOf(orders.paramsOf(params)));
        return {};
      }),
      kept: greeted((params) => ({ keep: runs.get(orders.runOf(orders.paramsOf(params))).order.keep ?? [] })),
      shutdown: greeted(() => {
        setImmediate(onShutdown);
        return { pid: process.pid };
      }),
    };
  }

  #hello(raw: unknown, session: Session): HelloResult {
    const { token, protocol } = orders.paramsOf(raw);
    const own = Buffer.from(this.#options.token);
    const theirs = Buffer.from(typeof token === 'string' ? token : '');
    if (own.length !== theirs.length || !timingSafeEqual(own, theirs)) {
      session.greeted = false;
      setImmediate(() => session.peer.close('it has the wrong token'));
      throw new WorkerdError('usage', 'this shim belongs to another home: the token differs');
    }
    if (protocol !== shimProtocolVersion) {
      throw new WorkerdError('usage', `this shim speaks protocol ${shimProtocolVersion}, not ${String(protocol)}`, {
        protocol: shimProtocolVersion,
      });
    }
    session.greeted = true;
    return { protocol: shimProtocolVersion, ...this.#options.self };
  }
}

const sendNote = (peer: Peer<Session>, method: string, params: object): number => {
  const text = JSON.stringify({ jsonrpc: '2.0', method, params });
  peer.send(text);
  return text.length;
};

/** Every line that starts in this piece starts as a message of ours does. */
const startsLinesWithObjects = (chunk: Buffer, lineStart: boolean): boolean => {
  const good = (byte: number | undefined) =>
    byte === undefined || byte === 0x7b || byte === 0x5b || byte === 0x0a || byte === 0x0d || byte === 0x20;
  if (lineStart && !good(chunk[0])) return false;
  for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, end + 1)) {
    if (!good(chunk[end + 1])) return false;
  }
  return true;
};

/** Gives back how many bytes that were. */
const tellState = ({ peer, changed }: Session, run: Run): number => {
  // How an ended run's state stood at last is in its `exited`.
  if (!changed.delete(run) || run.exited || run.state.value === null) return 0;
  const { value: state, at, revision } = run.state;
  return sendNote(peer, 'state', { run: run.id, state, at, revision });
};

/** An answer is at most a frame: large states are left out here, they come as `state` notes and in `exited`. */
const withinFrame = (runs: readonly RunStatus[]): readonly RunStatus[] => {
  let room = limits.maxFrameBytes / 2;
  return runs.map((run) => {
    room -= run.state === null ? 0 : Buffer.byteLength(JSON.stringify(run.state));
    return room < 0 ? { ...run, state: null } : run;
  });
};
