/** `status` says what is wrong with the daemon, beside its result and at no cost that shows. */
import { afterEach, expect, test } from 'vitest';
import { cli } from './cli.ts';
import { type FakeDaemon, startFakeDaemon, statusOf } from './fake-daemon.ts';
import { makeView } from './views.ts';

const since = new Date().toISOString();
const problem = { kind: 'registry', since, message: 'the registry /h/registry.db cannot be written' };
const status = statusOf(() => [makeView()]);

let daemon: FakeDaemon | null = null;
const serve = async (info: () => unknown): Promise<FakeDaemon> => {
  daemon = await startFakeDaemon({ status, 'daemon.info': info });
  return daemon;
};
afterEach(async () => {
  await daemon?.close();
  daemon = null;
});

test.each([[[]], [['web']], [['w*']]])('status %j says each problem on stderr, asked in one write', async (names) => {
  const fake = await serve(() => ({ problems: [problem, { ...problem, message: 'second' }] }));
  const { code, out, err } = await cli(['status', '--home', fake.home, ...names]);
  expect(code).toBe(0);
  expect(out).toContain('web');
  expect(out).not.toContain('registry');
  expect(err).toMatch(
    /^workerctl: the registry \/h\/registry\.db cannot be written \(since [\d:]{8}\)\nworkerctl: second /,
  );
  if (names[0] !== 'web') expect(fake.writes).toEqual([1]);
});

test.each([['--json'], ['-q']])('with %s nobody asks', async (flag) => {
  const fake = await serve(() => ({ problems: [problem] }));
  const { err } = await cli(['status', '--home', fake.home, flag]);
  expect([err, fake.calls.map(({ method }) => method)]).toEqual(['', ['status']]);
});

test('a daemon that knows no problems, or not even the question, is no reason to fail', async () => {
  for (const info of [
    () => ({}),
    () => {
      throw new Error('none');
    },
  ]) {
    const fake = await serve(info);
    expect(await cli(['status', '--home', fake.home])).toMatchObject({ code: 0, err: '' });
    await fake.close();
  }
  daemon = null;
});
