/** The inside of one thread: its own output and control channel first, then the module. */
import { threadId, workerData } from 'node:worker_threads';
import { runModule } from './run.ts';
import { writeAtOnce } from './sync-output.ts';
import type { ThreadData } from './thread-data.ts';

const { launch, descriptors, downTaken } = workerData as ThreadData;
writeAtOnce(process.stdout, descriptors.out);
writeAtOnce(process.stderr, descriptors.err);
Atomics.store(downTaken, 0, 1);
await runModule({ launch, kind: 'thread', up: descriptors.up, down: descriptors.down, threadId });
