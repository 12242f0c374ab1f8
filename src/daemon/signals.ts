/** What signals mean to the daemon: an end in good order, its replacement, or nothing. */
import type { Actor } from '../shared/worker.ts';
import type { Daemon } from './daemon.ts';
import type { Logger } from './ports.ts';

export interface Signals {
  readonly stop: (signal: string) => void;
  /** The one that came when the daemon had given way: it is for the next one to obey. */
  readonly tooLate: () => string | null;
}

export const installSignals = (daemon: Daemon, terminal: boolean, log: Logger): Signals => {
  const actor: Actor = { uid: process.getuid?.() ?? null, pid: process.pid, via: 'signal' };
  let ending = false;
  let late: string | null = null;
  const stop = (signal: string) => {
    if (ending) return;
    ending = true;
    if (daemon.isReplaced) {
      late = signal;
      return;
    }
    void daemon.stop(daemon.externalShim, { ...actor, via: signal }).then(() => daemon.finish());
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('SIGHUP', () => {
    // The terminal it was started from went away: that is an end. A service's HUP means: begin anew.
    if (terminal) {
      stop('SIGHUP');
      return;
    }
    daemon
      .restart({ ...actor, via: 'SIGHUP' })
      .catch((error: unknown) => log.error({ error: String(error) }, 'not replaced'));
  });
  // Their default is to end us, to stop us, or (USR1) to open a debugger for every local user.
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGWINCH', 'SIGTSTP', 'SIGCONT'] as const) {
    process.on(signal, () => {});
  }
  return { stop, tooLate: () => late };
};
