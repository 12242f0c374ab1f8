/** `workerctl status`: all workers as a table, one as a block. */
import { exitCodes, WorkerdError } from '../../shared/errors.ts';
import { isGlob } from '../../shared/glob.ts';
import type { WorkerView } from '../../shared/worker.ts';
import type { Context } from '../context.ts';
import { allWorkers, checkNames } from '../names.ts';
import { askProblems, sayProblems } from '../problems.ts';
import { oneLine } from '../render/text.ts';
import type { Verb } from '../run.ts';

export const status: Verb = {
  spec: {
    usage: '[options] [NAME...]',
    summary: 'Show workers: all as a table, one in full.',
    details: 'With names the exit code is 3 where one of them is not running, 4 where there is no such worker.',
    options: [{ flags: '--show-env', text: 'with the values of its environment' }],
    examples: [
      ['workerctl status', 'all of them (also: workerctl ls, workerctl ps, workerctl)'],
      ['workerctl status counter', 'one: since when, who started it, how it ended, its last log lines'],
      ["workerctl status 'web-*' --json", 'for scripts'],
    ],
    minOperands: 0,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const names = args.operands;
    checkNames(names);
    const showEnv = args.flag('showEnv');
    // For people alone: what scripts read stays as it is, and costs what it did.
    const problems = context.json || context.quiet ? [] : askProblems(context);
    const { workers, missing } = await lookUp(context, names, showEnv);
    if (workers.length > 0 || missing.length === 0) await show(context, names, workers, showEnv);
    const codes = missing.map((error, index) => {
      // As JSON it is one line, whatever is missing beside what is there.
      if (!context.json || (workers.length === 0 && index === 0)) return context.fail(error);
      context.note(error.message);
      return error.exitCode;
    });
    sayProblems(context, await problems);
    if (names.length > 0 && workers.some((view) => view.phase !== 'running')) codes.push(exitCodes.notRunning);
    return Math.max(0, ...codes);
  },
};

interface Found {
  readonly workers: readonly WorkerView[];
  readonly missing: readonly WorkerdError[];
}

/** One unknown name among several does not hide the others. */
const lookUp = async (context: Context, names: readonly string[], showEnv: boolean): Promise<Found> => {
  const asked = names.length === 0 ? {} : { names };
  try {
    return { workers: await allWorkers(context, { ...asked, showEnv }), missing: [] };
  } catch (error) {
    if (!(error instanceof WorkerdError) || error.code !== 'worker.not-found' || names.length < 2) throw error;
  }
  const workers = new Map<string, WorkerView>();
  const missing: WorkerdError[] = [];
  for (const name of names) {
    try {
      for (const view of await allWorkers(context, { names: [name], showEnv })) workers.set(view.name, view);
    } catch (error) {
      if (!(error instanceof WorkerdError) || error.code !== 'worker.not-found') throw error;
      missing.push(error);
    }
  }
  return { workers: [...workers.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), missing };
};

const show = async (
  context: Context,
  names: readonly string[],
  workers: readonly WorkerView[],
  showEnv: boolean,
): Promise<void> => {
  const [only] = workers;
  if (context.json) context.result({ workers, next: null });
  else if (context.quiet) for (const view of workers) context.line(oneLine(view.name));
  else if (names.length === 1 && only !== undefined && !isGlob(names[0] ?? '')) {
    const { showBlock } = await import('../status-block.ts');
    await showBlock(context, only, showEnv);
  } else if (workers.length > 0) {
    // Not loaded by `--json`, which is what scripts call often.
    const { tableText } = await import('../render/table.ts');
    context.io.stdout.write(tableText(workers, { style: context.style, now: context.now(), width: context.width }));
  } else if (names.length > 0) context.note('no worker matches');
  else context.note('there are no workers. Start one with: workerctl start -- COMMAND');
};
