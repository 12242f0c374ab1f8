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
    const looks = 2000;
    let found = 0;
    for (let look = 0; look < looks; look += 1) {
      found += table.sweep([{ ...alone, run: 'changing', group: null }]).get('changing')?.length ?? 0;
    }
    expect(found).toBe(looks);
  } finally {
    child.kill('SIGKILL');
  }
});

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
