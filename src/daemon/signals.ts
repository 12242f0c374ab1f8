/** What signals mean to the daemon: an end in good order, its replacement, or nothing. */
import type { Actor } from '../shared/worker.ts';
import type { Daemon } from './daemon.ts';
import type { Logger } from './ports.ts';

/** As the program begins (scripts/build.mjs), before there is a daemon that could obey. */
interface HeldSignals {
  readonly held: readonly string[];
  readonly hold: (signal: string) => void;
}

const ending = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export interface Signals {
  /** Came before there was a daemon that could obey. */
  readonly early: string | null;
  readonly obey: (signal: string) => void;
  /** The one that came when the daemon had given way: it is for the next one to obey. */
  readonly tooLate: () => string | null;
}

export const installSignals = (daemon: Daemon, terminal: boolean, log: Logger): Signals => {
  const actor: Actor = { uid: process.getuid?.() ?? null, pid: process.pid, via: 'signal' };
  let isEnding = false;
  let late: string | null = null;
  const stop = (signal: string) => {
    if (isEnding) return;
    isEnding = true;
    if (daemon.isReplaced) {
      late = signal;
      return;
    }
    void daemon.stop(daemon.externalShim, { ...actor, via: signal }).then(() => daemon.finish());
  };
  const obey = (signal: string) => {
    // Of a terminal that went away HUP is an end. A service's means: begin anew, with what is on disk now.
    if (signal !== 'SIGHUP' || terminal) {
      stop(signal);
      return;
    }
    daemon
      .restart({ ...actor, via: 'SIGHUP' })
      .catch((error: unknown) => log.error({ error: String(error) }, 'not replaced'));
  };
  for (const signal of ending) process.on(signal, () => obey(signal));
  // Their default is to end us, to stop us, or (USR1) to open a debugger for every local user.
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGWINCH', 'SIGTSTP', 'SIGCONT'] as const) {
    process.on(signal, () => {});
  }
  return { early: takeHeld(), obey, tooLate: () => late };
};

/** There will be no daemon here that could obey: from now on they mean what they mean to any program. */
export const letSignalsEnd = (): void => {
  const [signal] = noLongerHeld();
  if (signal !== undefined) process.kill(process.pid, signal);
};

/** After our own handlers are there: one that has not been told of yet is told to them. An end is more than a beginning. */
const takeHeld = (): string | null => {
  const held = noLongerHeld();
  return held.find((signal) => signal !== 'SIGHUP') ?? held[0] ?? null;
};

const noLongerHeld = (): readonly string[] => {
  const { heldSignals } = globalThis as { readonly heldSignals?: HeldSignals };
  if (heldSignals === undefined) return [];
  for (const signal of ending) process.off(signal, heldSignals.hold);
  return heldSignals.held;
};
