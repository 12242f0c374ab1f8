/**
 * A worker's published state on its own side: merges patches, keeps what was not sent yet, and holds the bounds.
 * Made for a million patches a second: plain values are only noted, and become text once they are sent.
 */
import type { Json } from './contract.ts';

export const maxStateBytes = 64 * 1024;
/** So deep that a state still fits the 64 levels of the messages it travels in. */
export const maxLevels = 32;

type Plain = null | boolean | number | string;

/** Objects and arrays are kept as text: taken when published, whatever becomes of them. */
interface Entry {
  readonly plain: Plain;
  readonly text: string | null;
  /** Its share of the whole in bytes: never too low, and exact once that mattered. */
  bound: number;
}

/** Member, colon, comma and quotes; a UTF-16 unit is at most six bytes of JSON. */
const keyBound = (key: string): number => key.length * 6 + 4;
const numberBound = 25;
const looseStringUnits = 256;

const textOf = (entry: Entry): string => entry.text ?? JSON.stringify(entry.plain);
const exactBytes = (key: string, entry: Entry): number =>
  Buffer.byteLength(JSON.stringify(key)) + Buffer.byteLength(textOf(entry)) + 2;

const encode = (key: string, value: unknown): Entry | null => {
  switch (typeof value) {
    case 'number':
      return { plain: Number.isFinite(value) ? value : null, text: null, bound: keyBound(key) + numberBound };
    case 'boolean':
      return { plain: value, text: null, bound: keyBound(key) + 5 };
    case 'string': {
      const bytes = value.length > looseStringUnits ? Buffer.byteLength(JSON.stringify(value)) : value.length * 6 + 2;
      return { plain: value, text: null, bound: keyBound(key) + bytes };
    }
    case 'undefined':
      return null;
    case 'object': {
      if (value === null) return { plain: null, text: null, bound: keyBound(key) + 4 };
      const text = jsonOf(value, `state.${key}`);
      return text === null ? null : { plain: null, text, bound: keyBound(key) + Buffer.byteLength(text) };
    }
    default:
      throw new TypeError(`cannot publish state.${key}: a ${typeof value} is not JSON`);
  }
};

/** The value as JSON text; null where JSON has no word for it. Throws where it cannot be or is nested too deep. */
export const jsonOf = (value: unknown, what: string): string | null => {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new TypeError(`${what} is not JSON: ${why}`, { cause: error });
  }
  if (text === undefined) return null;
  if (exceedsLevels(text)) throw new RangeError(`${what} is nested deeper than ${maxLevels} levels`);
  return text;
};

const exceedsLevels = (text: string): boolean => {
  if (text.length < 2 * maxLevels) return false;
  let level = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (inString) {
      if (unit === 0x5c) index += 1;
      else if (unit === 0x22) inString = false;
    } else if (unit === 0x22) inString = true;
    else if (unit === 0x5b || unit === 0x7b) {
      level += 1;
      if (level > maxLevels) return true;
    } else if (unit === 0x5d || unit === 0x7d) level -= 1;
  }
  return false;
};

export class PublishedState {
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Set<string>();
  /** Members whose newest value came from outside. */
  readonly #outside = new Set<string>();
  #bound = 1;
  #view: Readonly<Record<string, Json>> | null = null;

  /** Something is waiting to be sent. */
  get dirty(): boolean {
    return this.#pending.size > 0;
  }

  /** All of the patch or, where it throws, none of it. */
  merge(patch: Readonly<Record<string, unknown>>): void {
    this.#apply(this.#encode(patch), true);
  }

  /** A patch from outside: not sent back. What the worker published itself and has not sent yet is the newer word. */
  mergeOutside(patch: Readonly<Record<string, unknown>>): void {
    const changes = this.#encode(patch);
    for (const key of changes.keys()) if (this.#pending.has(key)) changes.delete(key);
    this.#apply(changes, false);
  }

  /** The line that sends everything that waits. */
  pendingLine(): string {
    return `{"state":${this.#textOf(this.#pending)}}`;
  }

  #textOf(keys: Iterable<string>): string {
    const members: string[] = [];
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) members.push(`${JSON.stringify(key)}:${textOf(entry)}`);
    }
    return `{${members.join(',')}}`;
  }

  sent(): void {
    this.#pending.clear();
  }

  /**
   * The line that says again all that the worker published, which is sent with it, and all that it heard from outside:
   * apart, as a newer one of that may be on its way to us already. `undefined`: there is none of either, and to say that
   * would be to publish.
   */
  againLine(): string | undefined {
    for (const key of this.#entries.keys()) if (!this.#outside.has(key)) this.#pending.add(key);
    if (this.#entries.size === 0) return undefined;
    const line = `{"state":${this.#textOf(this.#pending)},"heard":${this.#textOf(this.#outside)}}`;
    this.sent();
    return line;
  }

  view(): Readonly<Record<string, Json>> {
    if (this.#view !== null) return this.#view;
    const view: Record<string, Json> = Object.create(null);
    for (const [key, entry] of this.#entries) {
      view[key] = entry.text === null ? entry.plain : (JSON.parse(entry.text) as Json);
    }
    this.#view = Object.freeze(view);
    return this.#view;
  }

  #encode(patch: Readonly<Record<string, unknown>>): Map<string, Entry> {
    const changes = new Map<string, Entry>();
    for (const key of Object.keys(patch)) {
      const entry = encode(key, patch[key]);
      if (entry !== null) changes.set(key, entry);
    }
    return changes;
  }

  #apply(changes: ReadonlyMap<string, Entry>, pending: boolean): void {
    let bound = this.#bound;
    for (const [key, entry] of changes) bound += entry.bound - (this.#entries.get(key)?.bound ?? 0);
    if (bound > maxStateBytes) {
      bound = this.#measure(changes);
      if (bound > maxStateBytes) {
        throw new RangeError(
          `cannot publish: the state would be ${bound} bytes of JSON, at most ${maxStateBytes} are kept. ` +
            'Publish a summary, and write the rest to a file or the log',
        );
      }
    }
    this.#bound = bound;
    this.#view = null;
    for (const [key, entry] of changes) {
      this.#entries.set(key, entry);
      if (pending) {
        this.#pending.add(key);
        this.#outside.delete(key);
      } else this.#outside.add(key);
    }
  }

  /** The exact size after these changes; the estimates are replaced on the way. */
  #measure(changes: ReadonlyMap<string, Entry>): number {
    let bytes = 1;
    for (const [key, entry] of this.#entries) {
      const share = exactBytes(key, entry);
      this.#bound += share - entry.bound;
      entry.bound = share;
      if (!changes.has(key)) bytes += share;
    }
    for (const [key, entry] of changes) {
      entry.bound = exactBytes(key, entry);
      bytes += entry.bound;
    }
    return bytes;
  }
}
