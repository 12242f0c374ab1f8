/** `workerctl daemon …`: all that `workerd` does, for where another package has its name. */
import { isSteering } from '../../shared/environment.ts';
import { startersOpenFiles } from '../../shared/resource-limits.ts';
import type { Verb } from '../run.ts';

export const daemon: Verb = {
  spec: {
    usage: '[workerd options and arguments...]',
    summary: 'Run workerd: start, stop, restart, status. See: workerctl daemon --help',
    options: [],
    examples: [
      ['workerctl daemon start --detach', 'start it in the background'],
      ['workerctl daemon status', 'is it there?'],
      ['workerctl daemon stop', 'stop all workers, then the daemon'],
    ],
    passesOn: true,
    minOperands: 0,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const { spawn } = process.getBuiltinModule('node:child_process');
    const child = spawn(process.execPath, [context.io.daemonProgram(), ...args.operands], {
      stdio: 'inherit',
      env: environment(context.io.env),
    });
    // The terminal sends Ctrl-C to both: the daemon decides what it means.
    const forward = (['SIGTERM', 'SIGHUP'] as const).map((signal) =>
      context.io.onSignal(signal, () => child.kill(signal)),
    );
    try {
      return await new Promise<number>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => resolve(code ?? 128 + (signalNumber(signal) ?? 0)));
      });
    } finally {
      for (const stop of forward) stop();
    }
  },
};

/** As the program does by itself where it is executed (scripts/build.mjs); here it is Node that is. */
const environment = (env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> => {
  const own = Object.fromEntries(Object.entries(env).filter(([key]) => !isSteering(key)));
  const openFiles = startersOpenFiles();
  return openFiles === null ? own : { ...own, WORKERD_OPEN_FILES: String(openFiles) };
};

const signalNumber = (signal: NodeJS.Signals | null): number | undefined =>
  signal === null ? undefined : process.getBuiltinModule('node:os').constants.signals[signal];
