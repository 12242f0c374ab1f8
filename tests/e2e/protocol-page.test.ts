/** What docs/protocol.md shows was not made up: its session and its Python do what stands there. */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root, Sandbox } from '../helpers/sandbox.ts';

const page = readFileSync(join(root, 'docs', 'protocol.md'), 'utf8');
const blockOf = (language: string): string => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
const exec = promisify(execFile);
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const unless = (program: string): string => (has(program) ? '' : ` (no ${program} on this machine)`);

const box = new Sandbox();
beforeAll(() => box.startDaemon());
afterAll(() => box[Symbol.asyncDispose]());
const env = () => box.env({ WORKERD_SOCKET: box.socket });

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
/** `…` stands for anything. */
const asPattern = (shown: string): RegExp => new RegExp(`^${shown.split('…').map(escaped).join('.*')}$`);

it.skipIf(!has('socat'))(`the session with socat${unless('socat')}`, async () => {
  const lines = blockOf('console').trimEnd().split('\n');
  const typed = lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
  const shown = lines.filter((line) => !line.startsWith('$ '));
  expect([typed.length, shown.length]).toEqual([6, 5]);
  const { stdout } = await exec('sh', ['-c', typed.join('\n')], { env: env(), timeout: 30_000 });
  const answers = stdout.trimEnd().split('\n');
  expect(answers).toHaveLength(shown.length);
  for (const [index, line] of shown.entries()) expect(answers[index]).toMatch(asPattern(line));
});

describe.skipIf(!has('python3'))(`the Python${unless('python3')}`, () => {
  const script = blockOf('python');
  it('has 15 lines', () => expect(script.split('\n').filter((line) => line.trim() !== '')).toHaveLength(15));
  it('starts, waits and reads', async () => {
    const { stdout } = await exec('python3', ['-c', script], { env: env(), timeout: 30_000 });
    expect(stdout).toBe("{'kind': 'code', 'code': 7} ['hello']\n");
  });
});

it('its links lead to headings that are there', () => {
  const anchors = new Set(
    [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      (heading ?? '')
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
  const links = [...page.matchAll(/\]\(#([^)]*)\)/g)].map(([, link]) => link ?? '');
  expect(links.length).toBeGreaterThan(50);
  expect(links.filter((link) => !anchors.has(link))).toEqual([]);
});
