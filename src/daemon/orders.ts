/** A new run as an order to the shim. Reads the account database, decides nothing else. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Places, runDirectory, workerLogDirectory } from '../shared/paths.ts';
import type { Run, WorkerRecord } from './core/model.ts';
import { type UserEntry, workerEnvironment } from './environment.ts';
import { keepOf } from './rebuild.ts';
import { fifoNames, type SpawnParams } from './shim/protocol.ts';

export interface OrderContext {
  readonly places: Places;
  /** argv that a process host begins with; module and export follow. */
  readonly processHost: readonly string[];
  /** The soft limit of open files of workers whose definition brings none; `null`: as it is. */
  readonly openFiles: number | null;
}

export const spawnOrder = (worker: WorkerRecord, run: Run, context: OrderContext): SpawnParams => {
  const { spec, caller, name } = worker;
  const { places } = context;
  const limits = caller.limits ?? {};
  const env = workerEnvironment({
    spec,
    caller,
    identity: { run: run.id, name, generation: run.generation },
    places,
    account: spec.user === null ? null : accountOf(spec.user),
  });
  const common = {
    run: run.id,
    name,
    generation: run.generation,
    env,
    cwd: spec.cwd ?? caller.cwd,
    umask: spec.umask ?? caller.umask,
    user: spec.user,
    openFiles: limits.nofile === undefined ? context.openFiles : limits.nofile,
    limits,
    stop: { signal: run.stopSignal, graceMs: run.graceMs },
    log: { directory: workerLogDirectory(places, name), ...spec.log },
    host: run.host,
    keep: keepOf(worker, run),
  };
  switch (spec.kind) {
    case 'command':
      return { ...common, kind: 'command', argv: spec.command, stdin: spec.stdin, launch: null };
    case 'process':
      return {
        ...common,
        kind: 'module',
        argv: [...context.processHost, spec.module, spec.export],
        stdin: spec.stdin,
        launch: null,
      };
    case 'thread':
      return {
        ...common,
        kind: 'thread',
        argv: [],
        stdin: false,
        launch: {
          name,
          generation: run.generation,
          module: spec.module,
          export: spec.export,
          params: spec.params,
          env,
        },
      };
    default:
      return spec satisfies never;
  }
};

const shimKinds = { command: 'command', process: 'module', thread: 'thread' } as const;

/** A run that lives, for a new shim: as it was started, whatever its worker has been redefined as since. */
export const adoptOrder = (worker: WorkerRecord, run: Run, context: OrderContext): SpawnParams => ({
  ...spawnOrder(worker, run, context),
  kind: shimKinds[run.kind],
  stdin: existsSync(join(runDirectory(context.places, run.id), fifoNames.in)),
});

/** From the local account file; an unknown user is the shim's to refuse, in words. */
const accountOf = (user: string): UserEntry | null => {
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [name, , , , , home, shell] = line.split(':');
      if (name === user && home !== undefined && shell !== undefined) return { name, home, shell };
    }
  } catch {
    // No such file: no accounts to speak of.
  }
  return null;
};
