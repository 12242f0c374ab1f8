/** K01, K02, K04: the shim is killed, also with the daemon: workers live on as they were, and stop works on them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SpecInput } from '../../../src/shared/protocol.ts';
import { eventually } from '../../helpers/eventually.ts';
import { root, Sandbox } from '../../helpers/sandbox.ts';

const module = join(root, 'examples', 'counter.ts');
const params = { stepMs: 20 };
const specs = {
  command: { kind: 'command', command: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done'] },
  process: { kind: 'process', module, params },
  thread: { kind: 'thread', module, params },
} satisfies Record<string, SpecInput>;
const names = ['command', 'process', 'thread'] as const;

const shimOf = (box: Sandbox): number => box.processes().find(({ command }) => command.includes('shim.cjs'))?.pid ?? 0;
const daemonOf = (box: Sandbox): number =>
  box.processes().find(({ command }) => command.includes('workerd.cjs start'))?.pid ?? 0;

const identities = async (box: Sandbox) =>
  Promise.all(
    names.map(async (name) => {
      const { phase, pid, startedAt, generation } = await box.status(name);
      return { name, phase, pid, startedAt, generation };
    }),
  );

const kills: readonly (readonly [string, (box: Sandbox) => Promise<void>])[] = [
  ['the shim', async (box) => void process.kill(shimOf(box), 'SIGKILL')],
  [
    'the shim, and then the daemon',
    async (box) => {
      const shim = shimOf(box);
      process.kill(shim, 'SIGKILL');
      await eventually(() => shimOf(box) !== 0 && shimOf(box) !== shim, { what: 'a new shim' });
      const client = await box.client();
      await eventually(async () => (await client.call('signal', { name: 'command', signal: 'SIGCONT' })).worker);
      process.kill(daemonOf(box), 'SIGKILL');
    },
  ],
  [
    'both at once',
    async (box) => {
      process.kill(shimOf(box), 'SIGKILL');
      process.kill(daemonOf(box), 'SIGKILL');
    },
  ],
];

test.each(
  kills,
)('%s is killed: the same processes, their output and state go on, and stop ends them', async (_, kill) => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  for (const name of names) await client.call('start', { name, spec: specs[name] });
  const before = await identities(box);
  await kill(box);
  expect((await box.workerctl(['status'])).code).toBe(0);
  await eventually(() => shimOf(box) !== 0, { what: 'a new shim' });
  expect(await identities(box)).toEqual(before);
  for (const name of ['process', 'thread']) {
    const { stateRevision } = await box.status(name);
    await eventually(async () => (await box.status(name)).stateRevision > stateRevision + 2, {
      what: `${name} publishes`,
    });
  }
  const log = () =>
    readFileSync(join(box.home, 'logs', 'command', '1.log'), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map(Number);
  const lines = log().length;
  await eventually(() => log().length > lines + 5, { what: 'its output is read on' });
  expect((await box.workerctl(['stop', '--all'])).code).toBe(0);
  for (const name of names) expect(await box.status(name)).toMatchObject({ phase: 'stopped', pid: null });
});
