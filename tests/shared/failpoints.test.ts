/** The grammar of failpoints, what each action does, and that the table in docs/architecture.md is true. */
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { armFailpoints, failpoint, failpointAfterTurn, failpointNames } from '../../src/shared/failpoints.ts';

afterEach(() => {
  armFailpoints(undefined);
});

const outcome = (): string => {
  try {
    failpoint('store.commit');
    return 'went on';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
};
const outcomes = (count: number): readonly string[] => Array.from({ length: count }, outcome);

describe('what is armed', () => {
  it('nothing, where the variable is absent or empty', () => {
    expect([armFailpoints(undefined), armFailpoints(''), armFailpoints(' ; ')]).toEqual([false, false, false]);
    expect(outcome()).toBe('went on');
  });

  it.each([
    ['store.commit=error(ENOSPC)', ['ENOSPC', 'ENOSPC', 'ENOSPC']],
    ['store.commit=1*error(ENOSPC)', ['ENOSPC', 'went on', 'went on']],
    ['store.commit=1*off->1*error(EIO)', ['went on', 'EIO', 'went on']],
    ['store.commit=2*error(EIO)->error(ENOSPC)', ['EIO', 'EIO', 'ENOSPC']],
    [' store.commit = 1*error(EIO) -> off ; facts.folded=kill;', ['EIO', 'went on', 'went on']],
    ['facts.folded=error(EIO)', ['went on', 'went on', 'went on']],
  ])('%s', (text, expected) => {
    expect(armFailpoints(text)).toBe(true);
    expect(outcomes(3)).toEqual(expected);
  });

  it('sleep stands still for that long', () => {
    armFailpoints('store.commit=1*sleep(60)');
    const began = performance.now();
    expect(outcome()).toBe('went on');
    expect(performance.now() - began).toBeGreaterThanOrEqual(59);
  });

  it('one that is hit after the turn is not hit within it', async () => {
    armFailpoints('shim.spawn.told=1*sleep(500)');
    const began = performance.now();
    failpointAfterTurn('shim.spawn.told');
    expect(performance.now() - began).toBeLessThan(499);
    await new Promise((resolveTurn) => setImmediate(resolveTurn));
    expect(performance.now() - began).toBeGreaterThanOrEqual(499);
  });
});

it.each([
  ['store.comit=kill', 'names no failpoint'],
  ['store.commit', 'names no action'],
  ['store.commit=', 'none of error'],
  ['store.commit=explode', 'none of error'],
  ['store.commit=error', 'none of error'],
  ['store.commit=error(enospc)', 'none of error'],
  ['store.commit=sleep(1s)', 'none of error'],
  ['store.commit=0*kill', 'none of error'],
  ['store.commit=kill(9)', 'none of error'],
  ['store.commit=1*kill->', 'none of error'],
])('%s is refused in words', (text, words) => {
  expect(() => armFailpoints(text)).toThrow(words);
  expect(() => armFailpoints(text)).toThrow(/WORKERD_FAILPOINTS.*unset it, or write/);
});

describe('the table in docs/architecture.md', () => {
  const root = resolve(import.meta.dirname, '../..');
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  const section = page.split(/^##+ /m).find((text) => text.startsWith('Failpoints\n')) ?? '';
  const rows = [...section.matchAll(/^\| `([a-z.]+)` \| `([^`]+)` \|/gm)].map(([, name, file]) => ({ name, file }));
  const uses = globSync('src/**/*.ts', { cwd: root }).flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/\bfailpoint(?:AfterTurn)?\('([^']+)'\)/g)].map(([, name]) => ({
      name,
      file: file.replace('src/daemon/', ''),
    })),
  );
  const sorted = (list: readonly { name?: string | undefined; file?: string | undefined }[]) =>
    list.map(({ name, file }) => `${name} ${file}`).sort();

  it('has a row for every failpoint, each once, with the file that has it', () => {
    expect(sorted(rows)).toEqual(sorted(uses));
  });

  it('and every name is in the code', () => {
    expect(uses.map(({ name }) => name).sort()).toEqual([...failpointNames]);
  });
});
