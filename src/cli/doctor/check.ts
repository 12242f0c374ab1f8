/** One line of `doctor`: what was looked at, how it is, and what to do about it. */

export type Level = 'ok' | 'warn' | 'fail';

export interface Check {
  /** What was looked at; one word, or several with hyphens. */
  readonly name: string;
  readonly level: Level;
  readonly message: string;
  /** What to do, with the exact command where there is one; `null` where all is well. */
  readonly advice: string | null;
}

export const ok = (name: string, message: string): Check => ({ name, level: 'ok', message, advice: null });
export const warn = (name: string, message: string, advice: string): Check => ({
  name,
  level: 'warn',
  message,
  advice,
});
export const fail = (name: string, message: string, advice: string): Check => ({
  name,
  level: 'fail',
  message,
  advice,
});

/** What is wrong, or that all is well. */
export const orOk = (faults: readonly Check[], well: Check): readonly Check[] => (faults.length > 0 ? faults : [well]);

/** A word for a shell: as it is where that is safe, else quoted. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The first few of many, and how many more there are. */
export const few = (all: readonly string[], most = 3): string =>
  all.length <= most ? all.join(', ') : `${all.slice(0, most).join(', ')} and ${all.length - most} more`;

/** With an s where there are several. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
