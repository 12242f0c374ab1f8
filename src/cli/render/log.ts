/** Lines of logs in the four formats. Shows them as they are given; decides nothing about which. */
import { type LogBlock, type LogLine, type Lost, linesIn } from '../../shared/log-lines.ts';
import type { LogEntry } from '../../shared/worker.ts';
import type { Context } from '../context.ts';
import { nameColour } from './style.ts';
import { isPlain, jsonText, pad, printable } from './text.ts';

export type LogFormat = 'plain' | 'raw' | 'cri' | 'json';

export interface PrinterOptions {
  readonly names: readonly string[];
  readonly format: LogFormat;
  readonly timestamps: boolean;
}

export interface Gap extends Pick<LogBlock, 'generation' | 'at'> {
  readonly lost: Lost;
}

export const gapInWords = ({ generation, at, lost: { bytes, why } }: Gap): string => {
  const missing = bytes === 1 ? `1 byte of run ${generation} is` : `${bytes} bytes of run ${generation} are`;
  const reason =
    why === 'unwritten'
      ? `its log could not be written until ${timeOf(at)}`
      : 'rotated away or deleted before it was read up to here';
  return `${missing} missing here: ${reason}`;
};

/** Written to the terminal or the pipe at a time, about: a call for each line would cost more than the line. */
const writeBytes = 64 * 1024;

export class LogPrinter {
  readonly #context: Context;
  readonly #format: LogFormat;
  readonly #timestamps: boolean;
  readonly #prefixes = new Map<string, string>();
  #pending: (string | Buffer)[] = [];
  #pendingBytes = 0;

  constructor(context: Context, { names, format, timestamps }: PrinterOptions) {
    this.#context = context;
    this.#format = format;
    this.#timestamps = timestamps;
    const width = Math.max(0, ...names.map((name) => name.length));
    for (const name of names) {
      const prefix = names.length > 1 ? `${context.style.paint(nameColour(name), `${pad(name, width)} |`)} ` : '';
      this.#prefixes.set(name, prefix);
    }
  }

  /** Shown with the next `flush` at the latest. */
  print(name: string, block: LogBlock): void {
    const { lost } = block;
    if (lost !== undefined) {
      this.gap(name, { ...block, lost });
      return;
    }
    switch (this.#format) {
      case 'raw':
        this.#put(block.bytes);
        return;
      case 'json':
        for (const line of linesIn([block])) this.#put(`${jsonText(entryOf(name, line))}\n`);
        return;
      case 'cri':
        // Byte for byte for whoever ships it; a terminal is no shipper.
        if (this.#context.io.stdout.isTty) this.#put(prefixed(criPrefix(block), this.#text(block)));
        else this.#put(Buffer.from(prefixed(criPrefix(block), ended(block, block.bytes.toString('latin1'))), 'latin1'));
        return;
      case 'plain': {
        const prefix = this.#prefixOf(name, block);
        if (prefix === '' && !block.partial && isPlain(block.bytes)) this.#put(block.bytes);
        else this.#put(prefixed(prefix, this.#text(block)));
        return;
      }
      default:
        this.#format satisfies never;
    }
  }

  /**
   * Between the runs of a worker that is followed; only where people read. Talk, like all that no worker has written: on
   * stderr no worker's line can be taken for it, nor it for a line.
   */
  mark(name: string, generation: number): void {
    this.flush();
    if (this.#format === 'plain') this.#context.note(`${name}: run ${generation} started`);
  }

  /** Where bytes are missing, in every format. */
  gap(name: string, gap: Gap): void {
    this.flush();
    this.#context.note(`${name}: ${gapInWords(gap)}`);
  }

  flush(): void {
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    const { stdout } = this.#context.io;
    if (pending.length === 0) return;
    if (pending.every((part) => typeof part === 'string')) stdout.write(pending.join(''));
    else stdout.write(Buffer.concat(pending.map((part) => (typeof part === 'string' ? Buffer.from(part) : part))));
  }

  #put(part: string | Buffer): void {
    this.#pending.push(part);
    this.#pendingBytes += part.length;
    if (this.#pendingBytes >= writeBytes) this.flush();
  }

  #prefixOf(name: string, { at }: LogBlock): string {
    const prefix = this.#prefixes.get(name) ?? '';
    return this.#timestamps ? `${prefix}${this.#context.style.paint('dim', timeOf(at))} ` : prefix;
  }

  /** Lines that no terminal takes for more than text, each with its newline. */
  #text(block: LogBlock): string {
    if (isPlain(block.bytes)) return ended(block, block.bytes.toString('latin1'));
    const { colours } = this.#context.style;
    let text = block.bytes.toString('utf8');
    if (text.includes('\r')) text = text.replace(/\r(?=\n|$)/g, '');
    // A line that begins a colour ends it: the next one may be another worker's.
    const own = colours && text.includes('\x1b');
    const shown = own ? text.replace(/[^\n]+/g, (line) => printable(line, { colours })) : printable(text);
    return ended(block, shown);
  }
}

/** The text of a block as lines. */
const ended = ({ partial }: LogBlock, text: string): string => (partial ? `${text}\n` : text);

/** Each line of the text with this before it. */
const prefixed = (prefix: string, text: string): string =>
  prefix === '' ? text : `${prefix}${text.slice(0, -1).replaceAll('\n', () => `\n${prefix}`)}\n`;

const timeOf = (at: number): string => new Date(at).toISOString();

export const entryOf = (name: string, { generation, at, stream, line, partial }: LogLine): LogEntry => ({
  name,
  generation,
  at: timeOf(at),
  stream,
  line: line.toString('utf8'),
  partial,
});

/** As the kubelet writes them: `2016-10-06T00:17:09.669794202Z stdout F text`, P where the line goes on. */
export const criPrefix = ({ at, stream, partial }: Pick<LogBlock, 'at' | 'stream' | 'partial'>): string =>
  `${timeOf(at).replace('Z', '000000Z')} ${stream} ${partial ? 'P' : 'F'} `;
