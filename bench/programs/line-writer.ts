/** A worker that writes a line with the time every so often: `line-writer COUNT MS`. Then it stays. */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { microseconds } from './clock.ts';

const [count = 0, every = 0] = process.argv.slice(2).map(Number);
const pad = 'x'.repeat(80);
for (let line = 0; line < count; line += 1) {
  await sleep(every);
  writeSync(1, `${microseconds().toFixed(0)} ${pad}\n`);
}
await sleep(2 ** 31 - 1);
