import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bench } from './harness.ts';

let bench: Bench;
beforeAll(() => {
  bench = new Bench();
});
afterAll(() => bench.end());

const outcome = async (module: string, name = 'default'): Promise<{ exit: unknown; result: unknown; err: string }> => {
  const host = bench.process({ module, export: name });
  await bench.until('the host is gone', () => host.exit !== null);
  host.channel.drain();
  const exit = host.channel.line('exit') as { kind: string } | undefined;
  if (exit?.kind === 'error') expect(host.channel.line('running')).toBeUndefined();
  return { exit, result: host.channel.line('result'), err: host.channel.text('err') };
};

describe('what does not load says why and what to do', () => {
  test.each([
    [
      'has-an-enum.ts',
      'export enum A { b }\nexport default () => A.b',
      'SyntaxError',
      ['has-an-enum.ts', 'enum', 'strip', 'compile', '^^^'],
    ],
    [
      'has-a-parameter-property.ts',
      'class A { constructor(private a: number) {} }\nexport default A',
      'SyntaxError',
      ['parameter propert', 'compile'],
    ],
    [
      'has-a-syntax-error.mjs',
      'export default () => {\n  let x = ;\n}',
      'SyntaxError',
      ['does not parse', 'has-a-syntax-error.mjs:2', 'let x = ;'],
    ],
    [
      'has-a-syntax-error.cjs',
      'module.exports = () => {\n  let x = ;\n}',
      'SyntaxError',
      ['has-a-syntax-error.cjs:2', 'let x = ;'],
    ],
    [
      'has-a-syntax-error.ts',
      'export default () => {\n  let x: = 3;\n}',
      'SyntaxError',
      ['does not parse', 'has-a-syntax-error.ts:2'],
    ],
    [
      'imports-a-missing-package.mjs',
      'import x from "no-such-package";\nexport default x',
      'LoadError',
      ["'no-such-package'", 'npm install'],
    ],
    [
      'imports-a-missing-file.mjs',
      'import x from "./no-such-file.mjs";\nexport default x',
      'LoadError',
      ['no-such-file.mjs', 'imports-a-missing-file.mjs'],
    ],
    [
      'imports-a-missing-name.mjs',
      'import { nope } from "node:fs";\nexport default nope',
      'SyntaxError',
      ["'nope'", 'imports-a-missing-name.mjs:1'],
    ],
    ['throws.mjs', 'throw new TypeError("on loading")', 'TypeError', ['on loading']],
    ['parses-rubbish.mjs', 'JSON.parse("{")\nexport default 1', 'SyntaxError', ['JSON']],
    [
      'has-no-default.mjs',
      'export const a = () => 1; export const b = 2',
      'LoadError',
      ["no export 'default'; it exports: a, b", 'export default async (ctx)'],
    ],
    ['has-nothing.cjs', '', 'LoadError', ['exports: nothing']],
    ['exports-a-number.mjs', 'export default 5', 'LoadError', ["'default'", 'is not a function but a number']],
    ['has-an-ending-of-its-own.txt', 'hello', 'LoadError', ['.cjs', 'workerctl start -- ']],
  ])('%s', async (name, text, errorName, words) => {
    const path = bench.file(name, text);
    const { exit, err } = await outcome(path);
    expect(exit).toMatchObject({ kind: 'error', name: errorName });
    const { message } = exit as { message: string };
    for (const word of words) expect(message).toContain(word);
    expect(err).toContain(message.split('\n')[0]);
    expect(err).toMatch(/\n {4}at /);
  });

  test('TypeScript inside node_modules', async () => {
    const path = bench.file('imports-typescript.mjs', 'import { a } from "some/i.ts";\nexport default () => a');
    bench.fileBeside(path, 'node_modules/some/i.ts', 'export const a: number = 1');
    const { exit } = await outcome(path);
    expect(exit).toMatchObject({ kind: 'error', message: expect.stringContaining('inside node_modules') });
  });

  test('a syntax error in an imported file names that file', async () => {
    const path = bench.file(
      'imports-a-broken-file.mjs',
      'import "./fine.mjs"; import "./broken.mjs";\nexport default 1',
    );
    bench.fileBeside(path, 'fine.mjs', 'export {}');
    bench.fileBeside(path, 'broken.mjs', 'let x = ;');
    const { exit } = await outcome(path);
    expect(exit).toMatchObject({
      kind: 'error',
      message: expect.stringMatching(/broken\.mjs does not parse.*\n.*broken\.mjs:1/),
    });
  });

  test('a missing file and a directory', async () => {
    const missing = join(bench.directory, 'missing.ts');
    expect((await outcome(missing)).exit).toMatchObject({ message: expect.stringContaining(`no file ${missing}`) });
    expect((await outcome(bench.directory)).exit).toMatchObject({ message: expect.stringContaining('is not a file') });
  });
});

describe('what loads', () => {
  test.each([
    ['a.ts', 'const one: number = 1; export default () => one'],
    ['a.mts', 'export default async (): Promise<number> => 1'],
    ['a.cts', 'const one: number = 1; module.exports = () => one'],
    ['a.mjs', 'export default () => 1'],
    ['a.js', 'module.exports = () => 1'],
    ['a.js', 'export default () => 1'],
    ['a.cjs', 'module.exports = () => 1'],
    ['a.cjs', 'Object.defineProperty(exports, "__esModule", { value: true }); exports.default = () => 1'],
    ['a.ts', 'import { defineWorker } from "workerctl/worker"; export default defineWorker(() => 1)'],
    ['a.cjs', 'const { defineWorker } = require("workerctl/worker"); module.exports = defineWorker(() => 1)'],
    ['a.mjs', 'const one = await Promise.resolve(1); export default () => one'],
    ['a b#c?d%20é.mjs', 'export default () => 1'],
  ])('%s: %s', async (name, text) => {
    expect(await outcome(bench.file(name, text))).toMatchObject({ exit: { kind: 'returned' }, result: 1 });
  });

  test('an export by name, of both kinds of modules', async () => {
    const module = bench.file('a.mjs', 'export const other = () => 2');
    const common = bench.file('a.cjs', 'const all = {}; all["other"] = () => 2; module.exports = all');
    expect((await outcome(module, 'other')).result).toBe(2);
    expect((await outcome(common, 'other')).result).toBe(2);
  });
});
