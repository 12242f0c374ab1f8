/**
 * What every verb is given: where to write, how to paint, the connection (opened when first asked for, the daemon
 * started where that is allowed), and the signal that Ctrl-C sets.
 */
import type { Socket } from 'node:net';
import { type Client, dial, type MethodName, type ParamsInput, type Result } from '../shared/client.ts';
import { openSocket } from '../shared/connection.ts';
import { WorkerdError } from '../shared/errors.ts';
import { checkSocketPath, type Places, resolvePlaces } from '../shared/paths.ts';
import type { Args } from './args.ts';
import type { Io, Output } from './io.ts';
import { type Asked, nextStep } from './next-step.ts';
import { makeStyle, type Style, takesUnicode } from './render/style.ts';
import { jsonText, printable } from './render/text.ts';
import { parseChoice } from './values.ts';

/** How long a verb that is under way waits for a daemon that went away. */
const reconnectMs = 30_000;
const sayAwayAfterMs = 1000;

export class Context {
  readonly io: Io;
  readonly verb: string;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly style: Style;
  readonly errorStyle: Style;
  readonly home: string | undefined;
  readonly socket: string | undefined;
  /** Set by Ctrl-C; what waits ends with exit code 130. */
  readonly signal: AbortSignal;
  /** Takes what is said while a screen is open: a line beside it would shift all that is drawn. */
  onScreen: ((text: string) => void) | null = null;
  readonly #noAutostart: boolean;
  #places: Places | null = null;
  #client: Promise<Client> | null = null;
  #dialled = false;
  #awayNote: NodeJS.Timeout | undefined;

  constructor({ io, verb, args, signal }: { io: Io; verb: string; args: Args; signal: AbortSignal }) {
    this.io = io;
    this.verb = verb;
    this.signal = signal;
    this.json = args.flag('json');
    this.quiet = args.flag('quiet');
    this.home = args.value('home');
    this.socket = args.value('socket');
    this.#noAutostart = args.negated('autostart') || io.env['WORKERD_AUTOSTART'] === '0';
    const when = parseChoice(args.value('color') ?? 'auto', '--color', ['auto', 'always', 'never']);
    this.style = styleOf(io.stdout, io.env, when);
    this.errorStyle = styleOf(io.stderr, io.env, when);
  }

  get places(): Places {
    this.#places ??= resolvePlaces({ home: this.home, socket: this.socket, env: this.io.env, uid: this.io.uid });
    return this.#places;
  }

  /** Where the daemon writes when nobody else takes what it says. */
  get daemonLog(): string | undefined {
    try {
      return this.places.daemonLog;
    } catch {
      return undefined;
    }
  }

  /** Columns of standard output's terminal; `null` where it is none. COLUMNS has the last word. */
  get width(): number | null {
    const size = this.io.stdout.size();
    if (size === null) return null;
    const asked = Number(this.io.env['COLUMNS']);
    return Number.isInteger(asked) && asked > 0 ? asked : size.columns;
  }

  now(): number {
    return Date.now();
  }

  /** A line of the result. */
  line(text: string): void {
    this.io.stdout.write(`${text}\n`);
  }

  /** A result as JSON, on one line. */
  result(value: unknown): void {
    this.line(jsonText(value));
  }

  /** Talk, on standard error, or on the screen that is drawn on the same terminal; `-q` wants none. */
  note(text: string): void {
    if (this.quiet) return;
    if (this.onScreen !== null && this.io.stderr.isTty) this.onScreen(printable(text));
    else this.io.stderr.write(`workerctl: ${printable(text)}\n`);
  }

  /** The result in words: nothing with `-q`, and nothing with `--json`, which has its own. */
  say(text: string): void {
    if (!this.quiet && !this.json) this.line(text);
  }

  /** An error of one among several names; the others go on. Returns its exit code. */
  fail(error: unknown): number {
    if (!(error instanceof WorkerdError)) throw error;
    const { io, json, errorStyle, verb, daemonLog } = this;
    reportError({ io, json, errorStyle, verb, daemonLog }, error);
    return error.exitCode;
  }

  client(): Promise<Client> {
    this.#client ??= this.#dial();
    return this.#client;
  }

  async call<M extends MethodName>(method: M, params: ParamsInput<M>): Promise<Result<M>> {
    return (await this.client()).call(method, params, { signal: this.signal });
  }

  #dial(): Promise<Client> {
    const { socket: path } = this.places;
    checkSocketPath(path);
    const open = (signal: AbortSignal | undefined) => this.#open(path, signal ?? this.signal);
    const greeting = { client: 'workerctl', via: `workerctl ${this.verb}` };
    return dial({ path, ...greeting, reconnectMs, open, onAway: (away) => this.#away(away) }, this.signal);
  }

  async #open(path: string, signal: AbortSignal): Promise<Socket> {
    const first = !this.#dialled;
    this.#dialled = true;
    try {
      return await openSocket(path, signal);
    } catch (error) {
      if (!(error instanceof WorkerdError) || this.#noAutostart || !this.#mayStart(error, first)) throw error;
      const { connectOrStart } = await import('./autostart.ts');
      return connectOrStart({
        places: this.places,
        program: this.io.daemonProgram(),
        env: this.io.env,
        connect: () => openSocket(path, signal),
        signal,
        onStarted: (pid) => this.note(`started the daemon (pid ${pid})`),
      });
    }
  }

  /** `start` and `run` where there is no socket; every verb where one was left behind by a crash. */
  #mayStart({ data }: WorkerdError, first: boolean): boolean {
    if (data['reason'] !== 'no socket') return false;
    return data['stale'] === true || (first && (this.verb === 'start' || this.verb === 'run'));
  }

  /** Said where it lasts; a daemon that is replaced is back before anybody notices. */
  #away(away: boolean): void {
    clearTimeout(this.#awayNote);
    if (!away) return;
    this.#awayNote = setTimeout(() => {
      this.note(`the daemon went away; waiting up to ${reconnectMs / 1000} s for it to come back`);
    }, sayAwayAfterMs);
    this.#awayNote.unref();
  }

  async close(): Promise<void> {
    try {
      (await this.#client)?.close();
    } catch {
      // It was never opened, and that has been said.
    }
  }
}

export const styleOf = (output: Output, env: Io['env'], when: 'auto' | 'always' | 'never'): Style => {
  const noColor = env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== '';
  const auto = output.isTty && !noColor && env['TERM'] !== 'dumb';
  return makeStyle({ colours: when === 'always' || (when === 'auto' && auto), unicode: takesUnicode(env) });
};

/** On standard output as JSON, or on standard error in words. */
export const reportError = (
  { io, json, errorStyle, ...asked }: Pick<Context, 'io' | 'json' | 'errorStyle'> & Asked,
  error: WorkerdError,
): void => {
  if (json) {
    io.stdout.write(`${jsonText({ error: { code: error.code, message: error.message, data: error.data } })}\n`);
    return;
  }
  const next = nextStep(error, asked);
  const message = next === '' ? error.message : `${error.message}${/[.!?]$/.test(error.message) ? '' : '.'} ${next}`;
  io.stderr.write(`${errorStyle.paint('red', 'workerctl:')} ${printable(message)}\n`);
};
