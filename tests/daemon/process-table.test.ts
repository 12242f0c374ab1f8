/** What /proc tells of processes that change while they are looked at. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { LinuxProcessTable } from '../../src/daemon/process-table.ts';
import { runMarker } from '../../src/daemon/shim/protocol.ts';

const table = new LinuxProcessTable();
const alone = { since: null, until: null, mark: null, also: [] };

test('a process that becomes another program again and again is found at every look', async () => {
  const again = 'exec sh -c "$0" "$0"';
  const env = { PATH: process.env.PATH, FILLING: 'x'.repeat(4000), [runMarker]: 'changing' };
  const child = spawn('sh', ['-c', again, again], { env, stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    const looks = 1000;
    let found = 0;
    for (let look = 0; look < looks; look += 1) {
      found += table.sweep([{ ...alone, run: 'changing', group: null }]).get('changing')?.length ?? 0;
    }
    expect(found).toBe(looks);
  } finally {
    child.kill('SIGKILL');
  }
}, 60_000);

test('one without any environment is of the run whose group it is in', async () => {
  const child = spawn('env', ['-i', 'sleep', '1000'], { detached: true, stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const since = table.startTimeOf(pid) as number;
    expect(table.sweep([{ ...alone, run: 'bare', group: pid, since }]).get('bare')).toMatchObject([{ pid }]);
  } finally {
    child.kill('SIGKILL');
  }
});

test('one whose pid is below that of an older process is found: pids do not always rise', async () => {
  const child = spawn('sleep', ['1000'], { env: { [runMarker]: 'restored' }, stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const now = table.mark();
    const higher = { lastPid: (now?.lastPid ?? 0) + 2000, forks: now?.forks ?? 0 };
    for (const [mark, group] of [
      [higher, null],
      [{ ...higher, lastPid: pid }, pid],
    ] as const) {
      const found = table.sweep([{ ...alone, run: 'restored', group, mark }]).get('restored');
      expect(found, JSON.stringify(mark)).toMatchObject([{ pid }]);
    }
  } finally {
    child.kill('SIGKILL');
  }
});
