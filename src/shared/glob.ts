/**
 * Globs over worker names: `*`, `?`, `[abc]`, `[a-z]`, `[!…]`. The CLI and the daemon read them alike.
 * No regular expression is built from what a user wrote, and nothing is tried again: all places in a pattern where a name
 * may be are kept as bits, a step a character. A thousand patterns meet ten thousand names.
 */

/** One character. */
type Token =
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] };

/** Holds a wildcard; a text without one is a literal name. */
export const isGlob = (text: string): boolean => /[*?[]/.test(text);

/** The whole name is described by the pattern; a literal pattern describes itself. */
export const matchesGlob = (pattern: string, name: string): boolean => {
  const glob = compiled(pattern);
  const { tokens, stays, places } = glob;
  if (name.length < tokens.length) return false;
  // Bit n: what was read so far is described by the first n tokens.
  places.fill(0);
  places[0] = 1;
  for (let index = 0; index < name.length; index += 1) {
    const takes = takesOf(glob, name, index);
    let carry = 0;
    let any = 0;
    for (let word = 0; word < places.length; word += 1) {
      const before = places[word] ?? 0;
      const moved = before & (takes[word] ?? 0);
      const after = (moved << 1) | carry | (before & (stays[word] ?? 0));
      carry = moved >>> 31;
      any |= after;
      places[word] = after;
    }
    if (any === 0) return false;
  }
  return hasBit(places, tokens.length);
};

const hasBit = (bits: Uint32Array, bit: number): boolean => ((bits[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0;
const setBit = (bits: Uint32Array, bit: number): void => {
  bits[bit >>> 5] = (bits[bit >>> 5] ?? 0) | (1 << (bit & 31));
};

const matchesOne = (token: Token, char: string): boolean => {
  switch (token.kind) {
    case 'char':
      return token.char === char;
    case 'any':
      return true;
    case 'class':
      return token.ranges.some(([from, to]) => from <= char && char <= to) !== token.negated;
    default:
      return token satisfies never;
  }
};

interface Compiled {
  readonly tokens: readonly Token[];
  /** Where a star stands: any character may be read there. */
  readonly stays: Uint32Array;
  /** Which tokens a character fits, by its code; made when it is first met. */
  readonly takes: (Uint32Array | undefined)[];
  /** Used anew for each name. */
  readonly places: Uint32Array;
}

/** Characters of names. What else there may be is looked at anew each time, and kept for none. */
const maxCode = 128;

const takesOf = ({ tokens, stays, takes }: Compiled, name: string, index: number): Uint32Array => {
  const code = name.charCodeAt(index);
  const known = takes[code];
  if (known !== undefined) return known;
  const made = new Uint32Array(stays.length);
  const char = name.charAt(index);
  for (const [at, token] of tokens.entries()) if (matchesOne(token, char)) setBit(made, at);
  if (code < maxCode) takes[code] = made;
  return made;
};

/** One pattern meets ten thousand names: it is read once. */
const cache = new Map<string, Compiled>();
const maxCached = 1024;

const compiled = (pattern: string): Compiled => {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  const made = compile(pattern);
  if (cache.size >= maxCached) cache.clear();
  cache.set(pattern, made);
  return made;
};

const compile = (pattern: string): Compiled => {
  const tokens: Token[] = [];
  const stars: number[] = [];
  for (let index = 0; index < pattern.length; index += 1) {
    const char = pattern.charAt(index);
    const found = char === '[' ? classAt(pattern, index) : null;
    if (found !== null) {
      tokens.push(found.token);
      index = found.end;
    } else if (char === '*') stars.push(tokens.length);
    else tokens.push(char === '?' ? { kind: 'any' } : { kind: 'char', char });
  }
  const stays = new Uint32Array((tokens.length >>> 5) + 1);
  for (const star of stars) setBit(stays, star);
  return { tokens, stays, takes: [], places: new Uint32Array(stays.length) };
};

/** `[…]` from its opening; `]` as the first member is one. Without an end the bracket stands for itself. */
const classAt = (pattern: string, start: number): { readonly token: Token; readonly end: number } | null => {
  let index = start + 1;
  const negated = pattern.charAt(index) === '!' || pattern.charAt(index) === '^';
  if (negated) index += 1;
  const end = pattern.indexOf(']', index + 1);
  if (end === -1) return null;
  const ranges: (readonly [string, string])[] = [];
  while (index < end) {
    const from = pattern.charAt(index);
    const ranged = pattern.charAt(index + 1) === '-' && index + 2 < end;
    ranges.push([from, ranged ? pattern.charAt(index + 2) : from]);
    index += ranged ? 3 : 1;
  }
  return { token: { kind: 'class', negated, ranges }, end };
};
