/** Colours and signs, as far as a stream and its locale take them. Always beside a word, never instead of one. */
import type { Phase } from '../../shared/worker.ts';

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;
export type Colour = keyof typeof codes;

export interface Style {
  readonly colours: boolean;
  readonly paint: (colour: Colour, text: string) => string;
  readonly bullet: string;
  readonly ellipsis: string;
  readonly bar: { readonly full: string; readonly empty: string };
  readonly dot: string;
  /** Before what one may do next. */
  readonly arrow: string;
}

export const makeStyle = ({ colours, unicode }: { readonly colours: boolean; readonly unicode: boolean }): Style => ({
  colours,
  paint: (colour, text) => (colours && text !== '' ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text),
  bullet: unicode ? '●' : '*',
  ellipsis: unicode ? '…' : '...',
  bar: unicode ? { full: '█', empty: '░' } : { full: '#', empty: '-' },
  dot: unicode ? '·' : '-',
  arrow: unicode ? '→' : '->',
});

/** A locale that is set and is not UTF-8 gets plain signs. */
export const takesUnicode = (env: Readonly<Record<string, string | undefined>>): boolean => {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find((value) => value !== undefined && value !== '');
  return locale === undefined || /utf-?8/i.test(locale);
};

export const phaseColour: Readonly<Record<Phase, Colour>> = {
  running: 'green',
  starting: 'yellow',
  stopping: 'yellow',
  backoff: 'yellow',
  failed: 'red',
  exited: 'blue',
  stopped: 'dim',
};

/** A name's colour is its own: the same in every command, whichever others are shown beside it. */
const nameColours: readonly Colour[] = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red'];
export const nameColour = (name: string): Colour => {
  let hash = 0;
  for (const char of name) hash = (Math.imul(hash, 31) + (char.codePointAt(0) ?? 0)) >>> 0;
  return nameColours[hash % nameColours.length] ?? 'cyan';
};
