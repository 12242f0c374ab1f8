/** commander: a verb's line read by its spec, and mistakes told in our words. Loaded only when needed. */
import { Command, Option } from 'commander';
import { Args, globalOptions, type OptionSpec, type VerbSpec } from './args.ts';
import { usage } from './values.ts';

/** Help was asked for, among other words. */
export class HelpAsked extends Error {
  override readonly name = 'HelpAsked';
  readonly verb: string;
  constructor(verb: string) {
    super('help was asked for');
    this.verb = verb;
  }
}

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

const addOptions = (command: Command, options: readonly OptionSpec[], hidden: ReadonlySet<string>): void => {
  for (const { flags, text, repeat } of options) {
    const option = new Option(flags, text);
    if (hidden.has(option.attributeName())) continue;
    if (repeat) option.argParser(collect);
    command.addOption(option);
  }
};

const build = (verb: string, spec: VerbSpec): Command => {
  const command = new Command(verb)
    .usage(spec.usage)
    .helpOption('-h, --help', 'show this help')
    .allowExcessArguments(true)
    .argument('[words...]')
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} });
  command.name(`workerctl ${verb}`);
  addOptions(command, spec.options, new Set());
  const own = new Set(command.options.map((option) => option.attributeName()));
  // A verb's own short flag (`logs -n`, `start -q`) stands before the global one.
  addOptions(command, globalOptions, own);
  return command;
};

export const parseLine = (verb: string, spec: VerbSpec, words: readonly string[]): Args => {
  const cut = spec.takesCommand ? words.indexOf('--') : -1;
  const own = cut === -1 ? words : words.slice(0, cut);
  const rest = cut === -1 ? null : words.slice(cut + 1);
  const command = build(verb, spec);
  try {
    command.parse([...own], { from: 'user' });
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    if (error.code === 'commander.helpDisplayed') throw new HelpAsked(verb);
    throw usage(`${plainMessage(error.message)}. See: workerctl ${verb} --help`);
  }
  const given = Object.fromEntries(
    Object.entries(command.opts() as Record<string, unknown>).filter(
      ([name]) => command.getOptionValueSource(name) !== 'default',
    ),
  );
  const { args } = command;
  if (args.length < spec.minOperands) throw usage(`${missing(spec, args.length)}. See: workerctl ${verb} --help`);
  if (args.length > spec.maxOperands) {
    const extra = args[spec.maxOperands] ?? '';
    throw usage(`${JSON.stringify(extra)} is one argument too many${commandHint(spec, verb, args)}`);
  }
  return new Args(given, args, rest);
};

/** The first operand that is not there; what stands in brackets may be left out. */
const missing = (spec: VerbSpec, given: number): string => {
  const operands = spec.usage.split(' ').filter((word) => !word.startsWith('['));
  return `${(operands[given] ?? operands.at(-1) ?? 'a word').replace('...', '')} is missing`;
};

const commandHint = (spec: VerbSpec, verb: string, args: readonly string[]): string =>
  spec.takesCommand
    ? `. To start a command: workerctl ${verb} -- ${args.join(' ')}`
    : `. See: workerctl ${verb} --help`;

/** `error: unknown option '--grce'\n(Did you mean --grace?)` in one line. */
const plainMessage = (message: string): string =>
  message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
