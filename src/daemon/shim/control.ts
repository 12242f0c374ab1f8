/**
 * What a run says on its control channel: lines of JSON, cut, checked and folded into its published state. Pure but for
 * what it holds. A worker may write anything here; nothing it writes can hurt, and each kind of fault is said once.
 */
import { type ParsedFrame, parseFrame } from '../../shared/framing.ts';
import { limits } from '../../shared/limits.ts';
import type { Exit, Json, JsonObject } from '../../shared/worker.ts';

const maxLineBytes = 1024 * 1024;
const newline = 0x0a;

/** Cuts lines; one that is too long is dropped up to its end. */
export class LineCutter {
  readonly #onLine: (line: Buffer) => void;
  readonly #onTooLong: () => void;
  #parts: Buffer[] = [];
  #bytes = 0;
  #skipping = false;

  constructor(onLine: (line: Buffer) => void, onTooLong: () => void) {
    this.#onLine = onLine;
    this.#onTooLong = onTooLong;
  }

  /** `chunk` may be written over afterwards. */
  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      this.#hold(chunk.subarray(start, end), false);
      this.#finish();
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start), true);
  }

  /** The run has ended: what it wrote without a newline counts as a line. */
  end(): void {
    if (this.#bytes > 0) this.#finish();
  }

  #hold(part: Buffer, copy: boolean): void {
    if (this.#skipping) return;
    this.#bytes += part.length;
    if (this.#bytes > maxLineBytes) {
      this.#skipping = true;
      this.#parts = [];
      this.#onTooLong();
    } else if (part.length > 0) this.#parts.push(copy ? Buffer.from(part) : part);
  }

  #finish(): void {
    const [first, ...rest] = this.#parts;
    const skipped = this.#skipping;
    this.#parts = [];
    this.#bytes = 0;
    this.#skipping = false;
    if (!skipped && first !== undefined) this.#onLine(rest.length === 0 ? first : Buffer.concat([first, ...rest]));
  }
}

export type UpMessage =
  /** `heard`: from outside, and said again. */
  | { readonly kind: 'state'; readonly patch: JsonObject; readonly heard?: true }
  | { readonly kind: 'ready' }
  | { readonly kind: 'running'; readonly threadId: number | null }
  | { readonly kind: 'exit'; readonly exit: Exit; readonly result: Json }
  | { readonly kind: 'thread-exited'; readonly run: string; readonly exit: Exit }
  | { readonly kind: 'rubbish'; readonly why: string };

/** One line may say several things; they are taken in the order the protocol wants them. */
export const parseUpLine = (line: Buffer): readonly UpMessage[] => {
  const parsed: ParsedFrame = parseFrame(line);
  if (!parsed.ok) return [{ kind: 'rubbish', why: parsed.why }];
  const { value } = parsed;
  if (!isObject(value)) return [{ kind: 'rubbish', why: 'it is not an object' }];
  const messages: UpMessage[] = [];
  for (const [member, read] of readers) {
    if (Object.hasOwn(value, member)) messages.push(read(value[member], value));
  }
  return messages.length > 0 ? messages : [{ kind: 'rubbish', why: 'it says nothing that is known here' }];
};

type Reader = (member: unknown, line: Readonly<Record<string, unknown>>) => UpMessage;

const readers: readonly (readonly [string, Reader])[] = [
  [
    'state',
    (state) => (isObject(state) ? { kind: 'state', patch: state as JsonObject } : rubbish('state', 'an object')),
  ],
  [
    'heard',
    (heard) =>
      isObject(heard) ? { kind: 'state', patch: heard as JsonObject, heard: true } : rubbish('heard', 'an object'),
  ],
  ['progress', (progress) => readProgress(progress)],
  [
    'running',
    (running, { threadId }) =>
      running === true
        ? { kind: 'running', threadId: Number.isSafeInteger(threadId) ? (threadId as number) : null }
        : rubbish('running', 'true'),
  ],
  ['ready', (ready) => (ready === true ? { kind: 'ready' } : rubbish('ready', 'true'))],
  [
    'exit',
    (exit, { result }) => {
      const own = readExit(exit);
      return own === null
        ? rubbish('exit', 'how the run ended')
        : { kind: 'exit', exit: own, result: own.kind === 'returned' ? ((result ?? null) as Json) : null };
    },
  ],
  [
    'threadExited',
    (said) => {
      const exit = isObject(said) ? readExit(said['exit']) : null;
      return isObject(said) && typeof said['run'] === 'string' && exit !== null
        ? { kind: 'thread-exited', run: said['run'], exit }
        : rubbish('threadExited', 'a run and how it ended');
    },
  ],
];

const rubbish = (member: string, wanted: string): UpMessage => ({
  kind: 'rubbish',
  why: `${member} must be ${wanted}`,
});

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const readProgress = (progress: unknown): UpMessage => {
  if (!isObject(progress)) return rubbish('progress', 'an object');
  const { done, total = null, unit = null } = progress;
  if (typeof done !== 'number' || !Number.isFinite(done)) return rubbish('progress.done', 'a number');
  if (total !== null && (typeof total !== 'number' || !Number.isFinite(total)))
    return rubbish('progress.total', 'a number');
  if (unit !== null && typeof unit !== 'string') return rubbish('progress.unit', 'text');
  return { kind: 'state', patch: { progress: { done, total, unit } } };
};

const maxTextLength = 16 * 1024;
const clip = (text: unknown, other: string): string =>
  typeof text === 'string' ? (text.length > maxTextLength ? `${text.slice(0, maxTextLength)}…` : text) : other;

/** How a module's run ended, as a host tells it. */
const readExit = (exit: unknown): Exit | null => {
  if (!isObject(exit)) return null;
  switch (exit['kind']) {
    case 'returned':
    case 'terminated':
      return { kind: exit['kind'] };
    case 'code':
      return Number.isInteger(exit['code']) ? { kind: 'code', code: exit['code'] as number } : null;
    case 'lost':
      return { kind: 'lost', reason: clip(exit['reason'], 'the thread host did not say why') };
    case 'error':
      return {
        kind: 'error',
        name: clip(exit['name'], 'Error'),
        message: clip(exit['message'], ''),
        stack: exit['stack'] === null || exit['stack'] === undefined ? null : clip(exit['stack'], ''),
      };
    default:
      return null;
  }
};

/** A run's published state: patches are merged shallowly, `null` is a value, the whole stays within 64 KiB. */
export class PublishedState {
  /** Without a prototype: a member called `__proto__` is one like any other. */
  readonly #members: Record<string, Json> = Object.create(null) as Record<string, Json>;
  readonly #sizes = new Map<string, number>();
  #bytes = 2;
  #at: number | null = null;
  #revision: number;
  /** Members that were published from outside and passed on to the worker. */
  readonly #passedOn = new Set<string>();

  constructor(revision = 0) {
    this.#revision = revision;
  }

  /** As another had it: nothing new, so the revision stays. */
  takeOver(state: JsonObject, at: number | null): void {
    const revision = this.#revision;
    this.patch(state, at ?? Date.now());
    this.#revision = revision;
  }

  get value(): JsonObject | null {
    return this.#at === null ? null : this.#members;
  }
  get at(): number | null {
    return this.#at;
  }
  get revision(): number {
    return this.#revision;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** A patch from outside, as `patch`. */
  passOn(patch: JsonObject, at: number): string | null {
    const fault = this.patch(patch, at);
    if (fault === null) for (const key of Object.keys(patch)) this.#passedOn.add(key);
    return fault;
  }

  /** What a worker says, as `patch`; of what it had heard, it may not have heard the newest. */
  take({ patch, heard }: { readonly patch: JsonObject; readonly heard?: true }, at: number): string | null {
    if (heard === undefined) return this.patch(patch, at);
    const older = Object.entries(patch).filter(([key]) => !this.#passedOn.has(key));
    return older.length === 0 ? null : this.patch(Object.fromEntries(older), at);
  }

  /** Gives back why a patch was refused; then nothing of it was taken. */
  patch(patch: JsonObject, at: number): string | null {
    let bytes = this.#bytes;
    const sizes: [string, number][] = [];
    for (const key of Object.keys(patch)) {
      // The key, its colon and a comma.
      const size = Buffer.byteLength(JSON.stringify(key)) + 2 + Buffer.byteLength(JSON.stringify(patch[key]));
      bytes += size - (this.#sizes.get(key) ?? 0);
      sizes.push([key, size]);
    }
    if (bytes > limits.maxStateBytes) {
      return `the state would be ${bytes} bytes of JSON, at most ${limits.maxStateBytes} are kept; nothing of this was taken`;
    }
    for (const [key, size] of sizes) {
      this.#sizes.set(key, size);
      this.#members[key] = patch[key] as Json;
    }
    this.#bytes = bytes;
    this.#at = at;
    this.#revision += 1;
    return null;
  }
}

/** Why a result is not kept, or `null`. */
export const resultFault = (result: Json): string | null => {
  const bytes = Buffer.byteLength(JSON.stringify(result));
  return bytes > limits.maxResultBytes
    ? `the result is ${bytes} bytes of JSON, at most ${limits.maxResultBytes} are kept: it is dropped`
    : null;
};
