/**
 * The shim: parent of every worker process. Composition root: arguments in, everything built and wired, exit code out.
 * It holds what must outlive the daemon and nothing else; nothing that a worker, a client or a disk does may end it.
 *
 *   node shim/main.ts --home DIR [--ready-fd N]
 */
import { closeSync, existsSync, mkdirSync, readFileSync, realpathSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { withoutCoreDumps } from '../../shared/core-limit.ts';
import { closeInherited } from '../../shared/descriptors.ts';
import { armFailpoints, failpointVariable } from '../../shared/failpoints.ts';
import { Leisure } from '../../shared/leisure.ts';
import { resolvePlaces } from '../../shared/paths.ts';
import { shimToken } from '../../shared/shim-token.ts';
import { endAllRuns } from './ending.ts';
import { Endpoint } from './endpoint.ts';
import { FactBook } from './facts.ts';
import { startTimeOf } from './identity.ts';
import { OwnLog } from './own-log.ts';
import type { LogTurn } from './protocol.ts';
import { RunTable } from './runs.ts';
import { ShimServer } from './server.ts';
import { setWorkersCoreLimit } from './spawn.ts';

export interface ShimOptions {
  readonly home: string;
  readonly version: string;
  readonly log: (message: string) => void;
  /** It can be asked from now on. */
  readonly onReady: () => void;
}

export interface RunningShim {
  /** The orderly end: every run, then the shim. Asked twice, it is one end. */
  readonly end: () => Promise<void>;
  readonly ended: Promise<void>;
}

/** How long facts may be fetched at the end by a daemon that listens. */
const lastFactsMs = 1000;

export const runShim = async ({ home, version, log, onReady }: ShimOptions): Promise<RunningShim> => {
  const places = resolvePlaces({ home, env: {}, uid: process.geteuid?.() ?? 0 });
  mkdirSync(places.home, { recursive: true, mode: 0o700 });
  const facts = new FactBook(places.home);
  let server: ShimServer | null = null;
  const remark = (run: string | null, message: string, turn?: LogTurn) => {
    log(run === null ? message : `${run}: ${message}`);
    server?.remark(run, message, turn);
  };
  const runs = new RunTable({
    directory: places.runs,
    tell: (fact) => {
      const added = facts.add(fact);
      server?.factAdded(added);
    },
    stateChanged: (run) => server?.stateChanged(run),
    remark,
  });

  const leisure = new Leisure();
  let ending: Promise<void> | null = null;
  const { promise: ended, resolve: settle } = Promise.withResolvers<void>();
  const end = (): Promise<void> => {
    ending ??= endInOrder().finally(settle);
    return ending;
  };

  const own = new ShimServer({
    token: shimToken(places.shimToken),
    self: { version, pid: process.pid, startTime: startTimeOf(process.pid) ?? 0 },
    runs,
    facts,
    log,
    onShutdown: () => void end(),
    onBusy: () => leisure.busy(),
  });
  // Who comes before all is built is served when it is.
  let early: Socket[] | null = [];
  const onConnection = (socket: Socket) => (early === null ? own.accept(socket) : early.push(socket));
  const endpoint = new Endpoint({ path: places.shimSocket, onConnection, log });
  // The socket is the claim to this home: before it is ours, nothing in the home is touched.
  await endpoint.open();
  server = own;
  facts.open(log);
  await runs.open();
  for (const socket of early) own.accept(socket);
  early = null;
  onReady();
  return { end, ended };

  async function endInOrder(): Promise<void> {
    log('ending: every run is asked to end');
    await endAllRuns(runs, log);
    const deadline = performance.now() + lastFactsMs;
    while (facts.unacknowledged > 0 && own.listened && performance.now() < deadline) {
      await new Promise((next) => setTimeout(next, 10));
    }
    try {
      facts.persist();
    } catch (error) {
      log(`cannot keep what was not told: ${String(error)}`);
    }
    endpoint.close();
    own.close();
    await runs.close();
    log('ended');
  }
};

const lineOf = (message: string): string => `${new Date().toISOString()} shim ${process.pid}: ${message}\n`;

const versionOfPackage = (script: string): string => {
  for (let place = dirname(script); place !== dirname(place); place = dirname(place)) {
    const manifest = join(place, 'package.json');
    if (!existsSync(manifest)) continue;
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version?: unknown };
    if (typeof version === 'string') return version;
  }
  return 'unknown';
};

const main = async (script: string): Promise<void> => {
  const { values } = parseArgs({ options: { home: { type: 'string' }, 'ready-fd': { type: 'string' } } });
  if (values.home === undefined) throw new Error('name the home: --home DIR');
  const readyFd = values['ready-fd'] === undefined ? null : Number(values['ready-fd']);
  const home = resolve(values.home);
  process.umask(0o077);
  process.chdir('/');
  armFailpoints(process.env[failpointVariable]);
  delete process.env[failpointVariable];
  for (const name of Object.keys(process.env)) {
    if (/^(NODE_|LD_|DYLD_|NOTIFY_SOCKET$|LISTEN_|WATCHDOG_)/.test(name)) delete process.env[name];
  }
  closeInherited(readyFd ?? undefined);
  setWorkersCoreLimit(withoutCoreDumps());
  const own = new OwnLog(join(home, 'shim.log'));
  const logLine = (message: string) => own.say(lineOf(message));
  let shim: RunningShim | null = null;
  let told = false;
  const end = () => {
    told = true;
    void shim?.end();
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  for (const signal of [
    'SIGHUP',
    'SIGUSR1',
    'SIGUSR2',
    'SIGPIPE',
    'SIGALRM',
    'SIGWINCH',
    'SIGTSTP',
    'SIGCONT',
  ] as const) {
    process.on(signal, () => {});
  }
  const survive = (error: unknown) => logLine(`a fault: ${error instanceof Error ? error.stack : String(error)}`);
  shim = await runShim({
    home,
    version: versionOfPackage(script),
    log: logLine,
    onReady: () => {
      if (readyFd === null) return;
      try {
        writeSync(readyFd, `${JSON.stringify({ ready: true, pid: process.pid })}\n`);
        closeSync(readyFd);
      } catch {
        // Whoever started us did not wait.
      }
    },
  });
  process.on('uncaughtException', survive);
  process.on('unhandledRejection', survive);
  if (told) void shim.end();
  await shim.ended;
  process.exit(0);
};

/** Run as a program, from source or as the bundle; imported, it does nothing. */
const script = process.argv[1] !== undefined && existsSync(process.argv[1]) ? realpathSync(process.argv[1]) : '';
if (/\/shim(\/main\.[cm]?[jt]s|\.[cm]?js)$/.test(script)) {
  main(script).catch((error: unknown) => {
    process.stderr.write(lineOf(`cannot start: ${error instanceof Error ? error.message : String(error)}`));
    process.exit(1);
  });
}
