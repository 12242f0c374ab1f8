/** What a client may conclude from the note of a replacement about what it had asked. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { diedHandingOver, handoverMs, startTimeOf, wasHandedOver, writeHandover } from '../../src/shared/handover.ts';

test('what was not answered was not done by a daemon that was replaced, but not by one that was killed over it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'wd-handover-'));
  try {
    const socket = join(directory, 'workerd.sock');
    const daemon = spawn('sleep', ['1000']);
    await once(daemon, 'spawn');
    const pid = daemon.pid ?? 0;
    const startTime = startTimeOf(pid) ?? 0;
    writeHandover(socket, { pid, startTime, fromMono: 100, untilMono: 200 });
    expect(wasHandedOver(socket, 150), 'opened to the one before').toBe(true);
    expect(wasHandedOver(socket, 250), 'opened to the one after').toBe(false);
    const exit = once(daemon, 'exit');
    daemon.kill('SIGKILL');
    await exit;
    expect(wasHandedOver(socket, 150), 'killed meanwhile: it may have done it').toBe(false);
    expect(diedHandingOver(socket), 'it had come through its replacement before').toBe(false);
    writeHandover(socket, { pid, startTime, fromMono: 100, untilMono: 100 + handoverMs });
    expect(diedHandingOver(socket), 'killed before it listened again').toBe(true);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
