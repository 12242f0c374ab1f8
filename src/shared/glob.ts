/**
 * Globs over worker names: `*`, `?`, `[abc]`, `[a-z]`, `[!…]`. The CLI and the daemon read them alike.
 * No regular expression is built from what a user wrote: matching takes at most pattern × name steps, never more.
 */

type Token =
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'star' }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] };

/** Holds a wildcard; a text without one is a literal name. */
export const isGlob = (text: string): boolean => /[*?[]/.test(text);

/** The whole name is described by the pattern; a literal pattern describes itself. */
export const matchesGlob = (pattern: string, name: string): boolean => {
  const { tokens, least } = compiled(pattern);
  if (name.length < least) return false;
  let token = 0;
  let index = 0;
  // Only the last star ever needs to take more: whatever an earlier one took, the later can take as well.
  let star = -1;
  let starIndex = 0;
  while (index < name.length) {
    const current = tokens[token];
    if (current?.kind === 'star') {
      star = token;
      starIndex = index;
      token += 1;
    } else if (current !== undefined && matchesOne(current, name.charAt(index))) {
      token += 1;
      index += 1;
    } else if (star !== -1) {
      token = star + 1;
      starIndex += 1;
      index = starIndex;
    } else return false;
  }
  while (tokens[token]?.kind === 'star') token += 1;
  return token === tokens.length;
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
      return false;
  }
};

interface Compiled {
  readonly tokens: readonly Token[];
  /** Characters that it takes at least. */
  readonly least: number;
}

/** One pattern meets ten thousand names: it is read once. */
const cache = new Map<string, Compiled>();
const maxCached = 2048;

const compiled = (pattern: string): Compiled => {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  const tokens = tokensOf(pattern);
  const made = { tokens, least: tokens.filter(({ kind }) => kind !== 'star').length };
  if (cache.size >= maxCached) cache.clear();
  cache.set(pattern, made);
  return made;
};

const tokensOf = (pattern: string): readonly Token[] => {
  const tokens: Token[] = [];
  for (let index = 0; index < pattern.length; index += 1) {
    const char = pattern.charAt(index);
    const found = char === '[' ? classAt(pattern, index) : null;
    if (found !== null) {
      tokens.push(found.token);
      index = found.end;
    } else if (char === '*') {
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' });
    } else tokens.push(char === '?' ? { kind: 'any' } : { kind: 'char', char });
  }
  return tokens;
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
