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

/**
 * Whether these bytes are ASCII with nothing in it that `printable` would touch: most of all output, told at several
 * GB/s, so that it need not become text at all.
 */
export const isPlain = (bytes: Buffer): boolean => {
  let position = 0;
  const one = (end: number): boolean => {
    for (; position < end; position += 1) {
      const byte = bytes[position] as number;
      if ((byte < 0x20 && byte !== 0x0a && byte !== 0x09) || byte > 0x7e) return false;
    }
    return true;
  };
  const unaligned = (4 - (bytes.byteOffset % 4)) % 4;
  if (bytes.length < 16) return one(bytes.length);
  if (!one(unaligned)) return false;
  // Four bytes at a time: whether one of them may be below 0x20, 0x7f, or above; then each by itself.
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + unaligned, (bytes.length - unaligned) >> 2);
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] as number;
    if (((word - 0x20202020) | word | (word + 0x01010101)) & 0x80808080) {
      position = unaligned + index * 4;
      if (!one(position + 4)) return false;
    }
  }
  position = unaligned + words.length * 4;
  return one(bytes.length);
};

/** JSON that no terminal takes for more than text: what JSON itself does not escape of control characters. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
