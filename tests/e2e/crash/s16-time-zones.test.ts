/** S16: whatever the time zone, and in the hour that comes twice, times are UTC, RFC 3339, with milliseconds. */
import { expect, test } from 'vitest';
import { Sandbox } from '../../helpers/sandbox.ts';

const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

test.each([
  'Pacific/Kiritimati',
  'America/St_Johns',
  'Europe/Berlin',
  'XYZ-3:30ABC,0,365',
])('S16: TZ=%s', async (TZ) => {
  await using box = new Sandbox();
  const began = Date.now();
  const env = { TZ };
  expect((await box.workerctl(['start', '-n', 'w', '--', 'sh', '-c', 'echo hi; exit 3'], { env })).code).toBe(0);
  await box.workerctl(['wait', 'w'], { env });
  const json = await Promise.all(
    [
      ['status', 'w', '--json'],
      ['history', 'w', '--json'],
      ['logs', 'w', '--json'],
      ['rpc', 'daemon.info'],
    ].map(async (args) => (await box.workerctl(args, { env })).stdout),
  );
  const times = json.flatMap((text) =>
    [...text.matchAll(/"(?:at|\w+At)":\s*"([^"]+)"/g)].map(([, time]) => time ?? ''),
  );
  expect(times.length).toBeGreaterThanOrEqual(6);
  for (const time of times) {
    expect(time).toMatch(rfc3339);
    expect(Date.parse(time)).toBeGreaterThanOrEqual(began - 1000);
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now() + 1000);
  }
});
