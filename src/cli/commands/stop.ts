/** `workerctl stop`: returns when nothing of the workers is left. */
import type { StopResult } from '../../shared/protocol.ts';
import { forEachName, isAnythingLeft, namesOrAll } from '../names.ts';
import { endedText } from '../render/outcome.ts';
import type { Verb } from '../run.ts';
import { parseDuration, usage } from '../values.ts';

export const stop: Verb = {
  spec: {
    usage: '[options] NAME...',
    summary: 'Stop workers: asked first, by force at the end of the grace.',
    details:
      'Returns when the worker and all it started are gone. A stopped worker stays stopped, whatever its restart policy.',
    options: [
      { flags: '--grace <duration>', text: 'use force after this (default: as defined, 10s)' },
      { flags: '--force', text: 'kill now' },
      { flags: '--all', text: 'all that run, and what others left over' },
      { flags: '--no-wait', text: 'return at once' },
    ],
    examples: [
      ['workerctl stop counter', 'ask it, and wait until it is gone'],
      ["workerctl stop 'web-*' --grace 2s", 'several, with 2 seconds to finish'],
      ['workerctl stop --all --force', 'everything, now'],
    ],
    minOperands: 0,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const grace = args.value('grace');
    const graceMs = grace === undefined ? {} : { graceMs: parseDuration(grace, '--grace') };
    const force = args.flag('force') ? { force: true } : {};
    if (grace !== undefined && args.flag('force')) throw usage('--force and --grace exclude each other');
    const wait = args.negated('wait') ? { wait: false } : {};
    const names = await namesOrAll(context, { words: args.operands, all: args.flag('all'), running: isAnythingLeft });
    return forEachName(context, names, async (name) => {
      const result = await context.call('stop', { name, ...graceMs, ...force, ...wait });
      return () => {
        if (context.json) context.result(result);
        else if (context.quiet) context.line(name);
        else context.line(`${name}: ${outcomeText(result, args.negated('wait'))}`);
        return 0;
      };
    });
  },
};

const outcomeText = ({ outcome, worker }: StopResult, noWait: boolean): string => {
  if (outcome === 'not-running') return 'not running';
  return noWait && worker.phase === 'stopping' ? 'stopping' : endedText('stopped', worker);
};
