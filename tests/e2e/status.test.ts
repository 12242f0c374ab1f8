/** `workerctl status`: one line of JSON whatever is asked, its exit codes, and pages joined. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { StatusResult } from '../../src/shared/protocol.ts';
import { Sandbox } from '../helpers/sandbox.ts';

let box: Sandbox;
beforeAll(async () => {
  box = new Sandbox();
  await box.workerctl(['start', '-n', 'runs', '--', 'sleep', '1000']);
  await box.workerctl(['run', '-n', 'ended', '--', 'false']);
});
afterAll(async () => {
  await box[Symbol.asyncDispose]();
});

const namesIn = (stdout: string): readonly string[] => {
  expect(stdout.match(/\n/g)).toHaveLength(1);
  return (JSON.parse(stdout) as StatusResult).workers.map(({ name }) => name);
};

test('0 where what is named runs, 3 where it does not, 4 where it is not known, the largest of several', async () => {
  expect((await box.workerctl(['status', 'runs'])).code).toBe(0);
  expect((await box.workerctl(['status', 'ended'])).code).toBe(3);
  expect((await box.workerctl(['status', 'nope'])).code).toBe(4);
  expect((await box.workerctl(['status', 'runs', 'ended'])).code).toBe(3);
  expect((await box.workerctl(['status', 'ended', 'nope', 'runs'])).code).toBe(4);
  expect((await box.workerctl(['status'])).code).toBe(0);
  expect((await box.workerctl(['status', 'no*'])).code).toBe(0);
});

test('--json is one line, also where one of several is not known: that is said on standard error', async () => {
  expect(namesIn((await box.workerctl(['status', '--json'])).stdout)).toEqual(['ended', 'runs']);
  const { code, stdout, stderr } = await box.workerctl(['status', 'runs', 'nope', '--json']);
  expect(namesIn(stdout)).toEqual(['runs']);
  expect(stderr).toContain('no worker is named "nope"');
  expect(code).toBe(4);
  const none = await box.workerctl(['status', 'nope', '--json']);
  expect(JSON.parse(none.stdout)).toMatchObject({ error: { code: 'worker.not-found', data: { name: 'nope' } } });
});

test('more workers than fit a frame come in pages, and are shown as one', async () => {
  const client = await box.client();
  const argument = 'x'.repeat(100_000);
  const names = Array.from({ length: 25 }, (_, index) => `long-${String(index).padStart(2, '0')}`);
  for (const name of names) {
    await client.call('define', { name, spec: { kind: 'command', command: ['true', argument] } });
  }
  const first = await client.call('status', {});
  expect(first.next).not.toBeNull();
  expect(namesIn((await box.workerctl(['status', 'long-*', '--json'])).stdout)).toEqual(names);
});
