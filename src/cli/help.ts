/** Help as a page: what it is, how it is written, its flags by what they are for, examples, exit codes. Pure. */
import { globalOptions, type OptionSpec, type VerbSpec } from './args.ts';
import type { Style } from './render/style.ts';
import { displayWidth, pad } from './render/text.ts';

export interface PageOptions {
  readonly style: Style;
  /** Columns there are; text is wrapped to them. */
  readonly width: number;
}

/** Longer lines are hard to read. */
const mostWidth = 96;
const leastWidth = 24;
/** With less than this beside the flags, what they do goes below them. */
const leastTextWidth = 28;

/** The many flags of `start` and `run`, by what they decide; the others have one list. */
const groups: readonly (readonly [title: string, flags: readonly string[]])[] = [
  ['What it is', ['--name', '--thread', '--process', '--param', '--params']],
  ['Its surroundings', ['--env', '--env-file', '--clean-env', '--cwd', '--user', '--stdin']],
  ['Its life', ['--restart', '--enable', '--ready', '--grace', '--stop-signal', '--log-size', '--log-files']],
  ['This start', ['--if-running', '--wait', '--no-wait', '--timeout', '--rm']],
];

type Codes = readonly (readonly [code: string, meaning: string])[];
/** Where they say more than that it worked or not. */
const exitCodes: Readonly<Record<string, Codes>> = {
  start: [
    ['0', 'it runs, or ran already'],
    ['1', 'it could not be started, ended too soon, or is defined otherwise'],
    ['124', '--timeout ran out; the worker is left as it is'],
  ],
  run: [
    ['N', "the worker's own; 128+n where signal n ended it"],
    ['126, 127', 'it could not be started; 127: there is no such program'],
    ['130', 'Ctrl-C'],
  ],
  wait: [
    ['N', "for exit: the worker's own; 128+n where signal n ended it"],
    ['1', 'it can no longer come true'],
    ['124', '--timeout ran out'],
  ],
  status: [
    ['0', 'all that were named run; without names always'],
    ['3', 'one of them does not run'],
    ['4', 'there is no such worker'],
  ],
  stop: [
    ['0', 'it is stopped, or was so already'],
    ['4', 'there is no such worker'],
  ],
  watch: [
    ['0', 'all that were named have ended'],
    ['130', 'Ctrl-C; the workers go on'],
  ],
  doctor: [
    ['0', 'nothing fails; there may be warnings'],
    ['1', 'something fails'],
  ],
  rm: [
    ['1', 'it runs, and --force was not given'],
    ['4', 'there is no such worker'],
  ],
};

/** Words broken at spaces; a word that is too long has a line of its own. */
export const wrap = (text: string, width: number): readonly string[] => {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && displayWidth(line) + 1 + displayWidth(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
};

const roomOf = (width: number): number => Math.max(leastWidth, Math.min(width, mostWidth));

type Rows = readonly (readonly [term: string, text: string])[];

const columnOf = (rows: Rows): number => Math.max(...rows.map(([term]) => displayWidth(term))) + 2;

/** Terms and what they mean, in two columns; one below the other where it is narrow. */
const terms = (rows: Rows, room: number, column = columnOf(rows)): readonly string[] => {
  const left = room - 2 - column;
  return rows.flatMap(([term, text]) => {
    if (left < leastTextWidth) return [`  ${term}`, ...wrap(text, room - 10).map((line) => `          ${line}`)];
    const [first = '', ...rest] = wrap(text, left);
    return [`  ${pad(term, column)}${first}`, ...rest.map((line) => `  ${' '.repeat(column)}${line}`)];
  });
};

const longOf = (flags: string): string => /--[a-z-]+/.exec(flags)?.[0] ?? flags;

/** Long names stand below each other, whether there is a letter before them or not. */
const optionRows = (options: readonly OptionSpec[]): Rows =>
  options.map(({ flags, text, repeat }) => [
    flags.startsWith('--') ? `    ${flags}` : flags,
    repeat ? `${text}; repeatable` : text,
  ]);

const optionSections = (options: readonly OptionSpec[]): readonly (readonly [string, readonly OptionSpec[]])[] => {
  const longs = new Set(options.map(({ flags }) => longOf(flags)));
  const grouped = groups.map(
    ([title, flags]) => [title, options.filter(({ flags: own }) => flags.includes(longOf(own)))] as const,
  );
  // Few flags need no groups.
  const sections = longs.has('--param') ? grouped : [];
  const placed = new Set(sections.flatMap(([, own]) => own));
  return [['Options', options.filter((option) => !placed.has(option))] as const, ...sections].filter(
    ([, own]) => own.length > 0,
  );
};

export const helpText = (verb: string, spec: VerbSpec, { style, width }: PageOptions): string => {
  const room = roomOf(width);
  const heading = (text: string): string => style.paint('bold', `${text}:`);
  const shorts = new Set(
    spec.options.flatMap(({ flags }) => flags.split(/[ ,]+/).filter((word) => word.startsWith('-'))),
  );
  // A verb's own flag stands before the global one of that letter.
  const everywhere = globalOptions.map((option) => {
    const [letter = '', rest = ''] = option.flags.split(', ');
    return rest !== '' && shorts.has(letter) ? { ...option, flags: rest } : option;
  });
  const help: OptionSpec = { flags: '-h, --help', text: 'show this help' };
  const sections = [...optionSections(spec.options), ['Everywhere', [...everywhere, help]] as const];
  const column = columnOf(sections.flatMap(([, options]) => optionRows(options)));
  const usage = wrap(`workerctl ${verb} ${spec.usage}`, room - 7);
  const codes = Object.hasOwn(exitCodes, verb) ? exitCodes[verb] : undefined;
  const lines = [
    ...usage.map((line, index) => (index === 0 ? `${heading('Usage')} ${line}` : `       ${line}`)),
    '',
    ...wrap(spec.summary, room),
    ...(spec.details === undefined ? [] : ['', ...wrap(spec.details, room)]),
    ...sections.flatMap(([title, options]) => ['', heading(title), ...terms(optionRows(options), room, column)]),
    '',
    heading('Examples'),
    ...spec.examples.flatMap(([line, what]) => [
      `  $ ${line}`,
      ...wrap(what, room - 6).map((text) => style.paint('dim', `      ${text}`)),
    ]),
    ...(codes === undefined ? [] : ['', heading('Exit codes'), ...terms(codes, room)]),
  ];
  return `${lines.join('\n')}\n`;
};

export interface OverviewPage {
  readonly title: string;
  readonly usage: string;
  readonly sections: readonly (readonly [title: string, rows: Rows])[];
  readonly notes: readonly string[];
  readonly example: { readonly title: string; readonly lines: readonly string[] };
  readonly last: string;
}

export const overviewText = (page: OverviewPage, { style, width }: PageOptions): string => {
  const room = roomOf(width);
  const column = columnOf(page.sections.flatMap(([, rows]) => rows));
  const lines = [
    ...wrap(page.title, room),
    '',
    `${style.paint('bold', 'Usage:')} ${page.usage}`,
    ...page.sections.flatMap(([title, rows]) => ['', style.paint('bold', title), ...terms(rows, room, column)]),
    '',
    ...page.notes.flatMap((note) => wrap(note, room)),
    '',
    style.paint('bold', page.example.title),
    ...page.example.lines.map((line) => `  $ ${line}`),
    '',
    ...wrap(page.last, room),
  ];
  return `${lines.join('\n')}\n`;
};
