/** `workerctl restart`: a fresh run from the current definition. */
import type { RestartResult } from '../../shared/protocol.ts';
import { isAlive } from '../../shared/worker.ts';
import { forEachName, namesOrAll } from '../names.ts';
import { runningText } from '../render/outcome.ts';
import type { Verb } from '../run.ts';
import { parseDuration } from '../values.ts';

export const restart: Verb = {
  spec: {
    usage: '[options] NAME...',
    summary: 'Stop and start workers; one that is stopped is started.',
    options: [
      { flags: '--grace <duration>', text: 'use force after this (default: as defined, 10s)' },
      { flags: '--all', text: 'all workers that run' },
      { flags: '--no-wait', text: 'return at once' },
    ],
    examples: [
      ['workerctl restart web', 'a fresh run, the old one gone first'],
      ['workerctl restart --all', 'each worker that runs'],
    ],
    minOperands: 0,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const grace = args.value('grace');
    const graceMs = grace === undefined ? {} : { graceMs: parseDuration(grace, '--grace') };
    const wait = args.negated('wait') ? { wait: false } : {};
    const names = await namesOrAll(context, {
      words: args.operands,
      all: args.flag('all'),
      running: (view) => isAlive(view.phase),
    });
    return forEachName(context, names, async (name) => {
      const result = await context.call('restart', { name, ...graceMs, ...wait });
      return () => {
        if (context.json) context.result(result);
        else if (context.quiet) context.line(name);
        else context.line(`${name}: ${outcomeText(result)}`);
        return 0;
      };
    });
  },
};

/** Not waited for, it may still be on its way. */
const outcomeText = ({ outcome, worker }: RestartResult): string => {
  if (worker.phase === 'running') return runningText(outcome, worker);
  return worker.phase === 'stopping'
    ? 'stopping; it starts again at once'
    : outcome === 'started'
      ? 'starting'
      : 'restarting';
};
