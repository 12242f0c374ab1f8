/** Text that others wrote, made harmless: no name, path, log line or message steers a terminal. Pure. */

const unprintable = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu;
let colourOrUnprintable: RegExp | null = null;
const colour = /\x1b\[[0-9;:]*m/;

const escaped = (char: string): string => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;

/** Control characters, but for newline and tab, as `\u{..}`; `colours` lets colour sequences pass and ends them. */
export const printable = (text: string, { colours = false }: { readonly colours?: boolean } = {}): string => {
  if (!colours || !colour.test(text)) return text.replace(unprintable, escaped);
  colourOrUnprintable ??= new RegExp(`\x1b\\[[0-9;:]*m|${unprintable.source}`, 'gu');
  return `${text.replace(colourOrUnprintable, (found) => (found.length > 1 ? found : escaped(found)))}\x1b[0m`;
};

/** JSON that no terminal takes for more than text: what JSON itself does not escape of control characters. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
