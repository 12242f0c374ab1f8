/** D04: what a verb had begun goes on with the next daemon as it was meant: its deadline, and what a run had reached by then. */
import { expect, test } from 'vitest';
import { deaf, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';

test.concurrent.each([
  ['longer', 200],
  ['shorter', 60_000],
])('the daemon is killed in a stop whose grace is %s than that of the definition: the deadline stays', async (_, own) => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  await client.call('start', { name: 'w', spec: { ...deaf, graceMs: own } });
  const graceMs = 3000;
  const asked = Date.now();
  await client.call('stop', { name: 'w', graceMs, wait: false });
  client.close();
  await daemon.kill();
  await box.daemon();
  const again = await box.client();
  expect((await again.call('status', {})).workers).toMatchObject([{ phase: 'stopping' }]);
  const { worker } = await again.call('wait', { name: 'w', for: 'stopped', timeoutMs: 25_000 });
  expect(worker).toMatchObject({ phase: 'stopped', exit: { kind: 'signal', signal: 'SIGKILL' } });
  const tookMs = Date.parse(worker.endedAt ?? '') - asked;
  expect(tookMs).toBeGreaterThanOrEqual(graceMs - 100);
  expect(tookMs).toBeLessThan(graceMs + 15_000);
});

test.concurrent('a worker that was ready and has ended was ready, whoever asks: also the next daemon, also of an earlier run', async () => {
  await using box = new CrashBox();
  const daemon = await box.daemon();
  const client = await box.client();
  const spec = {
    ...shell(`echo '{"ready":true}' >&3; read go; exit 3`),
    ready: { by: 'worker' as const },
    stdin: true,
  };
  await client.call('start', { name: 'once', spec });
  await client.call('start', { name: 'again', spec: { ...spec, restart: { policy: 'always' } } });
  client.close();
  await daemon.kill();
  await box.daemon();
  const next = await box.client();
  for (const name of ['once', 'again']) await next.call('send', { name, text: 'go' });
  await next.call('wait', { name: 'once', for: 'exit' });
  await eventually(async () => {
    const { phase, generation } = await box.status('again');
    return phase === 'running' && generation === 2;
  });
  expect((await next.call('wait', { name: 'once', for: 'ready', timeoutMs: 5000 })).worker).toMatchObject({
    phase: 'failed',
    ready: false,
  });
  // As a client does whose start was begun by a daemon that was replaced meanwhile.
  for (const name of ['once', 'again']) {
    const resume = { outcome: 'started' as const, generation: 1 };
    expect(await next.call('start', { name, wait: 'ready', resume }), name).toMatchObject({ outcome: 'started' });
  }
});
