/** The daemon as it answers, each step within a deadline of its own; it is never started. */
import { Connection, openSocket } from '../../shared/connection.ts';
import { WorkerdError } from '../../shared/errors.ts';
import { isHandingOver } from '../../shared/handover.ts';
import type { Places } from '../../shared/paths.ts';
import type { StatusResult } from '../../shared/protocol.ts';
import type { WorkerView } from '../../shared/worker.ts';
import type { Reach } from './facts.ts';

/** As long as any other verb waits for an answer. */
const answerWithinMs = 5000;
/** A shim that hangs is known to the daemon once it has left a question open for a second. */
const shimWithinMs = 1500;
/** A little longer than the daemon takes to tell that a question to the shim stays open. */
const shimLookMs = 300;

type Info = Extract<Reach, { kind: 'answers' }>['info'];

const within = async <T>(what: Promise<T>, ms: number): Promise<T> => {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer in ${ms / 1000} s`)), ms);
  try {
    return await Promise.race([what, late.promise]);
  } finally {
    clearTimeout(timer);
  }
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const reachDaemon = async ({ socket }: Places): Promise<Reach> => {
  let connection: Connection | null = null;
  try {
    const opened = await openSocket(socket, AbortSignal.timeout(answerWithinMs));
    const begun = performance.now();
    connection = new Connection(opened, socket, { client: 'workerctl', via: 'workerctl doctor' });
    const first = (await within(connection.request('daemon.info', {}), answerWithinMs)) as Info;
    const latencyMs = performance.now() - begun;
    const info = await untilShimIsKnown(connection, first);
    return { kind: 'answers', latencyMs, info, workers: await workersOf(connection) };
  } catch (error) {
    return unreached(error, socket);
  } finally {
    connection?.close('doctor has seen enough');
  }
};

/** Asking the daemon has it ask its shim: asked again, it knows whether that has answered, and if not, asks on. */
const untilShimIsKnown = async (connection: Connection, first: Info): Promise<Info> => {
  if (first.shim?.answers === undefined || (first.problems?.length ?? 0) > 0) return first;
  const until = performance.now() + shimWithinMs;
  let info = first;
  do {
    await pause(shimLookMs);
    info = (await within(connection.request('daemon.info', {}), answerWithinMs)) as Info;
  } while (info.shim?.answers === false && info.problems?.length === 0 && performance.now() < until);
  return info;
};

const workersOf = async (connection: Connection): Promise<readonly WorkerView[] | null> => {
  const workers: WorkerView[] = [];
  try {
    for (let after: string | null | undefined; after !== null; ) {
      const params = after === undefined ? {} : { after };
      const page = (await within(connection.request('status', params), answerWithinMs)) as StatusResult;
      workers.push(...page.workers);
      after = page.next;
    }
    return workers;
  } catch {
    return null;
  }
};

const unreached = (error: unknown, socket: string): Reach => {
  if (!(error instanceof WorkerdError)) {
    if (isHandingOver(socket) !== null) return { kind: 'replaced' };
    return {
      kind: 'silent',
      why: error instanceof Error && error.name !== 'TimeoutError' ? error.message : 'no answer in 5 s',
    };
  }
  if (error.code === 'daemon.stopping') return { kind: 'replaced' };
  if (error.code !== 'daemon.unreachable') return { kind: 'refuses', why: error.message };
  switch (error.data['reason']) {
    case 'no socket':
      return { kind: 'absent', stale: error.data['stale'] === true };
    case 'permission denied':
      return { kind: 'denied' };
    case 'protocol mismatch':
      return { kind: 'foreign' };
    default:
      return { kind: 'silent', why: error.data['reason'] === 'no answer in 5s' ? 'no answer in 5 s' : error.message };
  }
};
