/** Modules as workers: what runs as it is, what fails and with which words, and what of their output is kept. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, WorkerdError } from '../../src/shared/client.ts';
import type { SpecInput } from '../../src/shared/protocol.ts';
import type { Exit, WorkerView } from '../../src/shared/worker.ts';
import { module, part } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { fixtures, Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
let client: Client;
let directory: string;
beforeAll(async () => {
  box = new Sandbox();
  directory = join(box.directory, 'modules');
  mkdirSync(directory);
  await box.startDaemon();
  client = await box.client();
});
afterAll(() => box[Symbol.asyncDispose]());

const write = (file: string, text: string): string => {
  const path = join(directory, file);
  writeFileSync(path, text);
  return path;
};
const ended = async (name: string): Promise<WorkerView> => (await client.call('wait', { name, for: 'exit' })).worker;
const errorExit = ({ exit }: WorkerView): Extract<Exit, { kind: 'error' }> => {
  if (exit?.kind !== 'error') throw new Error(`no error but ${JSON.stringify(exit)}`);
  return exit;
};
const stderrOf = async (name: string): Promise<string> =>
  (await client.call('logs', { name, streams: ['stderr'], tail: 100_000 })).entries.map(({ line }) => line).join('\n');

describe.each(['thread', 'process'] as const)('a module as a %s', (kind) => {
  const run = async (name: string, spec: SpecInput) => {
    await client.call('start', { name, spec, wait: 'none' });
    return ended(name);
  };

  test('in TypeScript runs as it is, and its result, state and progress are kept', async () => {
    const name = `typed-${kind}`;
    const spec = { ...module(kind, 'counts-and-returns.ts'), params: { to: 5 } };
    const worker = await run(name, spec);
    const state = { counter: 5, progress: { done: 1, total: 2, unit: 'files' } };
    expect(worker).toMatchObject({ phase: 'exited', exit: { kind: 'returned' }, state });
    expect(worker.result).toEqual({ name, kind, generation: 1, state });
  });

  test.each([
    ['.mts', 'const answer: number = 42;\nexport default (): number => answer;\n'],
    ['.js', 'module.exports = () => 42;\n'],
    ['.cjs', 'exports.default = async () => 42;\n'],
    ['.mjs', 'export default async () => 42;\n'],
  ])('ending in %s runs', async (ending, text) => {
    const path = write(`answers-${kind}${ending}`, text);
    expect(await run(`ending-${kind}${ending}`, module(kind, path))).toMatchObject({ phase: 'exited', result: 42 });
  });

  test('runs the export that was named, from the CLI, under the name of its file', async () => {
    const path = write(
      `Named_${kind}.mjs`,
      'export const other = (ctx) => ({ params: ctx.params, at: process.cwd() });\n',
    );
    const params = ['-p', 'count=3', '-p', 'word=three', '-p', 'list=[1,2]'];
    const started = await box.workerctl(['start', `--${kind}`, ...params, `${path}#other`], { cwd: directory });
    expect(started).toMatchObject({ code: 0, stdout: `Named_${kind}\n` });
    const { result } = await ended(`Named_${kind}`);
    expect(result).toEqual({ params: { count: 3, word: 'three', list: [1, 2] }, at: directory });
  });

  const failing: readonly (readonly [string, () => SpecInput, string, RegExp])[] = [
    ['throws', () => module(kind, 'fails-when-called.mjs', 'throws'), 'RangeError', /^thrown by the function$/],
    ['rejects', () => module(kind, 'fails-when-called.mjs', 'rejects'), 'RangeError', /^rejected by the function$/],
    ['throws what is no error', () => module(kind, 'fails-when-called.mjs', 'throwsText'), '', /just a string/],
    ['throws while it loads', () => module(kind, 'fails-to-load.mjs'), 'RangeError', /^thrown by the module itself$/],
    [
      'has a syntax error',
      () => module(kind, write('does-not-parse.mjs', 'export default () => {\n  const = 1;\n};\n')),
      'SyntaxError',
      /does-not-parse\.mjs/,
    ],
    ['is missing', () => module(kind, '/no/such/module.mjs'), '', /\/no\/such\/module\.mjs/],
    ['has no such function', () => module(kind, 'has-no-function.mjs', 'nothing'), '', /nothing.*number/],
    ['exports what is no function', () => module(kind, 'has-no-function.mjs', 'number'), '', /number.*not a function/],
    ['exports an object', () => module(kind, 'has-no-function.mjs'), '', /not a function but an object/],
    [
      'imports what is not there',
      () => module(kind, write('imports-nothing.mjs', "import './no-such-file.mjs';\nexport default () => {};\n")),
      '',
      /no-such-file\.mjs/,
    ],
    [
      'has an enum, which Node cannot strip',
      () => module(kind, write('has-an-enum.ts', 'enum Color { Red }\nexport default () => Color.Red;\n')),
      '',
      /has-an-enum\.ts.*enum/i,
    ],
  ];
  test.each(
    failing,
  )('W03: that %s has failed with the error kept and the stack in its log', async (what, spec, error, words) => {
    const name = `${what.replaceAll(/[^a-z]+/g, '-')}-${kind}`;
    const began = performance.now();
    const worker = await run(name, spec());
    // Within 1 s; five times that.
    expect(performance.now() - began).toBeLessThan(5000);
    expect(worker).toMatchObject({ phase: 'failed', pid: null, result: null });
    const exit = errorExit(worker);
    if (error !== '') expect(exit.name).toBe(error);
    expect(exit.message).toMatch(words);
    const text = await stderrOf(name);
    expect(text).toMatch(words.source.startsWith('^') ? new RegExp(words.source.slice(1, -1)) : words);
    for (const line of (exit.stack ?? '').split('\n')) expect(text).toContain(line);
    if (['throws', 'rejects'].includes(what)) expect(exit.stack).toMatch(/fails-when-called\.mjs:\d+:\d+/);
    const shown = await box.workerctl(['status', name]);
    expect(shown.code).toBe(3);
    expect(shown.stdout).toContain(exit.message.split('\n')[0]?.slice(0, 40));
  });

  test('that fails before it runs makes the start fail in words, with exit code 1', async () => {
    const spec = module(kind, 'fails-to-load.mjs');
    const failure: unknown = await client
      .call('start', { name: `load-${kind}`, spec })
      .catch((reason: unknown) => reason);
    if (!(failure instanceof WorkerdError)) throw new Error(`no error but ${String(failure)}`);
    expect(failure.code).toBe('worker.start-failed');
    expect(failure.message).toContain('thrown by the module itself');
    const { code, stderr } = await box.workerctl(['start', `load-${kind}`]);
    expect(code).toBe(1);
    expect(stderr).toContain('RangeError: thrown by the module itself');
    expect(stderr).toContain(`workerctl logs load-${kind}`);
  });

  test('that returns too much has null as its result and says so', async () => {
    const path = write('returns-much.mjs', "export default () => 'x'.repeat(300 * 1024);\n");
    const worker = await run(`returns-much-${kind}`, module(kind, path));
    expect(worker).toMatchObject({ phase: 'exited', exit: { kind: 'returned' }, result: null });
    expect(await stderrOf(`returns-much-${kind}`)).toMatch(/result is \d+ bytes/);
  });

  test('that publishes too much meets the error, and its state stays as it was', async () => {
    const text = `export default (ctx) => {
      ctx.publish({ kept: 1 });
      try { ctx.publish({ much: 'x'.repeat(70_000) }); } catch (error) { return error.message; }
    };`;
    const worker = await run(`publishes-much-${kind}`, module(kind, write('publishes-much.mjs', text)));
    expect(worker.state).toEqual({ kept: 1 });
    expect(worker.result).toMatch(/at most 65536/);
  });

  test('ends when its function settles, and names what it left open', async () => {
    const worker = await run(`open-${kind}`, module(kind, 'leaves-handles-open.mjs'));
    expect(worker).toMatchObject({ phase: 'exited', exit: { kind: 'returned' }, result: 'done' });
    const said = await stderrOf(`open-${kind}`);
    for (const handle of ['Timeout', 'TCPServerWrap']) expect(said).toMatch(new RegExp(`open handles: .*${handle}`));
  });

  test.each([
    ['process.exit(0)', 'exit', { kind: 'code', code: 0 }],
    ['a throw', 'throw', { kind: 'error' }],
    ['a return', 'return', { kind: 'returned' }],
  ])('W07: loses none of 10,000 lines to %s', async (_what, how, exit) => {
    const name = `prints-${how}-${kind}`;
    const worker = await run(name, { ...module(kind, 'prints-then-ends.mjs'), params: { lines: 10_000, how } });
    expect(worker.exit).toMatchObject(exit);
    expect(worker.state).toEqual({ printed: 10_000 });
    const log = readFileSync(join(box.home, 'logs', name, '1.log'), 'utf8');
    const out = log.split('\n').filter((line) => line.startsWith('out '));
    const expected = Array.from({ length: 10_000 }, (_, index) => `out ${index} ${'x'.repeat(40)}`);
    expect(out).toEqual(expected);
    expect(log.split('\n').filter((line) => line.startsWith('err ')).length).toBe(10_000);
  });

  test('that waits on its signal ends well when the stop cuts the wait off', async () => {
    const name = `waits-${kind}`;
    await client.call('start', { name, spec: module(kind, 'waits-for-the-signal.mjs', 'sleeping') });
    expect((await client.call('stop', { name })).worker).toMatchObject({
      phase: 'stopped',
      exit: { kind: 'returned' },
    });
    const spec = module(kind, 'waits-for-the-signal.mjs', 'listening');
    await client.call('start', { name: `${name}-2`, spec });
    const { worker } = await client.call('stop', { name: `${name}-2` });
    expect(worker).toMatchObject({ exit: { kind: 'returned' }, result: 'stop requested: stop' });
  });

  test('hears what is sent to it, and what is published for it', async () => {
    const name = `hears-${kind}`;
    await client.call('start', { name, spec: module(kind, 'collects-messages.mjs') });
    await eventually(async () => (await box.status(name)).state !== null);
    expect((await box.workerctl(['publish', name, 'colour="red"'])).code).toBe(0);
    for (const text of ['first', 'second "quoted"']) {
      expect((await box.workerctl(['send', name, text])).code).toBe(0);
    }
    const all = ['first', 'second "quoted"'];
    const state = await eventually(async () => {
      const { state: now } = await box.status(name);
      return JSON.stringify(now?.['messages']) === JSON.stringify(all) && now;
    });
    expect(state).toMatchObject({ colour: 'red', seen: { colour: 'red' } });
    expect((await client.call('stop', { name })).worker.result).toEqual(all);
  });

  test('that is thrown out of a timer or by a rejection nobody awaits has failed', async () => {
    for (const how of ['throws', 'rejects']) {
      const worker = await run(`aside-${how}-${kind}`, module(kind, 'fails-aside.mjs', how));
      expect(worker.phase).toBe('failed');
      expect(errorExit(worker).name).toBe('RangeError');
    }
  });
});

test('one thread that fails leaves the others of its host alone', async () => {
  await client.call('start', { name: 'neighbour', spec: part('thread', 'counts') });
  const before = await box.status('neighbour');
  await client.call('start', {
    name: 'unlucky',
    spec: module('thread', 'fails-when-called.mjs', 'throws'),
    wait: 'none',
  });
  expect((await ended('unlucky')).phase).toBe('failed');
  await client.call('start', { name: 'leaver', spec: part('thread', 'exits', { params: { code: 5 } }), wait: 'none' });
  expect((await ended('leaver')).exit).toEqual({ kind: 'code', code: 5 });
  expect(await box.status('neighbour')).toMatchObject({ phase: 'running', pid: before.pid, generation: 1 });
  expect(readFileSync(join(fixtures, 'plays-a-part.mjs'), 'utf8')).toContain('process.exit');
  await client.call('stop', { name: 'neighbour' });
});

test('a thread cannot be given a standard input, and a process can: what is sent is then there', async () => {
  const read = write(
    'reads-stdin.mjs',
    `export default async (ctx) => {
       for await (const text of process.stdin.setEncoding('utf8')) return text;
     };`,
  );
  const refused = client.call('start', { name: 'no-stdin', spec: { kind: 'thread', module: read, stdin: true } });
  await expect(refused).rejects.toMatchObject({ code: 'usage', data: { member: 'spec.stdin' } });
  await expect(client.call('status', { names: ['no-stdin'] })).rejects.toMatchObject({ code: 'worker.not-found' });

  await client.call('start', { name: 'with-stdin', spec: { kind: 'process', module: read, stdin: true } });
  await client.call('send', { name: 'with-stdin', text: 'hello' });
  expect((await ended('with-stdin')).result).toBe('hello\n');
});
