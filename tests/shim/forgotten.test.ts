/** What the shim does not keep of a run that it has started: it holds a thousand of them, for months. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { NewFact } from '../../src/daemon/shim/facts.ts';
import type { SpawnParams } from '../../src/daemon/shim/protocol.ts';
import { RunTable } from '../../src/daemon/shim/runs.ts';
import { eventually } from './helper.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

test('environment and arguments of a run are gone once it has started, what a thread was begun with, and of one taken over', async () => {
  const home = mkdtempSync(join(tmpdir(), 'workerd-shim-'));
  mkdirSync(join(home, 'run'));
  const facts: NewFact[] = [];
  const runs = new RunTable({
    directory: join(home, 'run'),
    tell: (fact) => facts.push(fact),
    stateChanged: () => {},
    remark: () => {},
  });
  /** In a frame of its own, which holds them no longer than it lasts. */
  const begin = (run: string): readonly WeakRef<object>[] => {
    const order: SpawnParams = {
      run,
      name: run,
      generation: 1,
      kind: 'command',
      argv: ['sleep', '1000'],
      env: { PATH: process.env['PATH'] ?? '', LONG: 'x'.repeat(10_000) },
      cwd: home,
      umask: 0o022,
      user: null,
      openFiles: null,
      stdin: false,
      stop: { signal: 'SIGTERM', graceMs: 1000 },
      log: { directory: join(home, 'logs'), maxBytes: 1024 * 1024, files: 2 },
      host: null,
      launch: null,
      keep: [],
    };
    const launch = { env: { LONG: 'x'.repeat(10_000) } };
    const thread: SpawnParams = { ...order, run: `${run}.thread`, kind: 'thread', host: 'gone', env: {}, launch };
    runs.spawn(order);
    runs.spawn(thread);
    const adopted = { ...order, run: `${run}.adopted`, env: { ...order.env }, pid: 1, startTime: 1, revision: 0 };
    runs.adopt(adopted);
    runs.conclude(adopted.run, { kind: 'lost', reason: 'gone' });
    return [order.env, order.argv, order, thread, launch, adopted, adopted.env].map(
      (part) => new WeakRef<object>(part),
    );
  };
  try {
    await runs.open();
    const parts = begin('sleeper.1.aa');
    await eventually('running', () => facts.some(({ kind }) => kind === 'running'));
    await eventually('the thread', () => facts.some(({ run, kind }) => run.endsWith('.thread') && kind === 'exited'));
    await eventually('all of it collected', () => {
      collect();
      return parts.every((part) => part.deref() === undefined);
    });
    expect(runs.live.map(({ id }) => id)).toEqual(['sleeper.1.aa']);
    expect(runs.all).toHaveLength(3);
  } finally {
    for (const run of runs.live) run.signal('SIGKILL', 'group');
    await eventually('its end', () => runs.live.length === 0);
    await runs.close();
    rmSync(home, { recursive: true, force: true });
  }
}, 60_000);
