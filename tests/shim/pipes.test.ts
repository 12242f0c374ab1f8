/** The pool of FIFOs, where none, or few, can be made for a while. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { FifoPool } from '../../src/daemon/shim/pipes.ts';

afterEach(() => vi.unstubAllEnvs());

/** A disk with room for so many: `mkfifo` names each that it could not make. */
const withRoomFor = (count: number, directory: string): void => {
  const script = `#!/bin/sh
shift 3
made=0
for name; do
  if [ $made -lt ${count} ]; then /usr/bin/mkfifo -m 600 -- "$name"; made=$((made + 1))
  else echo "mkfifo: cannot create fifo '$name': No space left on device" >&2; fi
done
exit 1
`;
  writeFileSync(join(directory, 'mkfifo'), script);
  chmodSync(join(directory, 'mkfifo'), 0o755);
  vi.stubEnv('PATH', `${directory}:${process.env['PATH'] ?? ''}`);
};

test('once they can be made again they are, whatever had been in the way before', async () => {
  const home = mkdtempSync(join(tmpdir(), 'workerd-pool-'));
  const inTheWay = join(home, 'run');
  const pool = new FifoPool(join(inTheWay, 'pool'));
  const ready = join(home, 'ready');
  try {
    // As a disk without room: not even the directory can be made.
    writeFileSync(inTheWay, '');
    await expect(pool.open()).rejects.toThrow(inTheWay);
    await expect(pool.take([ready])).rejects.toThrow(inTheWay);
    rmSync(inTheWay);
    mkdirSync(inTheWay);
    await pool.take([ready]);
    expect(statSync(ready).isFIFO()).toBe(true);
  } finally {
    await pool.close();
    rmSync(home, { recursive: true, force: true });
  }
});

test('without room: said in one line; with little: what is needed is made, and the rest of it left to others', async () => {
  const home = mkdtempSync(join(tmpdir(), 'workerd-pool-'));
  const directory = join(home, 'pool');
  const paths = Array.from({ length: 4 }, (_, index) => join(home, `ready-${index}`));
  try {
    withRoomFor(0, home);
    const error: unknown = await new FifoPool(directory).take(paths).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'ENOSPC',
      message: `no pipes for it can be made in ${directory}: no space left on device`,
    });
    withRoomFor(20, home);
    const pool = new FifoPool(directory);
    await pool.open();
    expect(readdirSync(directory)).toHaveLength(5);
    await pool.take(paths);
    expect(paths.every((path) => statSync(path).isFIFO())).toBe(true);
    await pool.close();
    expect(readdirSync(home).sort()).toEqual(['mkfifo', 'ready-0', 'ready-1', 'ready-2', 'ready-3']);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
