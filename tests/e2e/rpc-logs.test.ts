/** RPC `logs`: pages, cursors, following through restarts and crashes; `log` events of `watch` before the end they belong to. */
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client, LogEntry, WorkerEvent } from '../../src/shared/client.ts';
import { eventually } from '../helpers/eventually.ts';
import { Sandbox } from '../helpers/sandbox.ts';

const start = (client: Client, name: string, script: string, more: object = {}) =>
  client.call('start', { name, spec: { kind: 'command', command: ['sh', '-c', script], ...more }, wait: 'running' });
const run = async (client: Client, name: string, script: string) => {
  await start(client, name, script);
  await client.call('wait', { name, for: 'exit' });
};
const numbered = (count: number, from = 1) => Array.from({ length: count }, (_, index) => `line ${from + index}`);
const ticker = 'i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.005; done';

/** What an iterator gives, collected in the background. */
const collect = <T>(items: AsyncIterable<T>) => {
  const seen: T[] = [];
  const done = (async () => {
    for await (const item of items) seen.push(item);
  })();
  done.catch(() => {});
  return { seen, done };
};
const lines = (entries: readonly LogEntry[]) => entries.map(({ line }) => line);

describe('logs', () => {
  test('the last lines of the newest run, and from the cursor what came after them', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await run(client, 'w', 'seq -f "line %.0f" 1 300; echo oops >&2; printf unfinished');
    const page = await client.call('logs', { name: 'w', tail: 4 });
    expect(page.entries.map(({ stream, line, partial }) => [stream, line, partial])).toEqual([
      ['stdout', 'line 299', false],
      ['stdout', 'line 300', false],
      ['stderr', 'oops', false],
      ['stdout', 'unfinished', true],
    ]);
    expect(page.entries[0]).toMatchObject({ name: 'w', generation: 1, at: expect.stringMatching(/^\d{4}-.*Z$/) });
    expect(page).not.toHaveProperty('subscription');
    expect(await client.call('logs', { name: 'w', cursor: page.cursor })).toEqual({ entries: [], cursor: page.cursor });
    await client.call('start', { name: 'w' });
    await client.call('wait', { name: 'w', for: 'exit' });
    const next = await client.call('logs', { name: 'w', cursor: page.cursor });
    expect(lines(next.entries).slice(0, 2)).toEqual(['line 1', 'line 2']);
    expect(next.entries).toHaveLength(302);
    expect(next.entries[0]?.generation).toBe(2);
  });

  test('a cursor that is none, of another run than asked for, or of a run to come is refused', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await run(client, 'w', 'echo x');
    for (const [params, what] of [
      [{ cursor: 'x' }, /cursor: must be one/],
      [{ cursor: '1:-1' }, /cursor: must be one/],
      [{ cursor: '1:0', generation: 2 }, /is of run 1, not of 2/],
      [{ cursor: '7:0' }, /is of run 7, and w is at run 1/],
      [{ generation: 2 }, /generation: w has no run 2; its newest is 1/],
      [{ generation: 2, follow: true }, /generation: w has no run 2; its newest is 1/],
    ] as const) {
      await expect(client.call('logs', { name: 'w', ...params })).rejects.toThrow(what);
    }
  });

  test('what does not fit into an answer follows from its cursor: each line once', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await run(client, 'w', 'seq -f "line %.0f" 1 60000; seq -f "line %.0f" 60001 60100 >&2');
    const all = collect(client.logs({ name: 'w', tail: 60_050 }));
    await all.done;
    expect(lines(all.seen)).toEqual(numbered(60_050, 51));
    const errors = collect(client.logs({ name: 'w', tail: 1_000_000, streams: ['stderr'] }));
    await errors.done;
    expect(lines(errors.seen)).toEqual(numbered(100, 60_001));
  });

  test('a line of one stream in the middle of one of the other: both whole, also across a cursor', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const script = 'printf "out one " ; echo err one >&2; read go; echo two; echo out three; read end';
    await start(client, 'w', script, { stdin: true });
    const following = collect(client.logs({ name: 'w', follow: true }));
    await eventually(() => lines(following.seen).includes('err one'));
    const { cursor } = await client.call('logs', { name: 'w', follow: true });
    expect(cursor).toMatch(/^1:0:\d+$/);
    await client.call('send', { name: 'w', text: 'go' });
    await eventually(() => lines(following.seen).includes('out three'));
    expect(lines(following.seen)).toEqual(['err one', 'out one two', 'out three']);
    const rest = await client.call('logs', { name: 'w', cursor });
    expect(lines(rest.entries)).toEqual(['out one two', 'out three']);
  });
});

test('bytes that are missing are told beside the lines: in the answer, as an event, to whoever iterates', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  await start(client, 'w', 'echo one; read go; echo two; read end', { stdin: true });
  await eventually(async () => (await client.call('logs', { name: 'w' })).entries.length === 1);
  expect(await client.call('logs', { name: 'w' })).not.toHaveProperty('gaps');
  const heard: unknown[] = [];
  const iterate = async () => {
    const onGap = ({ bytes }: { readonly bytes: number }) => heard.push(bytes);
    for await (const { line } of client.logs({ name: 'w', follow: true }, { onGap })) heard.push(line);
  };
  const done = iterate();
  await eventually(() => heard.length === 1);
  appendFileSync(join(box.home, 'logs', 'w', '1.idx'), `${Date.now()} ! 4711\n`);
  await client.call('send', { name: 'w', text: 'go' });
  await eventually(() => heard.length === 3);
  const gap = { generation: 1, at: expect.stringMatching(/Z$/), bytes: 4711, before: 1 };
  expect(await client.call('logs', { name: 'w' })).toMatchObject({
    entries: [{ line: 'one' }, { line: 'two' }],
    gaps: [gap],
  });
  await client.call('remove', { name: 'w', force: true });
  await done;
  expect(heard).toEqual(['one', 4711, 'two']);
});

test('a log whose index somebody deleted hangs nobody', async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  const client = await box.client();
  await start(client, 'w', 'seq -f "line %.0f" 1 2000', { log: { maxBytes: 4096, files: 50 } });
  await client.call('wait', { name: 'w', for: 'exit' });
  for (const number of [2, 3]) rmSync(join(box.home, 'logs', 'w', `1.${number}.idx`));
  const { entries } = await client.call('logs', { name: 'w', tail: 5000 });
  expect(lines(entries)).toEqual(numbered(2000));
  expect((await box.workerctl(['logs', 'w', '-n', 'all'])).stdout).toBe(`${numbered(2000).join('\n')}\n`);
});

describe('logs that follow', () => {
  test('each line once and in order, through restarts, until the worker is removed', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await start(client, 'w', ticker);
    const following = collect(client.logs({ name: 'w', tail: 0, follow: true }));
    const early = collect(client.logs({ name: 'w', tail: 1_000_000, follow: true }));
    for (let round = 2; round <= 4; round += 1) {
      await eventually(() => following.seen.at(-1)?.generation === round - 1);
      await client.call('restart', { name: 'w' });
    }
    await eventually(() => following.seen.at(-1)?.generation === 4);
    await client.call('stop', { name: 'w' });
    const files = collect(client.logs({ name: 'w', cursor: '1:0' }));
    await files.done;
    await client.call('remove', { name: 'w' });
    await Promise.all([following.done, early.done]);
    expect(early.seen).toEqual(files.seen);
    expect(files.seen.slice(-following.seen.length)).toEqual(following.seen);
    for (const generation of [1, 2, 3, 4]) {
      const own = lines(early.seen.filter((entry) => entry.generation === generation));
      expect(own).toEqual(numbered(own.length));
    }
  });

  test('of one run: ends with it, also where it had ended before', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await start(client, 'w', 'echo one; read go; printf two', { stdin: true });
    const following = collect(client.logs({ name: 'w', generation: 1, follow: true }));
    await eventually(() => following.seen.length === 1);
    await client.call('send', { name: 'w', text: '' });
    await following.done;
    expect(lines(following.seen)).toEqual(['one', 'two']);
    await client.call('start', { name: 'w' });
    const again = collect(client.logs({ name: 'w', generation: 1, follow: true }));
    await again.done;
    expect(again.seen).toEqual(following.seen);
  });

  test('a signal ends it, and so does closing the client; leaving the loop ends the subscription', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await start(client, 'w', ticker);
    const abort = new AbortController();
    const following = collect(client.logs({ name: 'w', follow: true }, { signal: abort.signal }));
    await eventually(() => following.seen.length > 0);
    abort.abort();
    await following.done;
    for await (const { line } of client.logs({ name: 'w', follow: true })) if (line !== '') break;
    const other = await box.client();
    const last = collect(other.logs({ name: 'w', follow: true }));
    await eventually(() => last.seen.length > 0);
    other.close();
    await last.done;
    // 64 subscriptions are allowed, so a leak would be met here.
    for (let round = 0; round < 70; round += 1) for await (const _ of client.logs({ name: 'w', follow: true })) break;
  });

  test('the daemon is killed: it goes on from its cursor with the next one, each line once', async () => {
    await using box = new Sandbox();
    let pid = await box.startDaemon();
    const client = await box.client();
    await start(client, 'w', ticker);
    const following = collect(client.logs({ name: 'w', cursor: '1:0', follow: true }));
    for (let round = 0; round < 3; round += 1) {
      const seen = following.seen.length;
      await eventually(() => following.seen.length > seen + 20);
      process.kill(pid, 'SIGKILL');
      pid = await box.startDaemon();
    }
    const seen = following.seen.length;
    await eventually(() => following.seen.length > seen + 20);
    await client.call('stop', { name: 'w' });
    const all = collect(client.logs({ name: 'w', cursor: '1:0' }));
    await all.done;
    await eventually(() => following.seen.length >= all.seen.length);
    expect(lines(following.seen)).toEqual(numbered(all.seen.length));
  });

  test('one that does not read costs its place only, and misses nothing once it reads', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await start(client, 'w', 'seq -f "line %.0f" 1 200000; read end', { stdin: true });
    const iterator = client.logs({ name: 'w', generation: 1, cursor: '1:0', follow: true });
    const first = await iterator.next();
    await client.call('send', { name: 'w', text: 'end' });
    await client.call('wait', { name: 'w', for: 'exit' });
    const rest = collect(iterator);
    await rest.done;
    expect([first.value?.line, ...lines(rest.seen)]).toEqual(numbered(200_000));
  });
});

describe('watch with log', () => {
  const phaseIn = (event: WorkerEvent) => (event.type === 'phase' ? event.worker.phase : null);
  const watching = (client: Client, types: readonly WorkerEvent['type'][]) => collect(client.watch({ types }));

  test('what a run wrote comes before its end, for every worker, and nothing of before the subscription', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await start(client, 'old', 'echo before; read go; echo after; read end', { stdin: true });
    await eventually(async () => (await client.call('logs', { name: 'old' })).entries.length === 1);
    const { seen } = watching(client, ['log', 'phase', 'removed']);
    await client.call('daemon.info', {});
    await client.call('send', { name: 'old', text: 'go' });
    const names = Array.from({ length: 10 }, (_, index) => `w${index}`);
    await Promise.all(names.map((name) => run(client, name, 'seq -f "line %.0f" 1 2000; printf end')));
    await client.call('stop', { name: 'old' });
    const ended = (name: string) =>
      seen.findIndex((event) => event.name === name && event.type === 'phase' && event.worker.endedAt !== null);
    await eventually(() => [...names, 'old'].every((name) => ended(name) !== -1));
    for (const name of names) {
      const before = seen.slice(0, ended(name)).filter((event) => event.name === name && event.type === 'log');
      expect(before.map((event) => event.type === 'log' && event.line)).toEqual([...numbered(2000), 'end']);
      expect(before.at(-1)).toMatchObject({ generation: 1, stream: 'stdout', partial: true });
      expect(seen.slice(ended(name)).filter((event) => event.name === name && event.type === 'log')).toEqual([]);
      // In the order it happened: before it ran it wrote nothing.
      const runs = seen.findIndex((event) => event.name === name && phaseIn(event) === 'running');
      expect(runs).toBeGreaterThan(-1);
      expect(seen.slice(0, runs).filter((event) => event.name === name && event.type === 'log')).toEqual([]);
    }
    const old = seen.flatMap((event) => (event.type === 'log' && event.name === 'old' ? [event.line] : []));
    expect(old).toEqual(['after']);
  });

  test('log alone: lines and nothing else', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const { seen } = watching(client, ['log']);
    await client.call('daemon.info', {});
    await run(client, 'w', 'echo one; echo two >&2');
    await run(client, 'x', 'echo three');
    await eventually(() => seen.length === 3);
    expect(seen.map((event) => event.type === 'log' && [event.name, event.stream, event.line])).toEqual([
      ['w', 'stdout', 'one'],
      ['w', 'stderr', 'two'],
      ['x', 'stdout', 'three'],
    ]);
  });
});
