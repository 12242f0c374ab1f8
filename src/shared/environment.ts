/** Which variables of a caller's environment reach a worker. Pure; the CLI and the daemon say the same. */

/** Kept by `--clean-env`, and all that is there where no caller was named. */
export const isClean = (key: string): boolean =>
  ['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'TZ'].includes(key) || key.startsWith('LC_');

/** Meant for the process that has it, never for one that it starts. */
export const isPrivate = (key: string): boolean =>
  key === 'NOTIFY_SOCKET' ||
  key.startsWith('LISTEN_') ||
  key.startsWith('WATCHDOG_') ||
  key.startsWith('NODE_CHANNEL_') ||
  key === 'NODE_UNIQUE_ID' ||
  (key.startsWith('WORKERD_') && key !== 'WORKERD_AUTOSTART');

/** Changes how Node or the dynamic linker behave: not for the daemon, the shim and the tools they call. */
export const isSteering = (key: string): boolean =>
  key.startsWith('NODE_') || key.startsWith('LD_') || key.startsWith('DYLD_');
