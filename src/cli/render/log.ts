/** Lines of logs in the four formats. Writes them as they are given; decides nothing about which. */
import type { LogLine } from '../../shared/log-reader.ts';
import type { LogEntry } from '../../shared/worker.ts';
import type { Context } from '../context.ts';
import { nameColour } from './style.ts';
import { jsonText, pad, printable } from './text.ts';

export type LogFormat = 'plain' | 'raw' | 'cri' | 'json';

export interface PrinterOptions {
  readonly names: readonly string[];
  readonly format: LogFormat;
  readonly timestamps: boolean;
}

const newline = Buffer.from('\n');

export class LogPrinter {
  readonly #context: Context;
  readonly #format: LogFormat;
  readonly #timestamps: boolean;
  readonly #prefixes = new Map<string, string>();

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

  line(name: string, line: LogLine): void {
    const { stdout } = this.#context.io;
    switch (this.#format) {
      case 'raw':
        stdout.write(line.partial ? line.line : Buffer.concat([line.line, newline]));
        return;
      case 'json':
        stdout.write(`${jsonText(entryOf(name, line))}\n`);
        return;
      case 'cri':
        // Byte for byte for whoever ships it; a terminal is no shipper.
        if (stdout.isTty) stdout.write(`${criPrefix(line)}${this.#plainText(line)}\n`);
        else stdout.write(Buffer.concat([Buffer.from(criPrefix(line)), line.line, newline]));
        return;
      case 'plain':
        stdout.write(`${this.#prefixes.get(name) ?? ''}${this.#plain(line)}\n`);
        return;
      default:
        this.#format satisfies never;
    }
  }

  /** Between the runs of a worker that is followed; only where people read. */
  mark(name: string, generation: number): void {
    if (this.#format !== 'plain' || this.#context.quiet) return;
    const { style } = this.#context;
    this.#context.line(`${this.#prefixes.get(name) ?? ''}${style.paint('dim', `--- run ${generation} started ---`)}`);
  }

  #plainText({ line }: LogLine): string {
    return printable(line.toString('utf8').replace(/\r$/, ''), { colours: this.#context.style.colours });
  }

  #plain(line: LogLine): string {
    const { style } = this.#context;
    const { at } = line;
    const text = this.#plainText(line);
    return this.#timestamps ? `${style.paint('dim', timeOf(at))} ${text}` : text;
  }
}

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
export const criPrefix = ({ at, stream, partial }: Pick<LogLine, 'at' | 'stream' | 'partial'>): string =>
  `${timeOf(at).replace('Z', '000000Z')} ${stream} ${partial ? 'P' : 'F'} `;
