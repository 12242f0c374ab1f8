/** What lies in the home and should not, or not like that: a damaged registry, what others left. Pure. */
import { basename, join } from 'node:path';
import { oneLine } from '../render/text.ts';
import { type Check, counted, fail, few, ok, orOk, shellWord, warn } from './check.ts';
import type { Facts } from './facts.ts';

export const checkRegistry = (facts: Facts): readonly Check[] => {
  const { places, home } = facts;
  const { registry, damaged } = home;
  const faults: Check[] = [];
  const next =
    'The next daemon moves it aside, begins anew with what can still be read, and takes back what runs; nothing is deleted. To keep a copy first: cp -a';
  if (registry !== null) {
    const why = !registry.isDatabase
      ? 'it is empty, or no database'
      : !registry.isWhole
        ? 'it is cut short'
        : registry.fault;
    if (why !== null)
      faults.push(
        fail(
          'registry',
          `${places.registry} is damaged: ${oneLine(why)}`,
          `${next} ${shellWord(places.registry)} ${shellWord(`${places.registry}.copy`)}`,
        ),
      );
  }
  // The companions of one that was moved aside go with it.
  if (damaged.length > 0) {
    const newest = damaged.at(-1) ?? '';
    faults.push(
      warn(
        'registry',
        `${damaged.length === 1 ? 'one was' : `${damaged.length} were`} found damaged and moved aside: ${few(damaged.map((path) => basename(path)))}`,
        `Look whether a worker is missing: workerctl status. Then: rm ${shellWord(newest)}*`,
      ),
    );
  }
  return orOk(faults, ok('registry', registry === null ? 'none yet' : `${places.registry} is whole`));
};

/** What somebody left behind, and nobody takes away. */
export const checkStale = (facts: Facts): readonly Check[] => {
  const { home, processes, reach, places } = facts;
  const faults: Check[] = [];
  if (home.serviceMark && reach.kind === 'absent' && !facts.units.some(({ name }) => name === 'workerd.service')) {
    const mark = shellWord(places.serviceMark);
    faults.push(
      warn(
        'stale',
        `${places.serviceMark} says that a service manager runs the daemon, and there is no such unit: nobody starts one`,
        `If no service manager does: rm ${mark}`,
      ),
    );
  }
  const orphans = unheldRuns(facts);
  if (orphans.length > 0) {
    const first = orphans[0] ?? '';
    faults.push(
      warn(
        'stale',
        `pipes of ${counted(orphans.length, 'run')} that nobody has: ${few(orphans.map(oneLine))}`,
        `They do no harm; to be rid of them: rm -r ${shellWord(join(places.runs, first))}${orphans.length > 1 ? ' …' : ''}`,
      ),
    );
  }
  const unknown =
    processes.daemon === null && processes.shims.length === 0
      ? [...processes.runs].filter((run) => home.runs.includes(run))
      : [];
  if (unknown.length > 0) {
    faults.push(
      warn(
        'stale',
        `workers live without daemon or shim: ${few(unknown.map(oneLine))}`,
        'The next daemon takes them over: workerctl daemon start --detach',
      ),
    );
  }
  return orOk(faults, ok('stale', 'nothing is left behind'));
};

/** While a daemon answers, it knows; otherwise whoever carries the mark has them. */
const unheldRuns = ({ home, processes, reach }: Facts): readonly string[] => {
  const workers = reach.kind === 'answers' ? reach.workers : null;
  // A thread carries no mark of its own.
  const hosts = home.runs.some((run) => run.startsWith('_host.') && processes.runs.has(run));
  const alive = new Set(
    workers
      ?.filter(
        ({ phase, leftovers }) =>
          (phase !== 'stopped' && phase !== 'exited' && phase !== 'failed') || leftovers.length > 0,
      )
      .map(({ name, generation }) => `${name}.${generation}`),
  );
  return home.runs.filter((run) => {
    if (processes.runs.has(run)) return false;
    if (workers === null) return processes.daemon === null && processes.shims.length === 0 && !hosts;
    return !run.startsWith('_host.') && !alive.has(run.split('.').slice(0, -1).join('.'));
  });
};
