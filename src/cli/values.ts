/** What people write on a command line, read strictly: durations, sizes, signals, times. Pure; a mistake is a usage error. */
import { editDistance } from '../shared/edit-distance.ts';
import { WorkerdError } from '../shared/errors.ts';

export const usage = (message: string, details: Readonly<Record<string, unknown>> = {}): WorkerdError =>
  new WorkerdError('usage', message, details);

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** What a timer and the protocol can carry: 24 days. */
const maxDurationMs = 2 ** 31 - 1;

/** `500ms`, `10s`, `1.5s`, `1h30m`, and a bare `0`; `null`: it is none of these. */
const durationOf = (text: string): number | null => {
  if (text === '0') return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return null;
  let ms = 0;
  for (const [, amount, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    ms += Number(amount) * (unitMs[unit] ?? 0);
  return Math.round(ms);
};

const withUnit = (text: string): string => (/^\d+(?:\.\d+)?$/.test(text) ? `; did you mean ${text}s?` : '');

export const parseDuration = (text: string, flag: string): number => {
  const ms = durationOf(text);
  if (ms === null) {
    throw usage(`${flag}: ${quoted(text)} is not a duration such as 500ms, 10s, 5m or 2h${withUnit(text)}`);
  }
  if (ms > maxDurationMs) throw usage(`${flag}: ${quoted(text)} is too long; at most 24 days can be given`);
  return ms;
};

const unitBytes: Readonly<Record<string, number>> = {
  b: 1,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
};

export const parseSize = (text: string, flag: string): number => {
  const match = /^(\d+(?:\.\d+)?)(b|kib|mib|gib|kb|mb|gb)$/i.exec(text);
  if (match === null) {
    const bare = /^\d+$/.test(text) ? `; did you mean ${text}MiB?` : '';
    throw usage(`${flag}: ${quoted(text)} is not a size such as 512KiB, 10MiB or 1GiB${bare}`);
  }
  const bytes = Math.round(Number(match[1]) * (unitBytes[(match[2] ?? '').toLowerCase()] ?? 0));
  if (bytes < 1024) throw usage(`${flag}: ${quoted(text)} is too small; at least 1KiB is needed`);
  if (bytes > 2 ** 40) throw usage(`${flag}: ${quoted(text)} is too large; at most 1024GiB can be given`);
  return bytes;
};

export const parseCount = (text: string, flag: string, min: number, max: number): number => {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= min && count <= max) return count;
  throw usage(`${flag}: ${quoted(text)} is not a whole number from ${min} to ${max}`);
};

/** Any case, with or without SIG, or a number; as the protocol writes it. */
export const parseSignal = (text: string, what: string, signals: Readonly<Record<string, number>>): string => {
  const upper = text.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  if (Object.hasOwn(signals, name)) return name;
  const byNumber = /^\d{1,2}$/.test(text) && Object.entries(signals).find(([, number]) => number === Number(text));
  if (byNumber) return byNumber[0];
  throw usage(`${what}: ${quoted(text)} is not a signal such as TERM, SIGHUP or 15`);
};

export const parseChoice = <T extends string>(text: string, flag: string, choices: readonly T[]): T => {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  const near = nearest(text, choices);
  const hint = near === null ? '' : `; did you mean ${near}?`;
  throw usage(`${flag}: ${quoted(text)} is none of ${choices.join(', ')}${hint}`);
};

/** Shorter words begin too many others. */
const leastBeginning = 3;

/** The one of `known` that it begins, or the nearest, where that is near enough to be what was meant. */
export const nearest = (word: string, known: readonly string[]): string | null => {
  const begun = word.length < leastBeginning ? [] : known.filter((name) => name.startsWith(word));
  if (begun.length === 1) return begun[0] ?? null;
  const ranked = known
    .map((name) => ({ name, distance: word.length > 64 ? word.length : editDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(1, Math.floor(best.name.length / 2.5)) ? best.name : null;
};

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** `5m` (that long ago) or an RFC 3339 time, as milliseconds since the epoch. */
export const parseTime = (text: string, flag: string, now: number): number => {
  if (rfc3339.test(text)) {
    const at = Date.parse(text.replace(' ', 'T'));
    if (!Number.isNaN(at)) return at;
  }
  const ago = durationOf(text);
  if (ago !== null) return now - ago;
  throw usage(
    `${flag}: ${quoted(text)} is neither a duration such as 5m nor a time such as 2026-01-02T03:04:05Z${withUnit(text)}`,
  );
};

/** JSON where it parses, else the text itself. */
export const jsonOrText = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
};

export const parseJson = (text: string, what: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw usage(`${what} is not valid JSON: ${(error as Error).message}`);
  }
};

export const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `K=V` at its first `=`. */
export const splitPair = (text: string, flag: string): readonly [string, string] => {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`${flag}: ${quoted(text)} is not of the form KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
};

/** `K=V…` as an object; later ones win. A null prototype, so that `__proto__` is a key like any other. */
export const pairsToObject = (pairs: readonly string[], flag: string): Record<string, unknown> => {
  const object = Object.create(null) as Record<string, unknown>;
  for (const pair of pairs) {
    const [key, value] = splitPair(pair, flag);
    object[key] = jsonOrText(value);
  }
  return object;
};

export const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
