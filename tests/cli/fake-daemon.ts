/** A daemon that answers what a test tells it to: the real framing and gate on a real socket, nothing behind it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WorkerdError } from '../../src/shared/errors.ts';
import { Gate } from '../../src/shared/gate.ts';
import { matchesGlob } from '../../src/shared/glob.ts';
import { Peer } from '../../src/shared/peer.ts';
import type { WorkerView } from '../../src/shared/worker.ts';

export interface Session {
  notify(method: string, params: object): void;
}
export type Answer = (params: Record<string, unknown>, session: Session) => unknown;

export interface FakeDaemon {
  readonly home: string;
  readonly socket: string;
  /** Every call but `hello`, as it came. */
  readonly calls: { readonly method: string; readonly params: Record<string, unknown> }[];
  readonly hellos: Record<string, unknown>[];
  /** How many writes the clients' bytes came in, for each connection. */
  readonly writes: number[];
  /** Cuts every connection. */
  cut(): void;
  close(): Promise<void>;
}

export const makeHome = (): { readonly home: string; readonly remove: () => void } => {
  const home = mkdtempSync(join(tmpdir(), 'workerctl-test-'));
  return { home, remove: () => rmSync(home, { recursive: true, force: true }) };
};

export const startFakeDaemon = async (methods: Readonly<Record<string, Answer>>): Promise<FakeDaemon> => {
  const { home, remove } = makeHome();
  const socket = join(home, 'workerd.sock');
  const calls: FakeDaemon['calls'] = [];
  const hellos: Record<string, unknown>[] = [];
  const writes: number[] = [];
  const sockets = new Set<Socket>();
  const all: Record<string, Answer> = {
    hello: () => ({ protocol: 1, version: '0.0.0', pid: process.pid }),
    'logs.locate': () => ({ files: [] }),
    'daemon.info': () => ({ home }),
    unwatch: () => ({ removed: true }),
    ...methods,
  };
  const recorded = Object.entries(all).map(([method, answer]) => [
    method,
    (params: unknown, session: Session) => {
      const given = (params ?? {}) as Record<string, unknown>;
      if (method === 'hello') hellos.push(given);
      else calls.push({ method, params: given });
      return answer(given, session);
    },
  ]);
  const gate = new Gate<Session>({
    methods: Object.fromEntries(recorded) as Record<string, (params: unknown, session: Session) => unknown>,
    isHeld: (method) => method === 'wait',
    onFault: (_method, error) => String(error),
  });
  const server = createServer({ allowHalfOpen: true }, (connection) => {
    sockets.add(connection);
    const index = writes.push(0) - 1;
    connection.on('data', () => {
      writes[index] = (writes[index] ?? 0) + 1;
    });
    const session: Session = { notify: (method, params) => peer.notify(method, params) };
    const peer: Peer<Session> = new Peer<Session>({ socket: connection, gate, session });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const cut = () => {
    for (const connection of sockets) connection.destroy();
  };
  return {
    home,
    socket,
    calls,
    hellos,
    writes,
    cut,
    close: async () => {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      remove();
    },
  };
};

/** `status` over these workers, with globs, and an error for an unknown literal name. */
export const statusOf =
  (workers: () => readonly WorkerView[]): Answer =>
  ({ names }) => {
    if (names === undefined) return { workers: workers(), next: null };
    const patterns = names as readonly string[];
    for (const name of patterns.filter((pattern) => !/[*?[]/.test(pattern))) {
      if (!workers().some((view) => view.name === name)) throw notFound(name);
    }
    const found = workers().filter((view) => patterns.some((pattern) => matchesGlob(pattern, view.name)));
    return { workers: found, next: null };
  };

export const notFound = (name: string): WorkerdError =>
  new WorkerdError('worker.not-found', `no worker named "${name}"; did you mean "web"?`, { name, nearest: 'web' });
