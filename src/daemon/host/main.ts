/**
 * A process host: `node host MODULE EXPORT` runs that one module, with WORKERD_* in its environment and the control
 * channel on fd 3 (up) and fd 4 (down). Composition root; installs no signal handlers.
 */
import process from 'node:process';
import type { Json } from './contract.ts';
import { runModule } from './run.ts';

const up = 3;
const down = 4;

interface BlockingHandle {
  readonly _handle?: { setBlocking?(on: boolean): void };
}

/** process.exit() would lose what a pipe has not taken yet. */
const makeBlocking = (stream: NodeJS.WriteStream): void => {
  (stream as NodeJS.WriteStream & BlockingHandle)._handle?.setBlocking?.(true);
};

const { WORKERD_NAME: name, WORKERD_GENERATION: generation, WORKERD_PARAMS: params } = process.env;
const [module, exportName] = process.argv.slice(2);
makeBlocking(process.stdout);
makeBlocking(process.stderr);
if (module === undefined || exportName === undefined || name === undefined) {
  process.stderr.write(
    'workerd: this runs a module for workerd; start one with: workerctl start ./module.ts --process\n',
  );
  process.exit(2);
}
await runModule({
  launch: {
    name,
    generation: Number(generation),
    module,
    export: exportName,
    params: params === undefined || params === '' ? {} : (JSON.parse(params) as Json),
  },
  kind: 'process',
  up,
  down,
});
