/** The daemon is killed or replaced under its clients: they find the next one by themselves and go on. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { connect, WorkerdError, type WorkerEvent } from '../../src/shared/client.ts';
import { eventually } from '../helpers/eventually.ts';
import { root, Sandbox } from '../helpers/sandbox.ts';

const counter = join(root, 'examples', 'counter.ts');
const daemonPid = async (box: Sandbox): Promise<number> => {
  const client = await connect({ home: box.home });
  try {
    return (await client.call('daemon.info', {})).pid;
  } finally {
    client.close();
  }
};
/** kill -9; whoever needs a daemon starts the next one. */
const killDaemon = async (box: Sandbox): Promise<void> => {
  process.kill(await daemonPid(box), 'SIGKILL');
};
const eventsIn = (text: string): readonly WorkerEvent[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as WorkerEvent);

describe('the command line', () => {
  test('watch --json goes on after a gap with the counter where it was, and ends when the worker does', async () => {
    await using box = new Sandbox();
    await box.workerctl(['start', '--process', '-p', 'stepMs=20', counter]);
    const watching = box.spawn('workerctl', ['watch', '--json', 'counter']);
    const last = () => eventsIn(watching.stdout()).at(-1);
    await eventually(() => last()?.type === 'state');
    for (let round = 1; round <= 2; round += 1) {
      await killDaemon(box);
      await eventually(() => eventsIn(watching.stdout()).filter(({ type }) => type === 'gap').length === round);
      await eventually(() => last()?.type === 'state');
    }
    await box.workerctl(['stop', 'counter']);
    const { code, stdout } = await watching.finished;
    expect(code).toBe(0);
    const revisions = eventsIn(stdout).flatMap((event) => {
      if (event.type === 'state') return [event.stateRevision];
      return event.type === 'snapshot' ? [event.worker.stateRevision] : [];
    });
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
  });

  test.each([
    ['wait', ['wait', 'w']],
    ['run', ['run', 'w']],
  ])('%s passes on the exit code of a worker that outlived two daemons', async (_verb, args) => {
    await using box = new Sandbox();
    const script = '(while :; do echo tick; sleep 0.02; done) & read go; kill $!; echo done; exit 7';
    await box.workerctl(['start', '-n', 'w', '--stdin', '--', 'sh', '-c', script]);
    const waiting = box.spawn('workerctl', args);
    // A `start` under way is not asked for twice: so it has joined before the first is killed.
    if (args[0] === 'run') await eventually(() => waiting.stdout().includes('tick'));
    for (let round = 0; round < 2; round += 1) {
      const before = await daemonPid(box);
      await killDaemon(box);
      await eventually(async () => (await daemonPid(box)) !== before);
    }
    await box.workerctl(['send', 'w', 'go']);
    const { code, stdout, stderr } = await waiting.finished;
    expect({ code, stderr }).toEqual({
      code: 7,
      stderr: expect.stringMatching(/^(workerctl: started the daemon.*\n)*$/),
    });
    expect(stdout).toMatch(args[0] === 'run' ? /^(tick\n)+done\n$/ : /exit code 7/);
  });

  test('logs -f misses no line and doubles none, through restarts of the daemon and of the worker', async () => {
    await using box = new Sandbox();
    const script = 'i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.01; done';
    await box.workerctl(['start', '-n', 'w', '--', 'sh', '-c', script]);
    const following = box.spawn('workerctl', ['logs', '-f', '-n', 'all', '--json', 'w']);
    const entries = () =>
      following
        .stdout()
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as { generation: number; line: string });
    for (let generation = 1; generation <= 3; generation += 1) {
      await eventually(() => entries().at(-1)?.generation === generation);
      await killDaemon(box);
      const seen = entries().length;
      await eventually(() => entries().length > seen + 10);
      await box.workerctl(['restart', 'w']);
    }
    await eventually(() => entries().at(-1)?.generation === 4);
    await box.workerctl(['rm', '--force', 'w']);
    expect((await following.finished).code).toBe(0);
    for (const generation of [1, 2, 3, 4]) {
      const own = entries().filter((entry) => entry.generation === generation);
      expect(own.map(({ line }) => line)).toEqual(own.map((_, index) => `line ${index + 1}`));
    }
  });

  test('a replaced daemon is noticed by nobody', async () => {
    await using box = new Sandbox();
    await box.workerctl(['start', '-n', 'w', '--stdin', '--', 'sh', '-c', 'read go; exit 3']);
    const waiting = ['wait', 'run', 'watch', 'logs'].map((verb) =>
      box.spawn('workerctl', [verb, ...(verb === 'logs' ? ['-f', '--run', '1'] : []), 'w']),
    );
    for (let round = 0; round < 3; round += 1) expect((await box.workerd(['restart'])).code).toBe(0);
    await box.workerctl(['send', 'w', 'go']);
    const ended = await Promise.all(waiting.map(({ finished }) => finished));
    expect(ended.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      [3, 3, 0, 0].map((code) => ({ code, stderr: '' })),
    );
  });
});

describe('the library', () => {
  test('watch tells what has vanished while nobody was there', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const spec = { kind: 'command', command: ['sleep', '1000'] } as const;
    for (const name of ['a', 'b', 'c']) await client.call('start', { name, spec });
    const abort = new AbortController();
    const seen: WorkerEvent[] = [];
    const watching = (async () => {
      for await (const event of client.watch({ names: ['a', 'b', 'x*'] }, { signal: abort.signal })) {
        seen.push(event);
        // Held while the daemon dies and another client removes one of the workers.
        if (event.name !== 'b' || event.type !== 'snapshot' || seen.length > 2) continue;
        await killDaemon(box);
        expect((await box.workerctl(['rm', '--force', 'b'])).code).toBe(0);
      }
    })();
    await eventually(() => seen.length >= 5);
    await client.call('define', { name: 'x1', spec });
    await eventually(() => seen.length >= 6);
    abort.abort();
    await watching;
    expect(seen.map(({ type, name }) => `${type} ${name}`.trim())).toEqual([
      'snapshot a',
      'snapshot b',
      'gap',
      'snapshot a',
      'removed b',
      'phase x1',
    ]);
    expect(seen[2]).toMatchObject({ dropped: 0, snapshots: 1 });
  });

  test('a call that may not be repeated is not; the next one has a connection again', async () => {
    await using box = new Sandbox();
    const pid = await box.startDaemon();
    const client = await box.client();
    const spec = {
      kind: 'command',
      command: ['sh', '-c', 'read never'],
      stdin: true,
      ready: { by: 'worker' },
    } as const;
    const held = client.call('start', { name: 'w', spec });
    await eventually(async () => (await client.call('status', {})).workers[0]?.phase === 'running');
    process.kill(pid, 'SIGKILL');
    await expect(held).rejects.toMatchObject({ code: 'daemon.unreachable', data: { reason: 'connection lost' } });
    await box.startDaemon();
    expect((await client.call('status', {})).workers[0]).toMatchObject({ name: 'w', phase: 'running', generation: 1 });
  });

  test('when the time is over, whoever waits hears that there is no daemon', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    await using client = await connect({ home: box.home, reconnectMs: 300 });
    const watching = client.watch({});
    const waiting = watching.next();
    await client.call('daemon.info', {});
    expect((await box.workerd(['stop'])).code).toBe(0);
    const failed = await Promise.allSettled([waiting, client.call('status', {})]);
    for (const result of failed) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'daemon.unreachable' } });
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(WorkerdError);
    }
  });

  test('a timeout counts from the first asking', async () => {
    await using box = new Sandbox();
    const pid = await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: { kind: 'command', command: ['sleep', '1000'] } });
    const begun = performance.now();
    const waiting = client.call('wait', { name: 'w', for: 'exit', timeoutMs: 3000 });
    await client.call('daemon.info', {});
    process.kill(pid, 'SIGKILL');
    await box.startDaemon();
    await expect(waiting).rejects.toMatchObject({ code: 'wait.timeout' });
    const tookMs = performance.now() - begun;
    expect(tookMs).toBeGreaterThan(2900);
    expect(tookMs).toBeLessThan(15_000);
  });
});
