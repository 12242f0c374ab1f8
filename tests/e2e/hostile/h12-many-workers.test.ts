/** H12, H10: 10,000 stopped workers: lists, pages, globs, watching and the words for a name that is not there. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { limits } from '../../../src/shared/limits.ts';
import { Canary } from '../../helpers/canary.ts';
import { eventually } from '../../helpers/eventually.ts';
import { type Answer, RawClient } from '../../helpers/fake-server.ts';
import { Sandbox } from '../../helpers/sandbox.ts';
import { noFaults } from '../../helpers/vitals.ts';

const many = 10_000;
const nameOf = (index: number) => `worker-${String(index).padStart(5, '0')}`;
let box: Sandbox;
let raw: RawClient;
let next = 0;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  raw = new RawClient(box.socket);
  const spec = { kind: 'command', command: ['/bin/true'], inheritEnv: false };
  for (let index = 0; index < many; index += 1) {
    raw.ask({ jsonrpc: '2.0', method: 'define', params: { name: nameOf(index), spec } });
  }
  await ask('hello', {});
  await eventually(async () => ((await ask('status', { names: [nameOf(many - 1)] })).result ?? null) !== null, {
    withinMs: 50_000,
    what: 'all are defined',
  });
});
afterAll(async () => {
  raw.socket.destroy();
  noFaults(box.home);
  await box[Symbol.asyncDispose]();
});

const ask = async (method: string, params: object): Promise<Answer> => {
  const client = new RawClient(box.socket);
  client.ask({ jsonrpc: '2.0', id: ++next, method, params });
  const [answer] = (await client.received(1)) as readonly Answer[];
  for (const line of client.lines()) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(limits.maxFrameBytes);
  client.socket.destroy();
  return answer as Answer;
};
/** Bars of the rows, five times. */
const within = async <T>(ms: number, work: () => Promise<T>): Promise<T> => {
  const began = performance.now();
  const result = await work();
  expect(performance.now() - began).toBeLessThan(5 * ms);
  return result;
};

it('the whole list, in pages below the frame limit, within 5 x 500 ms; nobody waits for it', async () => {
  const canary = new Canary(box.socket);
  const seen = await within(500, async () => {
    const names: string[] = [];
    for (let after: string | null = null; ; ) {
      const { result }: Answer = await ask('status', after === null ? {} : { after });
      const { workers, next: following } = result as { workers: { name: string }[]; next: string | null };
      names.push(...workers.map(({ name }) => name));
      if (following === null) return names;
      after = following;
    }
  });
  expect(seen).toEqual(Array.from({ length: many }, (_, index) => nameOf(index)));
  await canary.unhurt(500);
});

it('a page that is asked for too large still is one frame', async () => {
  const { result } = await ask('status', { limit: 1_000_000 });
  const { workers, next: following } = result as { workers: unknown[]; next: string | null };
  expect(workers.length).toBeLessThan(many);
  expect(following).not.toBeNull();
});

it('`status --json` is one line with all of them', async () => {
  const { code, stdout } = await box.workerctl(['status', '--json']);
  expect(code).toBe(0);
  expect(stdout.indexOf('\n')).toBe(stdout.length - 1);
  const { workers, next: following } = JSON.parse(stdout) as { workers: unknown[]; next: unknown };
  expect(workers).toHaveLength(many);
  expect(following).toBeNull();
});

it('a watcher gets a snapshot of each, once, and then what changes', async () => {
  const watcher = new RawClient(box.socket);
  watcher.ask({ jsonrpc: '2.0', id: 1, method: 'watch', params: {} });
  await ask('enable', { name: nameOf(5) });
  const lines = await eventually(
    () => {
      const all = watcher.lines();
      return all.length >= many + 1 && all.some((line) => line.includes('"enabled":true')) ? all : null;
    },
    { withinMs: 30_000, what: 'all snapshots and the change' },
  );
  const events = lines.slice(1).map((line) => (JSON.parse(line) as { params: { type: string; name: string } }).params);
  expect(events.filter(({ type }) => type === 'gap')).toEqual([]);
  expect(new Set(events.filter(({ type }) => type === 'snapshot').map(({ name }) => name)).size).toBe(many);
  watcher.socket.destroy();
});

it('H10: globs made to be slow, 100 at once, and names that are not there: each answered, and nobody waits', async () => {
  const canary = new Canary(box.socket);
  const slow = Array.from({ length: 100 }, (_, index) => `*${'0*'.repeat(100)}${index}x`);
  const answer = await within(500, () => ask('status', { names: slow }));
  expect(answer.result).toMatchObject({ workers: [], next: null });
  for (let count = 0; count < 10; count += 1) {
    const { error } = await within(100, () => ask('stop', { name: `worker-${'9'.repeat(50)}${count}` }));
    expect(error?.code).toBe(-32001);
  }
  expect((await ask('stop', { name: 'worker-000042' })).error?.message).toContain('Did you mean');
  await canary.unhurt(500);
});
