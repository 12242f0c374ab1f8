/**
 * What the real daemon answers and tells is what it says that it does: every method's result and every event against
 * the schemas, strictly, and against the document of its own `rpc.discover`, as a foreign client has it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import type { OpenRpcDocument } from '../../src/daemon/openrpc.ts';
import { limits } from '../../src/shared/limits.ts';
import { type MethodName, methods } from '../../src/shared/protocol.ts';
import { resultSchemas } from '../../src/shared/results.ts';
import { connectTo, type DaemonClient } from '../helpers/daemon-client.ts';
import { eventually } from '../helpers/eventually.ts';
import { type DocumentValidator, documentValidator } from '../helpers/openrpc.ts';
import { fixtures, root, Sandbox } from '../helpers/sandbox.ts';

const box = new Sandbox();
let client: DaemonClient;
let document: OpenRpcDocument;
let check: DocumentValidator;
beforeAll(async () => {
  await box.startDaemon();
  client = connectTo(box);
  document = await client.result<OpenRpcDocument>('rpc.discover');
  check = documentValidator(document);
});
afterAll(async () => {
  client.socket.destroy();
  await box[Symbol.asyncDispose]();
});

const asked = new Set<string>();
/** Asks, and looks at params and result in both ways. */
const ask = async (method: MethodName, params: object = {}): Promise<unknown> => {
  asked.add(method);
  expect(check.params(method, params), `params of ${method}`).toEqual([]);
  const result = await client.result(method, params);
  const schema: z.ZodType = resultSchemas().results[method];
  expect(schema.safeParse(result).error?.issues, `result of ${method}`).toBeUndefined();
  expect(check.result(method, result)).toEqual([]);
  return result;
};

const command = (script: string, more: object = {}) => ({
  kind: 'command',
  command: ['/bin/sh', '-c', script],
  ...more,
});
const caller = { env: { PATH: process.env['PATH'] ?? '' }, cwd: '/', umask: 18 };

describe('rpc.discover', () => {
  it('answers the document of this version, well below a frame', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(document.info.version).toBe(version);
    expect(document.methods.map(({ name }) => name)).toEqual(Object.keys(methods));
    expect(Buffer.byteLength(client.lines()[0] ?? '')).toBeLessThan(limits.maxFrameBytes / 2);
  });

  it('is answered in a batch and pipelined too; other names of rpc. are no methods', async () => {
    const line = JSON.stringify({ jsonrpc: '2.0', method: 'rpc.discover', id: 'd' });
    expect(await client.reply(`[${line},${line.replace('discover', 'x')}]`)).toEqual([
      [expect.objectContaining({ id: 'd', result: document }), expect.objectContaining({ error: expect.anything() })],
    ]);
    for (const method of ['rpc.x', 'rpc.', 'rpc.Discover'])
      expect((await client.call(method)).error?.code).toBe(-32601);
  });

  it('workerctl rpc rpc.discover prints it; its help names the page', async () => {
    const { code, stdout } = await box.workerctl(['rpc', 'rpc.discover']);
    expect([code, JSON.parse(stdout)]).toEqual([0, document]);
    expect((await box.workerctl(['rpc', '--help'])).stdout.replaceAll(/\s+/g, ' ')).toMatch(
      /docs\/protocol\.md.*workerctl rpc rpc\.discover/,
    );
  });
});

it('every method answers what it says, for workers of every kind and end', async () => {
  await ask('hello', { client: 'test', protocol: 1, uid: 1, pid: 2, via: 'test' });
  await ask('daemon.info');
  const { subscription } = (await ask('watch', {})) as { subscription: string };
  // Of another lifetime: so there is a gap, and snapshots (of nobody) after it.
  await ask('watch', { since: 'another-1' });

  const module = join(fixtures, 'collects-messages.mjs');
  await ask('start', { name: 'c', spec: command('echo out; echo err >&2; exec sleep 1000'), caller, enable: true });
  await ask('start', { name: 'p', spec: { kind: 'process', module, params: { a: [1, null] } }, caller });
  await ask('start', { name: 't', spec: { kind: 'thread', module }, caller });
  await ask('start', { name: 'ends', spec: command('exit 3'), wait: 'running' });
  await ask('start', { name: 'r', spec: command('exit 1', { restart: { policy: 'always' } }), wait: 'none' });
  await ask('start', {
    name: 'ready',
    spec: command(`echo '{"ready":true}' >&3; exec sleep 1000`, { ready: { by: 'worker' } }),
  });
  await ask('start', { name: 'left', spec: command('sleep 1000 & exit 0') });
  expect((await client.call('start', { name: 'bad', spec: command('', { cwd: '/nowhere' }) })).error?.code).toBe(
    -32003,
  );

  await ask('publish', { name: 'c', state: { counter: 1 } });
  await ask('signal', { name: 'c', signal: 'CONT' });
  await ask('send', { name: 'p', text: 'hello' });
  await ask('enable', { name: 'c' });
  await ask('disable', { name: 'c' });
  await ask('define', { name: 'd', spec: command('exit 0', { env: { A: 'b' } }), caller });
  for (const name of ['ends', 'left']) await ask('wait', { name, for: 'exit', timeoutMs: 20_000 });
  await eventually(
    async () => ((await ask('logs', { name: 'c', tail: 10 })) as { entries: unknown[] }).entries.length === 2,
  );
  await ask('watch', { names: ['c'], types: ['log', 'phase'] });
  await ask('logs', { name: 'c', tail: 0, follow: true });
  await ask('logs.locate', { name: 'c' });
  await ask('restart', { name: 'c' });
  for (const name of ['p', 't', 'r', 'ready', 'left']) await ask('stop', { name, graceMs: 3000 });
  await ask('stop', { name: 'd' });
  for (const name of ['c', 'p', 't', 'ends', 'bad', 'left', 'd']) await ask('history', { name, limit: 10 });
  for (const showEnv of [true, false]) await ask('status', { showEnv });
  await ask('remove', { name: 'c', force: true });
  await ask('unwatch', { subscription });

  const events = client.events();
  for (const event of events) {
    const parsed = resultSchemas().nouns.Event.safeParse(event);
    expect(parsed.error?.issues, JSON.stringify(event)).toBeUndefined();
    expect(check.event(event)).toEqual([]);
  }
  const types = new Set(events.map(({ type }) => type));
  expect([...types].sort()).toEqual(['gap', 'log', 'phase', 'ready', 'removed', 'state']);
  // What ends the daemon is asked at the end; `rpc.discover` was.
  await ask('rpc.discover');
  const left = Object.keys(methods).filter((method) => !asked.has(method));
  expect(left).toEqual(['daemon.stop', 'daemon.restart']);
});

it('daemon.stop and daemon.restart', async () => {
  await using other = new Sandbox();
  // Restarted last: until it is back a connection may end without an answer.
  for (const method of ['daemon.stop', 'daemon.restart'] as const) {
    const pid = await other.startDaemon();
    using asking = connectTo(other);
    const result = await asking.result(method);
    expect(result).toEqual({ pid });
    if (method === 'daemon.stop') await eventually(() => other.processes().length === 0);
    expect(resultSchemas().results[method].safeParse(result).error).toBeUndefined();
    expect(check.result(method, result)).toEqual([]);
  }
});
