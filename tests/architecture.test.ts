/**
 * The shape of the source, as design.md draws it: who may import whom, what the pure core may not touch, how long a
 * file may get. A failure names the file and the import that broke the rule.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createHandlers, type HandlersOptions } from '../src/daemon/handlers.ts';
import { methods } from '../src/shared/protocol.ts';

const root = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const sources = globSync('src/**/*.ts', { cwd: root }).sort();

interface Import {
  readonly target: string;
  /** `import type` alone: gone at run time. `import { type X }` is not: it still loads the module. */
  readonly typeOnly: boolean;
}

/** Comments hold examples of imports; strings do not hold comments often enough to matter here. */
const withoutComments = (source: string): string =>
  source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');

const importsOf = (source: string): readonly Import[] => {
  const code = withoutComments(source);
  const found: Import[] = [];
  for (const [, type, target] of code.matchAll(/^\s*(?:import|export)(\s+type)?\b[^'";]*?\bfrom\s*'([^']+)'/gm)) {
    found.push({ target: target ?? '', typeOnly: type !== undefined });
  }
  for (const [, target] of code.matchAll(/^\s*import\s*'([^']+)'/gm)) {
    found.push({ target: target ?? '', typeOnly: false });
  }
  for (const [, target] of code.matchAll(/\b(?:import|require|getBuiltinModule)\(\s*'([^']+)'/g)) {
    found.push({ target: target ?? '', typeOnly: false });
  }
  return found;
};

/** A part of the source, and all that it may import: paths and packages, `dir/` for all below. */
interface Part {
  readonly name: string;
  readonly holds: (file: string) => boolean;
  readonly may: readonly string[];
}

const shimShared = [
  'core-limit',
  'descriptors',
  'errors',
  'failpoints',
  'framing',
  'gate',
  'leisure',
  'limits',
  'log-file',
  'log-reader',
  'paths',
  'peer',
  'resource-limits',
  'shim-token',
  'tail',
  'worker',
].map((name) => `src/shared/${name}.ts`);
const below = (directory: string) => (file: string) => file.startsWith(directory);

/** They bring zod: the CLI and the rest of shared may have their types, nothing else. */
const schemas: readonly string[] = ['definition-schema', 'protocol', 'results'].map((name) => `src/shared/${name}.ts`);

const parts: readonly Part[] = [
  { name: 'cli', holds: below('src/cli/'), may: ['node:', 'commander', 'package.json', 'src/cli/', 'src/shared/'] },
  {
    name: 'shared/protocol',
    holds: (file) => schemas.includes(file),
    may: ['node:', 'zod', 'src/shared/'],
  },
  { name: 'shared', holds: below('src/shared/'), may: ['node:', 'json-rpc-2.0', 'src/shared/'] },
  { name: 'daemon/core', holds: below('src/daemon/core/'), may: ['src/daemon/core/', 'src/shared/worker.ts'] },
  { name: 'daemon/shim', holds: below('src/daemon/shim/'), may: ['node:', 'src/daemon/shim/', ...shimShared] },
  { name: 'daemon/host', holds: below('src/daemon/host/'), may: ['node:', 'src/daemon/host/'] },
  {
    name: 'daemon',
    holds: (file) => posix.dirname(file) === 'src/daemon',
    may: ['node:', 'zod', 'pino', 'pino-pretty', 'commander', 'src/shared/', 'src/daemon/core/'],
  },
];
/** The one file of the shim that the daemon may know. */
const shimProtocol = 'src/daemon/shim/protocol.ts';

/** Where an import leads: a path below the root, or a package as it stands. */
const placeOf = (file: string, target: string): string =>
  target.startsWith('.') ? posix.normalize(posix.join(posix.dirname(file), target)) : target;

const isBelow = (place: string, allowed: string): boolean =>
  allowed.endsWith('/') || allowed.endsWith(':') ? place.startsWith(allowed) : place === allowed;

/** What is wrong with the imports of one file, a line each. */
const importFaults = (file: string, source: string): readonly string[] => {
  const part = parts.find(({ holds }) => holds(file));
  if (part === undefined) return [`${file} belongs to no part that design.md knows`];
  const faults: string[] = [];
  for (const { target, typeOnly } of importsOf(source)) {
    const place = placeOf(file, target);
    const sibling = posix.dirname(place) === 'src/daemon' && part.name === 'daemon' && target.startsWith('./');
    const ofShim = part.name === 'daemon' && place === shimProtocol;
    if (!sibling && !ofShim && !part.may.some((allowed) => isBelow(place, allowed))) {
      faults.push(`${file} imports ${target}: ${part.name} may import ${part.may.join(', ')}`);
    }
    const wantsTypes = part.name === 'cli' || part.name === 'shared';
    if (wantsTypes && schemas.includes(place) && !typeOnly) {
      faults.push(`${file} imports ${target} as a value: that loads zod; use \`import type\``);
    }
  }
  return faults;
};

/** What the core may not touch: it is handed the time, and told what happened. */
const impure =
  /\b(?:Date\.now|new Date\(\)|performance\.now|setTimeout|setInterval|setImmediate|process\.\w+|Math\.random|console\.\w+|fetch)\b/g;
const impurities = (source: string): readonly string[] =>
  [...withoutComments(source).matchAll(impure)].map(([word]) => word);

const maxLines = 350;
/** Longer, for a reason; the ceiling keeps it from growing on. */
const longer: Readonly<Record<string, { readonly ceiling: number; readonly reason: string }>> = {
  'src/daemon/daemon.ts': { ceiling: 450, reason: 'the composition root: one life of the daemon, wired in one place' },
};
const linesOf = (source: string): number => source.split('\n').length - 1;

test('the source was found', () => {
  expect(sources.length).toBeGreaterThan(50);
  for (const { name, holds } of parts) expect(sources.filter(holds), name).not.toEqual([]);
});

describe('imports go the way the design says', () => {
  test.each(sources)('%s', (file) => {
    expect(importFaults(file, read(file))).toEqual([]);
    for (const { target } of importsOf(read(file))) {
      if (!target.startsWith('.')) continue;
      expect(target, `${file} imports ${target}`).toMatch(/\.(?:ts|json)$/);
      expect(existsSync(resolve(root, dirname(file), target)), `${file} imports ${target}`).toBe(true);
    }
  });

  // What the rules are for: each of these must be found out.
  test.each([
    ['src/cli/commands/stop.ts', "import { Registry } from '../../daemon/registry.ts';"],
    ['src/cli/context.ts', "import { methods } from '../shared/protocol.ts';"],
    ['src/cli/context.ts', "import { type MethodName } from '../shared/protocol.ts';"],
    ['src/cli/context.ts', "import { resultSchemas } from '../shared/results.ts';"],
    ['src/cli/context.ts', "import { z } from 'zod';"],
    ['src/cli/context.ts', "const pino = await import('pino');"],
    ['src/shared/client.ts', "export { methods } from './protocol.ts';"],
    ['src/shared/framing.ts', "import { z } from 'zod';"],
    ['src/shared/framing.ts', "import { phaseOf } from '../daemon/core/view.ts';"],
    ['src/daemon/core/plan.ts', "import { readFileSync } from 'node:fs';"],
    ['src/daemon/core/plan.ts', "import type { Clock } from '../ports.ts';"],
    ['src/daemon/core/plan.ts', "import { limits } from '../../shared/limits.ts';"],
    ['src/daemon/store.ts', "import {\n  Run,\n} from './shim/run.ts';"],
    ['src/daemon/hosts.ts', "import type { WorkerContext } from './host/contract.ts';"],
    ['src/daemon/shim/run.ts', "import pino from 'pino';"],
    ['src/daemon/shim/run.ts', "import { Registry } from '../registry.ts';"],
    ['src/daemon/shim/run.ts', "import type { Params } from '../../shared/protocol.ts';"],
    ['src/daemon/host/run.ts', "import type { Exit } from '../../shared/worker.ts';"],
    ['src/daemon/host/run.ts', "import '../shim/main.ts';"],
  ])('%s may not say: %s', (file, line) => {
    expect(importFaults(file, line)).toHaveLength(1);
  });

  test.each([
    ['src/cli/context.ts', "import type { MethodName } from '../shared/protocol.ts';"],
    ['src/cli/command-line.ts', "import { Command } from 'commander';"],
    ['src/daemon/hosts.ts', "import type { Fact } from './shim/protocol.ts';"],
    ['src/daemon/core/plan.ts', "import { isLive } from './model.ts';"],
    ['src/daemon/host/run.ts', "// import { z } from 'zod';"],
  ])('%s may say: %s', (file, line) => {
    expect(importFaults(file, line)).toEqual([]);
  });
});

describe('the core is pure: no clock, no timer, no process, no chance', () => {
  test.each(sources.filter(below('src/daemon/core/')))('%s', (file) => {
    expect(impurities(read(file))).toEqual([]);
  });

  test('a clock, a timer and the environment are found out', () => {
    const source = 'const a = Date.now();\nsetTimeout(() => {}, 1);\n// Date.now is not used here\nprocess.env;';
    expect(impurities(source)).toEqual(['Date.now', 'setTimeout', 'process.env']);
  });
});

test('every method of the protocol has a handler, and no handler is without a method', () => {
  const handlers = createHandlers({} as HandlersOptions);
  expect(Object.keys(handlers).sort()).toEqual(Object.keys(methods).sort());
});

test("every verb of the CLI is in the README's table of verbs, and every verb there is one", () => {
  const section =
    read('README.md')
      .split(/^##+ /m)
      .find((text) => text.startsWith('Verbs\n')) ?? '';
  const table = [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell]) =>
    [...(cell ?? '').matchAll(/`([a-z]+)(?: [^`]*)?`/g)].map(([, verb]) => verb ?? ''),
  );
  const verbs = [...read('src/cli/run.ts').matchAll(/^ {2}(\w+): async \(\) => /gm)].map(([, verb]) => verb ?? '');
  const files = globSync('src/cli/commands/*.ts', { cwd: root }).map((file) => posix.basename(file, '.ts'));
  expect(files.length).toBeGreaterThan(10);
  expect(verbs).toEqual(expect.arrayContaining(files));
  const aliases = ['ls', 'ps'];
  expect(new Set(table.filter((verb) => !aliases.includes(verb)))).toEqual(new Set(verbs));
});

describe(`a source file has at most ${maxLines} lines`, () => {
  test.each(sources)('%s', (file) => {
    const most = longer[file]?.ceiling ?? maxLines;
    const lines = linesOf(read(file));
    expect(lines, `${file} has ${lines} lines: split it by what it decides`).toBeLessThanOrEqual(most);
  });

  test('the files that are excused are there, and say why', () => {
    for (const [file, { reason }] of Object.entries(longer)) {
      expect(sources).toContain(file);
      expect(reason).not.toBe('');
    }
  });
});

test('zod is imported as a namespace: by name, its 50 languages are in the daemon with it', () => {
  const imports = sources.flatMap((file) =>
    [...read(file).matchAll(/^import .* from 'zod';$/gm)].map(([line]) => ({ file, line })),
  );
  expect(imports).not.toEqual([]);
  for (const { file, line } of imports) expect(line, file).toMatch(/^import (?:type )?\* as z from 'zod';$/);
});

test.each(sources)('%s opens by saying what it is for', (file) => {
  expect(read(file)).toMatch(/^(?:#![^\n]*\n)?(?:\/\*\*|\/\/)/);
});
