import { describe, expect, test } from 'vitest';
import { stop } from '../../src/cli/commands/stop.ts';
import { definitionOptions } from '../../src/cli/definition.ts';
import { wrap } from '../../src/cli/help.ts';
import { cli } from './cli.ts';

const verbs = [
  'start',
  'run',
  'stop',
  'restart',
  'status',
  'watch',
  'logs',
  'wait',
  'signal',
  'send',
  'publish',
  'enable',
  'disable',
  'rm',
  'history',
  'doctor',
  'rpc',
];
const helpOf = async (verb: string, columns = 88): Promise<string> => {
  const { code, out, err } = await cli([verb, '--help'], { env: { COLUMNS: String(columns) } });
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
};

describe('help', () => {
  test('of a verb: usage, what it does, flags by what they are for, examples, exit codes', async () => {
    expect(await helpOf('stop')).toMatchInlineSnapshot(`
      "Usage: workerctl stop [options] NAME...

      Stop workers: asked first, by force at the end of the grace.

      Returns when the worker and all it started are gone. A stopped worker stays stopped,
      whatever its restart policy.

      Options:
            --grace <duration>  use force after this (default: as defined, 10s)
            --force             kill now
            --all               all that run, and what others left over
            --no-wait           return at once

      Everywhere:
            --json              print JSON, one object a line
        -q, --quiet             print names only, or nothing
            --color <when>      auto, always or never (also NO_COLOR)
            --home <dir>        the daemon's home (also WORKERD_HOME)
            --socket <path>     the daemon's socket (also WORKERD_SOCKET)
            --no-autostart      never start the daemon (also WORKERD_AUTOSTART=0)
        -h, --help              show this help

      Examples:
        $ workerctl stop counter
            ask it, and wait until it is gone
        $ workerctl stop 'web-*' --grace 2s
            several, with 2 seconds to finish
        $ workerctl stop --all --force
            everything, now

      Exit codes:
        0  it is stopped, or was so already
        4  there is no such worker
      "
    `);
  });

  test('is the same however it is asked for', async () => {
    const text = await helpOf('stop');
    const env = { COLUMNS: '88' };
    expect((await cli(['help', 'stop'], { env })).out).toBe(text);
    expect((await cli(['stop', '--grace', '5s', '-h'], { env })).out).toBe(text);
  });

  test('of start has each flag once, and none without a group', async () => {
    const text = await helpOf('start');
    for (const { flags } of definitionOptions) {
      const long = /--[a-z-]+/.exec(flags)?.[0] ?? '';
      expect(
        text.split('\n').filter((line) => new RegExp(`^ +(-., )?${long}( |$)`).test(line)),
        long,
      ).toHaveLength(1);
    }
    expect(text).not.toContain('\nOptions:\n');
  });

  test.each(verbs)('of %s keeps to the width there is', async (verb) => {
    for (const columns of [40, 60, 80, 200]) {
      const lines = (await helpOf(verb, columns)).split('\n');
      // What is to be copied is never broken.
      for (const line of lines.filter((text) => !text.startsWith('  $ '))) {
        expect(line.length, line).toBeLessThanOrEqual(Math.min(columns, 96));
      }
    }
  });

  test('of all names every verb, on one screen', async () => {
    const { out } = await cli(['--help'], { env: { COLUMNS: '100' } });
    for (const verb of verbs) expect(out).toContain(verb);
    expect(out.split('\n').length).toBeLessThan(50);
    expect((await cli(['help'], { env: { COLUMNS: '100' } })).out).toBe(out);
  });

  test('has bold headings on a terminal, and none where colours are not wanted', async () => {
    expect((await cli(['stop', '--help'], { columns: 80 })).out).toContain('\x1b[1mExamples:');
    expect((await cli(['stop', '--help'], { columns: 80, env: { NO_COLOR: '1' } })).out).not.toContain('\x1b');
  });

  test('is a page for a verb that is not there, too: the near one is named', async () => {
    expect(await cli(['help', 'stpo'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('Did you mean stop?') as string,
    });
  });
});

test('an operand that is missing is named', async () => {
  expect(stop.spec.usage).toContain('NAME');
  expect((await cli(['send', 'web'])).err).toContain('TEXT is missing. See: workerctl send --help');
  expect((await cli(['publish'])).err).toContain('KEY=VALUE is missing');
});

test('words are broken at spaces, a long one stands alone', () => {
  expect(wrap('a bb ccc', 4)).toEqual(['a bb', 'ccc']);
  expect(wrap('a toolongword b', 4)).toEqual(['a', 'toolongword', 'b']);
});
