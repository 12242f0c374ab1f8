/** The token of a home: made once, whoever comes first, and never left unusable by whoever was cut short in making it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { shimToken } from '../../src/shared/shim-token.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'token-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

it('is made once, private, and read by whoever comes later', () => {
  const path = join(directory, 'token');
  const token = shimToken(path);
  expect(token).toMatch(/^[0-9a-f]{64}$/);
  expect(shimToken(path)).toBe(token);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it.each(['', 'x', 'ab'.repeat(31)])('is made anew where making it was cut short: %j', (text) => {
  const path = join(directory, 'token');
  writeFileSync(path, text, { mode: 0o600 });
  const token = shimToken(path);
  expect(token).toMatch(/^[0-9a-f]{64}$/);
  expect(readFileSync(path, 'utf8').trim()).toBe(token);
  expect(readdirSync(directory)).toEqual(['token']);
});
