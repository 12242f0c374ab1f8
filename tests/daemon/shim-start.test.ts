/** Starting a shim: one that stands still before it says a word is ended before the next one is started. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ShimListener } from '../../src/daemon/ports.ts';
import { LinuxProcessTable } from '../../src/daemon/process-table.ts';
import { ShimLink } from '../../src/daemon/shim-link.ts';
import { systemClock } from '../../src/daemon/system.ts';
import { resolvePlaces } from '../../src/shared/paths.ts';
import { eventually } from '../helpers/eventually.ts';

test('a shim that stands still in its start is ended before the next one is started', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'wd-start-'));
  const pids = join(directory, 'pids');
  const started = () => readFileSync(pids, 'latin1').split('\n').filter(Boolean).map(Number);
  const processes = new LinuxProcessTable();
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const link = new ShimLink({
    places: resolvePlaces({ home: directory, env: {}, uid: 1 }),
    // What Node does where no thread can be made: nothing, for ever.
    command: ['/bin/sh', '-c', 'echo $$ >> "$0"; exec sleep 1000', pids],
    env: { PATH: '/usr/bin:/bin' },
    clock: systemClock,
    log: silent,
    processes,
    store: { meta: () => null, setMeta: () => {} },
    listener: new Proxy({} as ShimListener, { get: () => () => {} }),
  });
  try {
    const seeking = link.start();
    await eventually(() => started().length === 2, { withinMs: 30_000, what: 'a second start' });
    const [first = 0, second = 0] = started();
    expect(processes.startTimeOf(first)).toBeNull();
    expect(processes.startTimeOf(second)).toBeTypeOf('number');
    process.kill(second, 'SIGKILL');
    link.close();
    await seeking;
  } finally {
    link.close();
    for (const pid of started()) if (processes.startTimeOf(pid) !== null) process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
});
