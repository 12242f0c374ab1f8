/** Why a verb came to nothing, in words and as an error. Pure. */
import { WorkerdError } from '../shared/errors.ts';
import type { Exit, Phase, Spec } from '../shared/worker.ts';
import { isLive, isOpen, type KnownLeftover, type WorkerRecord } from './core/model.ts';
import { named, wayOut } from './core/unended.ts';
import { phaseOf, viewOf } from './core/view.ts';
import { differences } from './definitions.ts';

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

export const describeExit = (exit: Exit): string => {
  switch (exit.kind) {
    case 'code':
      return `it ended with exit code ${exit.code}`;
    case 'signal':
      return `it was ended by ${exit.signal}`;
    case 'spawn-failed':
      return `${firstLine(exit.message)} (${exit.errno})`;
    case 'error':
      return `${exit.name}: ${firstLine(exit.message)}`;
    case 'returned':
      return 'it ended before it was ready';
    case 'terminated':
      return 'it was ended by force';
    case 'lost':
      return `it was lost: ${exit.reason}`;
    default:
      return exit satisfies never;
  }
};

export const startFailed = (worker: WorkerRecord, generation: number): WorkerdError => {
  const { name, run } = worker;
  const own = run !== null && run.generation === generation ? run : null;
  const exit = own?.exit ?? null;
  const why =
    exit !== null && own?.stop == null
      ? describeExit(exit)
      : run !== null && run.generation > generation
        ? 'it was replaced by a newer run'
        : own === null && worker.reason !== null
          ? `${run?.stop?.outlived === true && isOpen(run) ? 'its earlier run ' : ''}${worker.reason}`
          : 'it was stopped before that';
  // One that was never there wrote nothing.
  const next = exit === null ? '' : `. See: workerctl ${exit.kind === 'spawn-failed' ? 'status' : 'logs'} ${name}`;
  return new WorkerdError('worker.start-failed', `${name} did not start: ${why}${next}`, {
    name,
    generation,
    exit,
    worker: viewOf(worker),
  });
};

/** A phase as what is said of a worker. */
export const inWords: Readonly<Record<Phase, string>> = {
  stopped: 'stopped',
  starting: 'starting',
  running: 'running',
  stopping: 'stopping',
  backoff: 'waiting to be restarted',
  exited: 'over',
  failed: 'failed',
};

export const alreadyRunning = (worker: WorkerRecord): WorkerdError => {
  const { name, run } = worker;
  const pid = isLive(run) && run.pid !== null ? ` (pid ${run.pid})` : '';
  const message = `${name} is already ${inWords[phaseOf(worker)]}${pid}. Replace it with --if-running replace`;
  return new WorkerdError('worker.already-running', message, { name, phase: phaseOf(worker), worker: viewOf(worker) });
};

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'unset';
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
};

/** Values of environments are shown nowhere, so not here either. */
export const specConflict = (worker: WorkerRecord, spec: Spec): WorkerdError => {
  const { name } = worker;
  const [before, after] = [worker.spec as object as Record<string, unknown>, spec as object as Record<string, unknown>];
  const members = differences(worker.spec, spec);
  const words = members.map((member) =>
    member === 'env' ? 'env' : `${member} (is ${shown(before[member])}, asked ${shown(after[member])})`,
  );
  return new WorkerdError(
    'worker.spec-conflict',
    `${name} is ${inWords[phaseOf(worker)]}, with another definition: it differs in ${words.join(', ')}. ` +
      'Replace it with --if-running replace, or choose another name with -n',
    { name, differs: members },
  );
};

export const notEnded = ({ name, leftovers }: WorkerRecord): WorkerdError => {
  const message = `${name} cannot be ended: SIGKILL is outlived by ${named(leftovers)}. ${wayOut(leftovers)}. Try again: workerctl stop ${name}`;
  return new WorkerdError('worker.busy', message, { name, leftovers: leftovers.map(shownProcess) });
};

const shownProcess = ({ pid, command, state }: KnownLeftover) => ({ pid, command, state: state ?? null });

/** The daemon was to end every worker, and ends though some cannot be ended. */
export const notAllEnded = (workers: readonly WorkerRecord[], pid: number): WorkerdError => {
  const all = workers.flatMap(({ name, leftovers }) =>
    leftovers.map((process) => ({ name, words: `${name}: ${named([process])}`, ...shownProcess(process) })),
  );
  const message =
    `the daemon (pid ${pid}) has ended, and every worker but what outlives SIGKILL: ${all.map(({ words }) => words).join('; ')}. ` +
    `${wayOut(workers.flatMap(({ leftovers }) => leftovers))}. The next daemon shows what is still there: workerctl status`;
  return new WorkerdError('worker.busy', message, { pid, leftovers: all.map(({ words: _words, ...each }) => each) });
};
