/** `run()` with streams that are kept, and signals that a test sends. */
import { BrokenPipe, type Io, type Output } from '../../src/cli/io.ts';
import { run } from '../../src/cli/run.ts';

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Columns of a terminal on stdout and stderr; without it they are pipes. */
  readonly columns?: number;
  readonly daemonProgram?: string;
  /** stdout is closed by its reader after this many writes. */
  readonly brokenAfter?: number;
}

export interface Running {
  readonly code: Promise<number>;
  readonly out: () => string;
  readonly err: () => string;
  readonly send: (signal: NodeJS.Signals) => void;
}

export const startCli = (argv: readonly string[], options: CliOptions = {}): Running => {
  const listeners = new Map<NodeJS.Signals, Set<() => void>>();
  const written = { out: [] as Buffer[], err: [] as Buffer[] };
  const output = (to: 'out' | 'err'): Output => ({
    isTty: options.columns !== undefined,
    size: () => (options.columns === undefined ? null : { columns: options.columns, rows: 24 }),
    onAbandoned: () => () => {},
    write(data) {
      if (to === 'out' && options.brokenAfter !== undefined && written.out.length >= options.brokenAfter) {
        throw new BrokenPipe();
      }
      written[to].push(typeof data === 'string' ? Buffer.from(data) : Buffer.from(data));
    },
    async writePatiently(data) {
      this.write(data);
    },
  });
  const io: Io = {
    env: { PATH: process.env['PATH'] ?? '', ...options.env },
    stdout: output('out'),
    stderr: output('err'),
    uid: 1000,
    cwd: () => options.cwd ?? '/somewhere',
    umask: () => 0o022,
    limits: () => ({ nofile: 1024 }),
    daemonProgram: () => options.daemonProgram ?? '/nowhere/workerd.cjs',
    onSignal(signal, listener) {
      const own = listeners.get(signal) ?? new Set();
      listeners.set(signal, own.add(listener));
      return () => own.delete(listener);
    },
    endBy: () => {},
    onExit: () => () => {},
  };
  return {
    code: run(argv, io),
    out: () => Buffer.concat(written.out).toString('utf8'),
    err: () => Buffer.concat(written.err).toString('utf8'),
    send: (signal) => {
      for (const listener of listeners.get(signal) ?? []) listener();
    },
  };
};

export const cli = async (argv: readonly string[], options: CliOptions = {}) => {
  const running = startCli(argv, options);
  const code = await running.code;
  return { code, out: running.out(), err: running.err() };
};

export const eventually = async (what: () => boolean, withinMs = 5000): Promise<void> => {
  const deadline = performance.now() + withinMs;
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`not so within ${withinMs} ms: ${String(what)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
