/**
 * Starting the daemon for a verb that needs one, and waiting until it answers. Where a service manager runs it, it is
 * waited for and none is started.
 */
import { existsSync } from 'node:fs';
import { unreachable } from '../shared/client.ts';
import { WorkerdError } from '../shared/errors.ts';
import { detailsOf, launchDaemon } from '../shared/launch.ts';
import type { Places } from '../shared/paths.ts';

const answerWithinMs = 5000;

export interface AutostartOptions<T> {
  readonly places: Places;
  /** The bundle of the daemon. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly connect: () => Promise<T>;
  readonly signal: AbortSignal;
  /** Told once, when this call started one. */
  readonly onStarted: (pid: number) => void;
}

export const connectOrStart = async <T>(options: AutostartOptions<T>): Promise<T> => {
  if (existsSync(options.places.serviceMark)) return untilConnected(options);
  const { places, program, env, signal } = options;
  const readiness = await launchDaemon({ places, program, env, signal });
  if (readiness.kind === 'failed') {
    throw new WorkerdError(
      'daemon.unreachable',
      `cannot start the daemon: ${readiness.why}. To see it in full: workerd start`,
      { reason: 'no socket', socket: places.socket, ...detailsOf(readiness) },
    );
  }
  if (readiness.kind === 'ready') options.onStarted(readiness.pid);
  return untilConnected(options);
};

/** Tries again at once, then less and less often, for 5 s: another client's daemon is on its way. */
const untilConnected = async <T>({ places, connect, signal }: AutostartOptions<T>): Promise<T> => {
  const deadline = performance.now() + answerWithinMs;
  for (let pauseMs = 10; ; pauseMs = Math.min(50, pauseMs * 1.5)) {
    try {
      return await connect();
    } catch (error) {
      signal.throwIfAborted();
      const waiting = error instanceof WorkerdError && error.data['reason'] === 'no socket';
      if (!waiting) throw error;
      if (performance.now() > deadline) throw unreachable(places.socket, 'no socket');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
};
