/** The words that `workerd` takes: its flags, what may stand behind them, and its help. */
import { InvalidArgumentError, Option } from 'commander';

export interface GlobalFlags {
  readonly home?: string;
  readonly socket?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}
export interface StartFlags {
  readonly detach?: boolean;
  readonly background?: boolean;
  readonly readyFd?: number;
  readonly externalShim?: boolean;
  readonly openFiles?: number;
  readonly coreLimit?: string;
  /** The daemon that has become this one was told to end when it had given way already. */
  readonly signalled?: string;
  readonly logLevel?: LogLevel;
}

const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

export const isLogLevel = (text: string): text is LogLevel => (logLevels as readonly string[]).includes(text);

export const logLevelOf = (text: string): LogLevel => {
  if (isLogLevel(text)) return text;
  throw new InvalidArgumentError(`one of ${logLevels.join(', ')} is wanted`);
};

export const wholeNumber = (text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('a whole number is wanted');
  return Number(text);
};

export const openFilesOf = (text: string): number => {
  const count = wholeNumber(text);
  if (count === 0) throw new InvalidArgumentError('with none a worker cannot even be loaded');
  return count;
};

export const colorOption = (): Option =>
  new Option('--color <when>', 'auto, always or never').choices(['auto', 'always', 'never']);

/** What `start --detach` was told, for the daemon that it starts. */
export const passedOn = ({ externalShim, openFiles, logLevel }: StartFlags): readonly string[] => [
  ...(externalShim === true ? ['--external-shim'] : []),
  ...(openFiles === undefined ? [] : ['--open-files', String(openFiles)]),
  ...(logLevel === undefined ? [] : ['--log-level', logLevel]),
];

export const help = {
  program: `
All of it is also there as "workerctl daemon …".

Examples:
  workerd start --detach        start it in the background
  workerd status                is it there?
  workerd restart               replace it, for example after an upgrade; workers stay
  workerd stop                  end every worker, then the daemon`,
  start: `
Examples:
  workerd start                 in the foreground, as a service manager wants it
  workerd start --detach        in the background; prints its pid`,
  stop: `
Examples:
  workerd stop                  ends every worker in good order first
  workerd stop --keep-workers   the workers go on without it`,
};
