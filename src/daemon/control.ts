/** The commands of `workerd` that speak to a daemon: start --detach, stop, restart, status. Each gives its exit code. */
import { existsSync } from 'node:fs';
import { type Client, connect } from '../shared/client.ts';
import { isLost, replacement } from '../shared/connection.ts';
import type { DaemonInfo } from '../shared/daemon-info.ts';
import { exitCodes, WorkerdError } from '../shared/errors.ts';
import { handoverMs } from '../shared/handover.ts';
import { detailsOf, launchDaemon } from '../shared/launch.ts';
import type { Places } from '../shared/paths.ts';
import { jsonText, printable } from '../shared/printable.ts';
import { isGone, readStat } from './proc.ts';

export interface ControlOptions {
  readonly places: Places;
  readonly json: boolean;
  readonly quiet: boolean;
  /** The bundle of the daemon. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For the daemon that is started. */
  readonly flags?: readonly string[];
}

const say = ({ json, quiet }: ControlOptions, result: object, words: string): void => {
  if (json) process.stdout.write(`${jsonText(result)}\n`);
  else if (!quiet) process.stdout.write(`${printable(words)}\n`);
};

/** One that is replaced in the middle of it is asked again; `reconnectMs` 0: not. */
const dial = ({ places: { home, socket } }: ControlOptions, via: string, reconnectMs: number): Promise<Client> =>
  connect({ home, socket, client: 'workerd', via: `workerd ${via}`, reconnectMs });

const isAbsent = (error: unknown): boolean =>
  error instanceof WorkerdError && error.code === 'daemon.unreachable' && error.data['reason'] === 'no socket';

/** `null`: there is no daemon. */
const reach = async (options: ControlOptions, via: string, reconnectMs = answerWithinMs): Promise<Client | null> => {
  try {
    return await dial(options, via, reconnectMs);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
};

const retryMs = 20;
const answerWithinMs = 5000;

/** Another one holds the home and is on its way to answering. */
const untilReached = async (options: ControlOptions, via: string): Promise<Client> => {
  const deadline = performance.now() + answerWithinMs;
  for (;;) {
    const client = await reach(options, via);
    if (client !== null) return client;
    if (performance.now() > deadline) return dial(options, via, answerWithinMs);
    await pause();
  }
};

const infoOf = async (client: Client): Promise<DaemonInfo> => {
  try {
    return await client.call('daemon.info', {});
  } finally {
    client.close();
  }
};

/** Started it is not, for one holds the home; and that one cannot be asked here. */
const explainHeld =
  ({ places: { home, socket } }: ControlOptions) =>
  (error: unknown): never => {
    if (!isAbsent(error)) throw error;
    throw new WorkerdError(
      'daemon.unreachable',
      `a daemon holds ${home} already, and none answers at ${socket}: it was given another --socket, or is stuck. See: workerctl doctor --home ${home}`,
      { reason: 'no socket', socket },
    );
  };

const asPid = ({ pid }: DaemonInfo): string => String(pid);

export const startDetached = async (options: ControlOptions, startedText = asPid): Promise<number> => {
  const before = await reach(options, 'start');
  const readiness = before === null ? await launchDaemon(options) : ({ kind: 'running' } as const);
  if (readiness.kind === 'failed') {
    throw new WorkerdError('internal', `cannot start the daemon: ${readiness.why}`, detailsOf(readiness));
  }
  const info = await infoOf(before ?? (await untilReached(options, 'start').catch(explainHeld(options))));
  const words = readiness.kind === 'ready' ? startedText(info) : `already running (pid ${info.pid})`;
  say(options, { pid: info.pid, outcome: readiness.kind === 'ready' ? 'started' : 'already-running' }, words);
  return exitCodes.done;
};

/** A second one in the foreground: refused, with the pid of the first where that one says it. */
export const sayAlreadyRunning = async (options: ControlOptions): Promise<void> => {
  const first = await untilReached(options, 'start').catch(() => null);
  const pid = first === null ? null : (await infoOf(first).catch(() => null))?.pid;
  const [words, look] =
    pid == null ? [`home ${options.places.home}`, 'workerctl doctor'] : [`pid ${pid}`, 'workerd status'];
  if (options.json) say(options, { pid: pid ?? null, outcome: 'already-running' }, '');
  else process.stderr.write(`workerd: already running (${printable(words)}). See: ${look}\n`);
};

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, retryMs));

/** The next command must not meet what is left of it: it is gone when its process is. */
const untilGone = async (pid: number): Promise<void> => {
  const deadline = performance.now() + answerWithinMs;
  while (performance.now() < deadline && isAlive(pid)) await pause();
};

/** A zombie that its new parent has not fetched yet is gone: its lock is free. */
const isAlive = (pid: number): boolean => {
  const stat = readStat(pid);
  return stat !== null && !isGone(stat);
};

/** `startedAt`: of the one that goes; `null`: it was going when it was asked. */
const untilReplaced = async (options: ControlOptions, startedAt: string | null): Promise<DaemonInfo> => {
  const deadline = performance.now() + handoverMs;
  for (;;) {
    try {
      const info = await infoOf(await untilReached(options, 'restart'));
      if (info.startedAt !== startedAt) return info;
    } catch (error) {
      // Met in the moment of its replacement.
      if (performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline) {
      throw new WorkerdError('internal', `the daemon was not replaced; see ${options.places.daemonLog}`);
    }
    await pause();
  }
};

/** A daemon that crashed, or went alone, has left workers: to end them in good order takes a daemon. */
const revive = async (options: ControlOptions): Promise<Client | null> => {
  const { places } = options;
  if (!existsSync(places.shimSocket) || existsSync(places.serviceMark)) return null;
  const readiness = await launchDaemon(options);
  if (readiness.kind === 'failed') throw new WorkerdError('internal', `cannot end what it left: ${readiness.why}`);
  return untilReached(options, 'stop');
};

export const runStop = async (options: ControlOptions, keepWorkers: boolean): Promise<number> => {
  const client = (await reach(options, 'stop')) ?? (keepWorkers ? null : await revive(options));
  if (client === null) {
    say(options, { pid: null, outcome: 'not-running' }, 'not running');
    return exitCodes.done;
  }
  const { pid } = await client.call('daemon.stop', { keepWorkers }).catch(async (error: unknown) => {
    // It ends all the same, and says what it could not end.
    if (error instanceof WorkerdError && error.code === 'worker.busy') await untilGone(Number(error.data['pid']));
    throw error;
  });
  client.close();
  await untilGone(pid);
  say(options, { pid, outcome: 'stopped' }, `stopped (pid ${pid})`);
  return exitCodes.done;
};

export const runRestart = async (options: ControlOptions): Promise<number> => {
  const client = await reach(options, 'restart', 0);
  if (client === null) return startDetached(options, ({ pid }) => `started (pid ${pid})`);
  // Of the very daemon that is asked: another connection may have reached the next one already.
  let startedAt: string | null = null;
  try {
    ({ startedAt } = await client.call('daemon.info', {}));
    await client.call('daemon.restart', {});
  } catch (error) {
    // Somebody else asked for it in the same moment: it is being replaced.
    if (replacement(error) === null && !isLost(error)) throw error;
  }
  client.close();
  const info = await untilReplaced(options, startedAt);
  say(options, { pid: info.pid, outcome: 'restarted' }, `restarted (pid ${info.pid})`);
  return exitCodes.done;
};

export const runStatus = async (options: ControlOptions): Promise<number> => {
  const client = await reach(options, 'status');
  if (client === null) {
    say(
      options,
      { running: false, socket: options.places.socket },
      `not running (no socket at ${options.places.socket})`,
    );
    return exitCodes.notRunning;
  }
  const info = await infoOf(client);
  const since = new Date(info.startedAt).toLocaleString('sv-SE');
  say(
    options,
    { running: true, ...info },
    `running (pid ${info.pid}) since ${since}\n  version  ${info.version}\n  home     ${info.home}\n  socket   ${info.socket}`,
  );
  if (!options.json && !options.quiet) {
    for (const { since: began, message } of info.problems ?? []) {
      process.stderr.write(`workerd: ${printable(message)} (since ${new Date(began).toLocaleString('sv-SE')})\n`);
    }
  }
  return exitCodes.done;
};
