/** D15, R11: a thousand lost connections to the shim, and fifty starts at once: nothing is left of them. */
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connect } from '../../../src/shared/client.ts';
import { command } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

test('D15: a thousand daemons that greet, ask for facts and are killed leave no descriptor with the shim', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: command('sleep', '1000') });
  const shim = box.shimPid;
  const before = [descriptorsOf(shim), descriptorsOf(daemon.pid)];
  const token = readFileSync(join(box.home, 'shim.token'), 'utf8').trim();
  const line = (id: number, method: string, params: object) =>
    `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
  const oneLost = () =>
    new Promise<void>((resolve, reject) => {
      const socket = createConnection(join(box.home, 'shim.sock'));
      let said = '';
      socket.on('error', reject);
      socket.write(line(1, 'hello', { protocol: 1, token }) + line(2, 'facts', { after: 0 }) + line(3, 'list', {}));
      socket.on('data', (chunk) => {
        said += chunk.toString();
        if (!said.includes('"id":3')) return;
        // A request more, of which it will not hear.
        socket.write(line(4, 'list', {}));
        socket.destroy();
        resolve();
      });
    });
  for (let round = 0; round < 40; round += 1) await Promise.all(Array.from({ length: 25 }, oneLost));
  await eventually(() => descriptorsOf(shim) <= (before[0] ?? 0) && descriptorsOf(daemon.pid) <= (before[1] ?? 0) + 1, {
    what: 'the descriptors are back',
  });
  expect(await box.status('w')).toMatchObject({ phase: 'running' });
  expect(box.said()).not.toContain('the shim is gone');
  expect((await client.call('stop', { name: 'w' })).worker.phase).toBe('stopped');
}, 60_000);

test('D15: twenty daemons after each other leave no descriptor with the shim', async () => {
  await using box = new CrashBox();
  let daemon = await box.daemon();
  await (await box.client()).call('start', { name: 'w', spec: command('sleep', '1000') });
  const shim = box.shimPid;
  const before = descriptorsOf(shim);
  for (let life = 0; life < 20; life += 1) {
    await daemon.kill();
    daemon = await box.daemon();
  }
  expect(box.shimPid).toBe(shim);
  await eventually(() => descriptorsOf(shim) <= before, { what: 'the descriptors are back' });
}, 60_000);

test('R11: fifty starts at once all run within 5 s (asserted: 25); a canary is answered meanwhile', async () => {
  await using box = new CrashBox();
  await box.daemon();
  const clients = await Promise.all(Array.from({ length: 50 }, () => connect({ home: box.home, client: 'test' })));
  const waits: number[] = [];
  let done = false;
  const canary = (async () => {
    while (!done) {
      const began = performance.now();
      const client = await box.client();
      await client.call('daemon.info', {});
      client.close();
      waits.push(performance.now() - began);
    }
  })();
  const began = performance.now();
  const answers = await Promise.all(
    clients.map((client, index) => client.call('start', { name: `w${index}`, spec: command('sleep', '1000') })),
  );
  expect(performance.now() - began).toBeLessThan(25_000);
  done = true;
  await canary;
  expect(answers.map(({ outcome, worker }) => `${outcome} ${worker.phase}`)).toEqual(
    clients.map(() => 'started running'),
  );
  expect(new Set(answers.map(({ worker }) => worker.pid)).size).toBe(50);
  waits.sort((a, b) => a - b);
  expect(waits[Math.floor(waits.length * 0.99)]).toBeLessThan(1250);
  for (const client of clients) client.close();
}, 60_000);
