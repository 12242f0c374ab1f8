// Counts, shows the count, and stops when asked.
//
//   workerctl start ./examples/counter.ts                     the same file runs with --thread and with --process
//   workerctl start ./examples/counter.ts -p stepMs=100
//   workerctl watch counter
//   workerctl stop counter
import { setTimeout as sleep } from 'node:timers/promises';
import { defineWorker } from 'workerctl/worker'; // for the types; a plain `export default async (ctx) => …` works too

export default defineWorker<{ stepMs?: number }>(async (ctx) => {
  let counter = 0;
  while (!ctx.shouldStop()) {
    await sleep(ctx.params.stepMs ?? 1000, undefined, { signal: ctx.signal }).catch(() => {});
    ctx.publish({ counter: ++counter });
  }
  return { counter };
});
