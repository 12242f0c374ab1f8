/**
 * K02, D13: registry and shim are lost together, and the daemon with them. What lives is known by the directories of its
 * FIFOs and the marker of its processes: it is listed, read on, stopped, and never started beside.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { command, part } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const kinds = ['command', 'process', 'thread'] as const;

test('what lives is listed with its pid, goes on, is not started a second time, and is stopped', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  for (const kind of kinds) await client.call('start', { name: kind, spec: part(kind, 'counts') });
  const before = (await client.call('status', {})).workers;
  client.close();
  process.kill(box.shimPid, 'SIGKILL');
  await first.kill();
  for (const name of readdirSync(box.home)) if (name.startsWith('registry.db')) rmSync(join(box.home, name));
  await box.daemon();
  const again = await box.client();
  const { workers } = await again.call('status', {});
  const shown = ({ name, kind, phase, pid, generation }: (typeof before)[number]) => ({
    name,
    kind,
    phase,
    pid,
    generation,
  });
  expect(workers.map(shown)).toEqual(before.map(shown));
  for (const { name, reason } of workers) {
    expect(reason, name).toContain('its registry and its shim were lost');
    expect(box.said(), name).toMatch(new RegExp(`"name":"${name}".*taken over as it looks from outside`));
  }
  const listed = workers.find(({ name }) => name === 'command');
  expect(JSON.stringify(listed?.spec)).toContain('plays-a-part.sh","counts"');
  for (const name of kinds) {
    const { stateRevision } = await box.status(name);
    await eventually(async () => (await box.status(name)).stateRevision > stateRevision, { what: `${name} publishes` });
    const { outcome } = await again.call('start', { name });
    expect(outcome, name).toBe('already-running');
  }
  for (const name of kinds) {
    const { worker } = await again.call('stop', { name });
    expect([worker.phase, worker.leftovers], name).toEqual(['stopped', []]);
    expect(box.livingRuns(name), name).toEqual([]);
  }
  await eventually(
    () => readdirSync(join(box.home, 'run')).every((name) => name === 'pool' || name.startsWith('_host.')),
    {
      what: 'no directory of a run is left',
    },
  );
});

test('where nobody lives any more, the directory of a run goes', async () => {
  await using box = new CrashBox();
  const first = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const pids = box.livingRuns('w');
  client.close();
  process.kill(box.shimPid, 'SIGKILL');
  await first.kill();
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  for (const name of readdirSync(box.home)) if (name.startsWith('registry.db')) rmSync(join(box.home, name));
  expect(readdirSync(join(box.home, 'run'))).toHaveLength(2);
  await box.daemon();
  await eventually(() => readdirSync(join(box.home, 'run')).join() === 'pool', { what: 'its directory is gone' });
});
