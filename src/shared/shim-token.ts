/**
 * What a daemon and a shim of one home know each other by: 64 hex digits in a file that whoever comes first makes. Read
 * only when it is whole: another may be making it in this moment, and one that was cut short in that is made anew.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

const whole = /^[0-9a-f]{64}$/;
const [lookMs, looks] = [10, 50];

export const shimToken = (path: string): string => {
  make(path);
  for (let look = 0; look < looks; look += 1) {
    const token = readFileSync(path, 'utf8').trim();
    if (whole.test(token)) return token;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookMs);
  }
  // Nobody is at it any more: the disk was full, or whoever made it was killed.
  const temporary = `${path}.${process.pid}`;
  rmSync(temporary, { force: true });
  make(temporary);
  renameSync(temporary, path);
  return readFileSync(path, 'utf8').trim();
};

/** Where it is missing. */
const make = (path: string): void => {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  try {
    writeFileSync(descriptor, `${randomBytes(32).toString('hex')}\n`, { flush: true });
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
};
