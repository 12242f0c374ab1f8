/**
 * A worker that publishes what it is told to, on descriptor 3: `pace COUNT MS` one state every so often, `flood MS` as
 * many as it can. It is told on descriptor 4, as workerd tells its workers; a bare server does the same. With arguments
 * it writes, in turns, into those FIFOs instead: one process that publishes for many workers.
 */
import { createReadStream, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { microseconds } from './clock.ts';

const outlets = process.argv.length > 2 ? process.argv.slice(2).map((path) => openSync(path, 'r+')) : [3];
/** With many outlets: a round of them every so often. */
const roundMs = 5;
const pad = 'x'.repeat(100);
const publish = () => {
  for (const outlet of outlets) writeSync(outlet, `{"state":{"t":${microseconds().toFixed(0)},"pad":"${pad}"}}\n`);
};

for await (const line of createInterface(createReadStream('', { fd: 4 }))) {
  const [what, first, every] = String((JSON.parse(line) as { message?: unknown }).message).split(' ');
  if (what === 'pace') {
    for (let count = 0; count < Number(first); count += 1) {
      await sleep(Number(every));
      publish();
    }
  } else if (what === 'flood') {
    const until = microseconds() + Number(first) * 1000;
    while (microseconds() < until) {
      publish();
      // One of many workers is not alone: a full pipe of each would only have its states replaced.
      if (outlets.length > 1) await sleep(roundMs);
    }
  }
}
