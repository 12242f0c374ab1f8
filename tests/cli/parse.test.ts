import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Args, findVerb, readPlain } from '../../src/cli/args.ts';
import { parseLine } from '../../src/cli/command-line.ts';
import { start } from '../../src/cli/commands/start.ts';
import { stop } from '../../src/cli/commands/stop.ts';
import { nameFrom } from '../../src/cli/definition.ts';
import { parseEnvFile } from '../../src/cli/env-file.ts';
import { nearest, pairsToObject, parseDuration, parseSignal, parseSize, parseTime } from '../../src/cli/values.ts';
import { cli } from './cli.ts';

describe('durations', () => {
  test.each([
    ['0', 0],
    ['500ms', 500],
    ['10s', 10_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1h30m', 5_400_000],
  ])('%s', (text, ms) => {
    expect(parseDuration(text, '--grace')).toBe(ms);
  });

  test.each(['10', '1.5', '', 's', '-1s', '10 s', '10S', '1e3s', '25d', 'NaNs'])('%j is refused', (text) => {
    expect(() => parseDuration(text, '--grace')).toThrow(/^--grace: /);
  });
});

describe('sizes', () => {
  test.each([
    ['1KiB', 1024],
    ['10MiB', 10_485_760],
    ['1GiB', 1_073_741_824],
    ['2MB', 2_000_000],
    ['1.5KiB', 1536],
    ['2048B', 2048],
  ])('%s', (text, bytes) => {
    expect(parseSize(text, '--log-size')).toBe(bytes);
  });
  test.each(['10', '0', '1023B', '10XB', '-1KiB', '2000GiB'])('%j is refused', (text) => {
    expect(() => parseSize(text, '--log-size')).toThrow(/^--log-size: /);
  });
});

test('signals, in any form', () => {
  for (const text of ['TERM', 'term', 'SIGTERM', 'sigterm', '15']) {
    expect(parseSignal(text, 'SIGNAL', constants.signals)).toBe('SIGTERM');
  }
  for (const text of ['', 'NOPE', '0', '99', '__proto__']) {
    expect(() => parseSignal(text, 'SIGNAL', constants.signals)).toThrow('is not a signal');
  }
});

test('times: that long ago, or RFC 3339', () => {
  expect(parseTime('5m', '--since', 1_000_000)).toBe(700_000);
  expect(parseTime('1970-01-01T01:00:01+01:00', '--since', 0)).toBe(1000);
  expect(parseTime('40d', '--since', 40 * 86_400_000)).toBe(0);
  expect(() => parseTime('2026-13-01T00:00:00Z', '--since', 0)).toThrow('nor a time');
  expect(() => parseTime('5', '--since', 0)).toThrow('did you mean 5s?');
  expect(() => parseTime('yesterday', '--since', 0)).toThrow(
    '--since: "yesterday" is neither a duration such as 5m nor a time such as 2026-01-02T03:04:05Z',
  );
});

test('pairs: JSON where it parses; __proto__ is a key like any other', () => {
  const object = pairsToObject(['n=1', 't=x=y', 'o={"a":[]}', '__proto__={"x":1}'], '-p');
  expect(JSON.stringify(object)).toBe('{"n":1,"t":"x=y","o":{"a":[]},"__proto__":{"x":1}}');
  expect(({} as { x?: number }).x).toBeUndefined();
  expect(() => pairsToObject(['=1'], '-p')).toThrow('KEY=VALUE');
});

test('environment files', () => {
  const text = '# comment\n\nA=1\nexport B = two words # note\nC="x \\"y\\" #\\n" # z\nD=\'$raw\'\r\nE=\n';
  expect({ ...parseEnvFile(text, 'f') }).toEqual({ A: '1', B: 'two words', C: 'x "y" #\n', D: '$raw', E: '' });
  expect(() => parseEnvFile('A=1\nnonsense', 'f')).toThrow('f, line 2');
  expect(() => parseEnvFile('A="open', 'f')).toThrow('quote is not closed');
});

test('names derived from files and programs', () => {
  expect(
    ['./a/counter.ts', '/usr/bin/python3', '../x y.mjs', '.hidden', '日本', 'a.b.cjs', `${'n'.repeat(99)}.ts`].map(
      nameFrom,
    ),
  ).toEqual(['counter', 'python3', 'x-y', 'hidden', 'worker', 'a.b', 'n'.repeat(64)]);
});

describe('the line', () => {
  test('the verb is the first word that is no flag and no value of one', () => {
    expect(findVerb(['--home', '/x', '--json', 'stop', 'a'])).toMatchObject({
      verb: 'stop',
      before: ['--home', '/x', '--json'],
      after: ['a'],
    });
    expect(findVerb(['--json']).verb).toBeNull();
    expect(() => findVerb(['--', 'x'])).toThrow('needs a verb');
  });

  /** All that can be asked of parsed words, by every name that either parser knows. */
  const shown = (args: Args) => {
    const given = [...args.given].sort();
    const ask = (name: string) => [name, args.flag(name), args.negated(name), args.value(name), args.list(name)];
    return { operands: args.operands, command: args.command, options: given.map(ask) };
  };

  test.each([
    ['stop', stop.spec, ['a', 'b']],
    ['stop', stop.spec, ['--json', 'a']],
    ['stop', stop.spec, ['-q', 'a', '--home', '/x', '--socket=/s', '--color', 'never', '--no-autostart']],
    ['stop', stop.spec, ['--grace', '1s', 'a', '--no-wait', '--force']],
    ['start', start.spec, ['-n', 'a', '--', 'sh', '-c', 'exit 1', '--']],
    ['start', start.spec, ['x.ts', '-p', 'a=1', '--param=b=2', '--wait', 'running', '--no-wait']],
    ['start', start.spec, ['x.ts', '--no-wait', '--wait', 'running', '-e', 'A', '-e', 'B=c', '--stop-signal', 'INT']],
  ] as const)('%s %j is read as commander reads it', (verb, spec, words) => {
    const plain = readPlain(words, spec);
    expect(plain).not.toBeNull();
    expect(plain === null ? null : shown(plain)).toEqual(shown(parseLine(verb, spec, words)));
  });

  test('whatever is read plainly is read as commander reads it', () => {
    const flags = start.spec.options.flatMap(({ flags: text }) => text.replace(/ <.*$/, '').split(', '));
    const word = fc.oneof(
      fc.constantFrom(...flags, '--json', '-q', '--home', '--grace=1s', '--'),
      fc.constantFrom('a', 'b=1', 'x.ts', '10s'),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 7 }), (words) => {
        const plain = readPlain(words, start.spec);
        if (plain !== null) expect(shown(plain)).toEqual(shown(parseLine('start', start.spec, words)));
      }),
      { seed: 4711, numRuns: 2000 },
    );
  });

  test.each([
    [['--grace']],
    [['--', 'a']],
    [['--home']],
    [['--home=']],
    [['-x']],
    [['--grace', '-1s', 'a']],
  ])('%j is left to commander', (words) => {
    expect(readPlain(words, stop.spec)).toBeNull();
  });

  test('the nearest word', () => {
    expect(nearest('stauts', ['start', 'status', 'stop'])).toBe('status');
    expect(nearest('sotp', ['start', 'status', 'stop'])).toBe('stop');
    // What it begins is meant, though another word is nearer.
    expect(nearest('stat', ['start', 'status', 'stop'])).toBe('status');
    expect(nearest('sta', ['start', 'status', 'stop'])).toBe('start');
    expect(nearest('frobnicate', ['start', 'status', 'stop'])).toBeNull();
  });
});

describe('mistakes are told, with exit code 2, before the daemon hears of them', () => {
  test.each([
    [['stpo', 'x'], 'Did you mean stop?'],
    [['completion'], 'there is no command "completion"'],
    [['stop', '--grce', '1s', 'x'], '--grace'],
    [['stop'], 'NAME is missing'],
    [['stop', '--all', 'x'], 'exclude each other'],
    [['stop', '../x'], "cannot be a worker's name"],
    [['stop', 'x', '--grace', '10'], 'did you mean 10s?'],
    [['wait'], 'NAME is missing'],
    [['wait', 'x', '--for', 'ever'], 'none of exit, running, ready, stopped'],
    [['start'], 'what to start is missing'],
    [['start', 'a', 'b'], 'one argument too many'],
    [['start', '--'], 'command after -- is missing'],
    [['start', 'x', '--', 'y'], 'exclude each other'],
    [['start', 'web', '--grace', '5s'], '--grace is part of a definition'],
    [['start', '--thread', '--', 'x'], '--thread is for modules'],
    [['start', './x.ts', '--thread', '--process'], 'exclude each other'],
    [['start', './x.ts', '--thread', '--user', 'nobody'], 'has no user of its own'],
    [['start', './x.ts', '--thread', '--stdin'], 'reaches ctx.messages'],
    [['start', '-n', '-rf', '--', 'x'], "cannot be a worker's name"],
    [['start', '-e', 'UNSET_HERE', '--', 'x'], 'not set in your environment'],
    [['start', '--params', '{', './x.ts'], '--params is not valid JSON'],
    [['start', '--params', '1', '-p', 'a=1', './x.ts'], 'must be an object'],
    [['start', '--restart', 'maybe', '--', 'x'], 'none of no, on-failure, always'],
    [
      ['start', '--env-file', '/nowhere/env', '--', 'x'],
      'cannot read /nowhere/env: no such file or directory (ENOENT)',
    ],
    [['logs', 'x', '--raw', '--format', 'cri'], 'one format at a time'],
    [['logs', 'x', '-n', '-5'], '-n'],
    [['status', '--color', 'pink'], 'none of auto, always, never'],
    [['signal', 'x', 'NOPE'], 'is not a signal'],
    [['rpc', 'status', '['], 'what follows METHOD is not valid JSON'],
    [['--nope', 'status'], 'unknown option'],
  ])('%j', async (argv, message) => {
    const { code, out, err } = await cli([...argv]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(message);
    expect(err).toMatch(/^workerctl: .+\n$/);
    const json = await cli(['--json', ...argv.filter((word) => word !== '--json')]);
    if (!argv.includes('--json')) expect(JSON.parse(json.out)).toMatchObject({ error: { code: 'usage' } });
  });
});

test('an environment file is read from the directory of the caller', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'workerctl-test-'));
  try {
    writeFileSync(join(cwd, 'e'), 'A=1\nbad');
    expect((await cli(['start', '--env-file', 'e', '--', 'x'], { cwd })).err).toContain('line 2');
  } finally {
    rmSync(cwd, { recursive: true });
  }
});

describe('help', () => {
  const verbs = ['start', 'run', 'stop', 'restart', 'status', 'watch', 'logs', 'wait', 'signal', 'send', 'publish'];
  test.each([
    ...verbs,
    'enable',
    'disable',
    'rm',
    'history',
    'rpc',
  ])('%s has a usage, flags and examples', async (verb) => {
    const { code, out, err } = await cli([verb, '--help']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(new RegExp(`^Usage: workerctl ${verb} `));
    expect(out).toContain('--json');
    expect(out).toMatch(/\nExamples:\n {2}\$ workerctl /);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    expect((await cli(['help', verb])).out).toBe(out);
  });

  test('the overview names every verb', async () => {
    const { out, code } = await cli(['--help']);
    expect(code).toBe(0);
    for (const verb of [...verbs, 'enable', 'rm', 'history', 'rpc', 'daemon']) expect(out).toContain(verb);
    expect((await cli(['--version'])).out).toMatch(/^workerctl \d+\.\d+\.\d+\n$/);
  });
});
