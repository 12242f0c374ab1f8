/**
 * From argv to a verb and its words. The verb is found here; what stands around it is commander's business
 * (command-line.ts), but for a line that is written plainly, which is read here and so answered sooner.
 */
import { usage } from './values.ts';

export interface OptionSpec {
  /** As commander writes them: `-g, --grace <duration>`. */
  readonly flags: string;
  readonly text: string;
  /** May be given several times. */
  readonly repeat?: true;
}

/** What a verb takes, says of itself, and does. */
export interface VerbSpec {
  /** After the verb: `[options] NAME…`. */
  readonly usage: string;
  readonly summary: string;
  /** Below the summary in its help: a few sentences, where they teach something. */
  readonly details?: string;
  readonly options: readonly OptionSpec[];
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** What follows `--` is a command of its own and is not looked at. */
  readonly takesCommand?: true;
  /** What follows the verb is another program's line and is not looked at. */
  readonly passesOn?: true;
  readonly minOperands: number;
  readonly maxOperands: number;
}

/** A parsed line. Options are known by their long names in camelCase. */
export class Args {
  readonly operands: readonly string[];
  /** What followed `--`, for verbs that take a command; `null` without `--`. */
  readonly command: readonly string[] | null;
  readonly #options: Readonly<Record<string, unknown>>;

  constructor(
    options: Readonly<Record<string, unknown>>,
    operands: readonly string[],
    command: readonly string[] | null = null,
  ) {
    this.#options = options;
    this.operands = operands;
    this.command = command;
  }

  flag(name: string): boolean {
    return this.#options[name] === true;
  }

  /** `--no-NAME` was given. */
  negated(name: string): boolean {
    return this.#options[name] === false;
  }

  value(name: string): string | undefined {
    const value = this.#options[name];
    return typeof value === 'string' ? value : undefined;
  }

  list(name: string): readonly string[] {
    const value = this.#options[name];
    return Array.isArray(value) ? (value as string[]) : [];
  }

  /** These options, and a line for another program: its own first word, our flags, the rest. */
  passingOn(flags: readonly string[], line: readonly string[]): Args {
    const split = line[0]?.startsWith('-') === false ? 1 : 0;
    return new Args(this.#options, [...line.slice(0, split), ...flags, ...line.slice(split)]);
  }

  /** Names of the options that were given. */
  get given(): readonly string[] {
    return Object.keys(this.#options);
  }
}

export const globalOptions: readonly OptionSpec[] = [
  { flags: '--json', text: 'print JSON, one object a line' },
  { flags: '-q, --quiet', text: 'print names only, or nothing' },
  { flags: '--color <when>', text: 'auto, always or never (also NO_COLOR)' },
  { flags: '--home <dir>', text: "the daemon's home (also WORKERD_HOME)" },
  { flags: '--socket <path>', text: "the daemon's socket (also WORKERD_SOCKET)" },
  { flags: '--no-autostart', text: 'never start the daemon (also WORKERD_AUTOSTART=0)' },
];

const takesValue: ReadonlySet<string> = new Set(['--color', '--home', '--socket']);

export interface FoundVerb {
  readonly verb: string | null;
  /** What stands before the verb, and after it. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** Asked for before any verb. */
  readonly help: boolean;
  readonly version: boolean;
}

export const findVerb = (argv: readonly string[]): FoundVerb => {
  let help = false;
  let version = false;
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? '';
    if (word === '--') throw usage('-- needs a verb before it, such as: workerctl start -- COMMAND');
    if (!word.startsWith('-')) {
      return { verb: word, before: argv.slice(0, index), after: argv.slice(index + 1), help, version };
    }
    if (word === '--help' || word === '-h') help = true;
    if (word === '--version' || word === '-V') version = true;
    if (takesValue.has(word)) index += 1;
  }
  return { verb: null, before: argv, after: [], help, version };
};

interface KnownOption {
  /** Its long name in camelCase, without `no-`. */
  readonly name: string;
  readonly takesValue: boolean;
  readonly repeat: boolean;
  readonly negated: boolean;
}

const camelCase = (long: string): string => long.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** By each of its words. A verb's own option stands before a global one of the same name or letter. */
const knownOptions = (spec: VerbSpec): ReadonlyMap<string, KnownOption> => {
  const known = new Map<string, KnownOption>();
  const names = new Set<string>();
  for (const options of [spec.options, globalOptions]) {
    const own = options === spec.options;
    for (const { flags, repeat } of options) {
      const match = /^(?:(-\w), )?--(no-)?([a-z-]+)( <.+>)?$/.exec(flags);
      if (match === null) continue;
      const [, short, no, long = '', value] = match;
      const name = camelCase(long);
      if (own) names.add(name);
      else if (names.has(name)) continue;
      const option = { name, takesValue: value !== undefined, repeat: repeat === true, negated: no !== undefined };
      for (const word of [short, `--${no ?? ''}${long}`])
        if (word !== undefined && !known.has(word)) known.set(word, option);
    }
  }
  return known;
};

/**
 * A line as commander would read it, where it is written plainly: each flag a word of its own, its value the next word
 * or behind `=`. `null`: leave it to commander, which also knows how to say what is wrong.
 */
export const readPlain = (words: readonly string[], spec: VerbSpec): Args | null => {
  const cut = spec.takesCommand ? words.indexOf('--') : -1;
  const own = cut === -1 ? words : words.slice(0, cut);
  const known = knownOptions(spec);
  const options: Record<string, unknown> = {};
  const operands: string[] = [];
  for (let index = 0; index < own.length; index += 1) {
    const word = own[index] ?? '';
    if (!word.startsWith('-')) {
      operands.push(word);
      continue;
    }
    const equals = word.startsWith('--') ? word.indexOf('=') : -1;
    const option = known.get(equals === -1 ? word : word.slice(0, equals));
    if (option === undefined) return null;
    const { name } = option;
    if (!option.takesValue) {
      if (equals !== -1) return null;
      options[name] = !option.negated;
      continue;
    }
    const value = equals === -1 ? own[index + 1] : word.slice(equals + 1);
    if (value === undefined || value === '' || value.startsWith('-')) return null;
    if (equals === -1) index += 1;
    options[name] = option.repeat ? [...((options[name] as readonly string[] | undefined) ?? []), value] : value;
  }
  const fits = operands.length >= spec.minOperands && operands.length <= spec.maxOperands;
  return fits ? new Args(options, operands, cut === -1 ? null : words.slice(cut + 1)) : null;
};
