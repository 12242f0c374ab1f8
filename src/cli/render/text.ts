/**
 * Words and widths: what every view is made of. Pure; times are given, never asked for.
 * All text that others wrote goes through `printable`, so that nobody's name or log line steers a terminal.
 */
import { printable } from '../../shared/printable.ts';
import type { Exit, Json } from '../../shared/worker.ts';

export { isPlain, jsonText, printable } from '../../shared/printable.ts';

/** As `printable`, for a cell: one line, whatever was in it. */
export const oneLine = (text: string): string => printable(text.replace(/[\n\t]/g, ' '));

interface WidthPatterns {
  /** Two columns, as terminals count them: East Asian wide and full-width forms, and signs that are pictures by default. */
  readonly wide: RegExp;
  /** None: marks on what stands before them, vowels and endings of a Hangul syllable, joiners. */
  readonly nothing: RegExp;
}
let patterns: WidthPatterns | null = null;
/** Made when first needed: their properties of Unicode are slow to read, and most output is ASCII. */
const widthPatterns = (): WidthPatterns => {
  patterns ??= {
    wide: /[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{18aff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|(?![\u{1f1e6}-\u{1f1ff}])\p{Emoji_Presentation}/u,
    nothing: /[\p{Mn}\p{Me}\u1160-\u11ff\u200b-\u200d\u2060-\u2064\ufeff]/u,
  };
  return patterns;
};
const joiner = 0x200d;
const colours = /\x1b\[[0-9;:]*m/g;
const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

/** One column for certain, and met in every table: asked before the properties of Unicode, which cost more. */
const isNarrow = (code: number): boolean =>
  (code >= 0x20 && code < 0x300) ||
  (code >= 0x2010 && code <= 0x2027) ||
  (code >= 0x2190 && code <= 0x21ff) ||
  (code >= 0x2500 && code <= 0x25fc);

const columnsOf = (char: string): number => {
  const { wide, nothing } = widthPatterns();
  return nothing.test(char) ? 0 : wide.test(char) ? 2 : 1;
};

/** How many characters from the start take at most `room` columns, and how many they take; colours are not known here. */
const measure = (text: string, room: number): { readonly end: number; readonly width: number } => {
  let width = 0;
  let joined = false;
  let end = 0;
  while (end < text.length) {
    const code = text.codePointAt(end) ?? 0;
    const length = code > 0xffff ? 2 : 1;
    // What a joiner ties to the one before it adds nothing.
    const columns = joined ? 0 : isNarrow(code) ? 1 : columnsOf(text.slice(end, end + length));
    if (width + columns > room) break;
    width += columns;
    end += length;
    joined = code === joiner;
  }
  return { end, width };
};

/** Columns that the text takes on a terminal; colours take none. */
export const displayWidth = (text: string): number => {
  if (isAscii(text)) return text.length;
  return measure(text.includes('\x1b') ? text.replace(colours, '') : text, Infinity).width;
};

/** Cut to at most `width` columns, with an ellipsis where something went. The text has no colours yet. */
export const clip = (text: string, width: number, ellipsis = '…'): string => {
  if (width === Infinity || displayWidth(text) <= width) return text;
  const kept = text.slice(0, measure(text, Math.max(0, width - ellipsis.length)).end);
  return width < ellipsis.length ? kept : kept + ellipsis;
};

export const pad = (text: string, width: number, side: 'left' | 'right' = 'left'): string => {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return side === 'left' ? text + space : space + text;
};

/** `450ms`, `3.2s`, `42s`, `3m 2s`, `2h 5m`, `3d 4h`. */
export const durationText = (ms: number): string => {
  const whole = Math.max(0, ms);
  if (whole < 1000) return `${Math.round(whole)}ms`;
  if (whole < 9950) return `${(whole / 1000).toFixed(1)}s`;
  const seconds = Math.round(whole / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${seconds % 60}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h ${Math.floor((seconds % 3600) / 60)}m`;
  return `${Math.floor(seconds / 86_400)}d ${Math.floor((seconds % 86_400) / 3600)}h`;
};

/** Whole seconds at the least, so that a table does not flicker with tenths. */
export const uptimeText = (ms: number): string =>
  ms < 60_000 ? `${Math.max(0, Math.floor(ms / 1000))}s` : durationText(ms);

export const bytesText = (bytes: number): string => {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
};

/** Local time, to the second. */
export const timeText = (at: string): string => {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return oneLine(at);
  const two = (part: number) => String(part).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
};

export const agoText = (at: string | null, now: number): string => {
  if (at === null) return '';
  const ms = now - Date.parse(at);
  // After a minute nobody counts seconds, and a line that does not change needs no redrawing.
  return ms < 1000 ? 'just now' : `${uptimeText(ms).replace(/(?<=m) \d+s$/, '')} ago`;
};

/** How a run ended, in words. */
export const exitText = (exit: Exit): string => {
  switch (exit.kind) {
    case 'code':
      return `exit code ${exit.code}`;
    case 'signal':
      return `killed by ${oneLine(exit.signal)}`;
    case 'spawn-failed': {
      const message = oneLine(exit.message);
      return `could not start: ${message.includes(exit.errno) ? message : `${message} (${oneLine(exit.errno)})`}`;
    }
    case 'error':
      return oneLine(`${exit.name}: ${exit.message}`);
    case 'returned':
      return 'returned';
    case 'terminated':
      return 'terminated by force';
    case 'lost':
      return `lost: ${oneLine(exit.reason)}`;
    default:
      return exit satisfies never;
  }
};

/** As `exitText`, where there is little room: what could not start, in the words of its error number. */
export const shortExitText = (exit: Exit): string => {
  if (exit.kind !== 'spawn-failed') return exitText(exit);
  const directory = exit.message.startsWith('cannot start in ');
  const words: Readonly<Record<string, string>> = {
    ENOENT: directory ? 'directory not found' : 'program not found',
    ENOTDIR: 'not a directory',
    EACCES: directory ? 'no permission for the directory' : 'no permission to execute',
    EMFILE: 'too many open files',
    EAGAIN: 'too many processes',
    E2BIG: 'arguments or environment too long',
    ENOEXEC: 'not a program',
  };
  const known = Object.hasOwn(words, exit.errno) ? words[exit.errno] : undefined;
  return known === undefined ? exitText(exit) : `could not start: ${known} (${exit.errno})`;
};

/** `1st`, `2nd`, `3rd`, `4th`, `11th`. */
export const ordinal = (count: number): string => {
  const teen = count % 100 >= 11 && count % 100 <= 13;
  return `${count}${teen ? 'th' : (['th', 'st', 'nd', 'rd'][count % 10] ?? 'th')}`;
};

/** A value of state as a person reads it: plain words bare, the rest as JSON. */
export const valueText = (value: Json): string => {
  if (typeof value === 'string' && /^[^\s"'={}[\],]+$/.test(value)) return oneLine(value);
  return oneLine(JSON.stringify(value));
};

/** `counter=42 file=a.txt`, without what has a view of its own. */
export const stateText = (state: Readonly<Record<string, Json>> | null, without: readonly string[] = []): string =>
  Object.entries(state ?? {})
    .filter(([key]) => !without.includes(key))
    .map(([key, value]) => `${oneLine(key)}=${valueText(value)}`)
    .join(' ');
