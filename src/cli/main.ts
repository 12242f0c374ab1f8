/** The entry of `workerctl`: the real world in, the exit code out. */
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { processIo } from './io.ts';
import { run } from './run.ts';

/** The bundles lie side by side; the name we were called by may be a link. */
const daemonProgram = (): string => join(dirname(realpathSync(process.argv[1] ?? '.')), 'workerd.cjs');

const main = async (): Promise<void> => {
  // All is written by now, since output is synchronous; so nothing that is still open is waited for.
  process.exit(await run(process.argv.slice(2), processIo(daemonProgram)));
};

void main();
