/** What the shim says by itself keeps within its bound for as long as the shim lives. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { maxOwnLogBytes, OwnLog } from '../../src/daemon/shim/own-log.ts';

const line = `${'x'.repeat(1024 * 1024 - 1)}\n`;

const opened = () => {
  const directory = mkdtempSync(join(tmpdir(), 'wd-own-'));
  const file = join(directory, 'shim.log');
  const descriptor = openSync(file, 'a', 0o600);
  onTestFinished(() => {
    closeSync(descriptor);
    rmSync(directory, { recursive: true, force: true });
  });
  return { file, descriptor };
};

test('a file that is full is begun anew, under the same descriptor, and what was is kept beside it', () => {
  const { file, descriptor } = opened();
  writeSync(descriptor, 'of an earlier shim\n');
  const log = new OwnLog(file, descriptor);
  for (let n = 0; n < 25; n += 1) log.say(line);
  expect(statSync(`${file}.1`).size).toBeGreaterThan(maxOwnLogBytes);
  expect(statSync(`${file}.1`).mode & 0o777).toBe(0o600);
  writeSync(descriptor, 'last words of the runtime\n');
  expect(readFileSync(file, 'latin1').endsWith(`${line}last words of the runtime\n`)).toBe(true);
  expect(statSync(file).size).toBeLessThanOrEqual(maxOwnLogBytes + 2 * line.length);
});

test('what is not the file of that name is left to whoever gave it', () => {
  const { file, descriptor } = opened();
  const log = new OwnLog(`${file}.of-another`, descriptor);
  for (let n = 0; n < 13; n += 1) log.say(line);
  expect(statSync(file).size).toBe(13 * line.length);
});

test('a descriptor that is not open ends nobody', () => {
  expect(() => new OwnLog('/nowhere', 9999).say('x\n')).not.toThrow();
});
