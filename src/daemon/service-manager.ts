/**
 * Tells systemd how the daemon is, through its own `systemd-notify`: Node has no datagram sockets. Without
 * NOTIFY_SOCKET it does nothing.
 */
import { spawn } from 'node:child_process';
import type { Logger } from './ports.ts';

export interface ServiceManager {
  /** The socket answers. */
  ready(status: string): void;
  status(text: string): void;
  stopping(): void;
}

const isStatus = ([first]: readonly string[]): boolean => first?.startsWith('--status=') === true;

const silent: ServiceManager = { ready() {}, status() {}, stopping() {} };

export const connectServiceManager = (
  env: Readonly<Record<string, string | undefined>>,
  log: Logger,
): ServiceManager => {
  const socket = env['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return silent;
  const environment = { NOTIFY_SOCKET: socket, PATH: env['PATH'] ?? '/usr/bin:/bin' };
  let last = '';
  let busy = false;
  let queued: (readonly string[])[] = [];
  const say = (args: readonly string[], done: () => void) => {
    const child = spawn('systemd-notify', [`--pid=${process.pid}`, ...args], { env: environment, stdio: 'ignore' });
    child.once('error', (error) => {
      log.warn({ error: error.message }, 'cannot tell the service manager: systemd-notify did not run');
      done();
    });
    child.once('exit', (code) => {
      if (code !== 0) log.warn({ code }, 'systemd-notify failed');
      done();
    });
  };
  /** One at a time, and in order; of the statuses that come in between only the newest counts. */
  const tell = (args: readonly string[]) => {
    if (busy) {
      queued = [...queued.filter((earlier) => !isStatus(earlier)), args];
      return;
    }
    busy = true;
    say(args, () => {
      busy = false;
      const next = queued.shift();
      if (next !== undefined) tell(next);
    });
  };
  return {
    ready(status) {
      last = status;
      tell(['--ready', `--status=${status}`]);
    },
    status(text) {
      if (text === last) return;
      last = text;
      tell([`--status=${text}`]);
    },
    stopping() {
      // At once: we may have ended before whoever tells a status has, and nobody would be told then.
      queued = [];
      say(['STOPPING=1'], () => {});
    },
  };
};
