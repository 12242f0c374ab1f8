/** What the README promises at first sight holds: its demo, its module, its links. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Sandbox } from '../helpers/sandbox.ts';

const root = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

test('the demo shows four shells, ends with 0, and leaves no file and no process', async () => {
  await using box = new Sandbox();
  const child = spawn(process.execPath, [join(root, 'scripts', 'demo.mjs')], {
    env: { ...box.env(), TMPDIR: box.directory },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(code, text).toBe(0);
  expect(text).toContain('shell 1 $ workerctl start ./examples/counter.ts');
  for (const shell of [2, 3]) expect(text).toMatch(new RegExp(`^shell ${shell} .*counter=3$`, 'm'));
  expect(text).toContain('shell 4 counter: stopped');
  // No terminal, no colours.
  expect(text).not.toContain('\x1b');
  expect(readdirSync(box.directory)).toEqual([]);
  expect(box.processes()).toEqual([]);
});

test("the README's module is the example", () => {
  const block = /```ts\n\/\/ counter\.ts\n([\s\S]*?)```/.exec(read('README.md'))?.[1] ?? '';
  expect(block).toContain('ctx.publish');
  const code = (source: string) => source.slice(source.indexOf('export default')).trim();
  expect(code(block)).toBe(code(read('examples/counter.ts')));
});

describe.each(['README.md', 'docs/architecture.md'])('%s', (page) => {
  test('links to files that are there', () => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, link]) => link ?? '');
    expect(links.length).toBeGreaterThan(0);
    for (const link of links) expect(existsSync(join(root, dirname(page), link)), link).toBe(true);
  });
});

test('the architecture page names files that are there', () => {
  const named = [...read('docs/architecture.md').matchAll(/`((?:[\w-]+\/)*[\w-]+\.(?:ts|mjs))`/g)];
  const files = ['src', 'tests', 'scripts', 'bench'].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true }).map((path) => `${top}/${path}`),
  );
  expect(named.length).toBeGreaterThan(30);
  const missing = named
    .map(([, name]) => name ?? '')
    .filter((name) => !files.some((f) => `/${f}`.endsWith(`/${name}`)));
  expect(missing).toEqual([]);
});
