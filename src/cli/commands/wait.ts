/** `workerctl wait`: until a condition holds; for the end of a run its own exit code. */

import { isAlive, type WorkerView } from '../../shared/worker.ts';
import { exitCodeOf } from '../exit-code.ts';
import { expandNames, forEachName } from '../names.ts';
import { endedText, runningText } from '../render/outcome.ts';
import type { Verb } from '../run.ts';
import { parseChoice, parseDuration } from '../values.ts';

const conditions = ['exit', 'running', 'ready', 'stopped'] as const;

export const wait: Verb = {
  spec: {
    usage: '[options] NAME...',
    summary: 'Wait until workers have ended, or are running, ready or stopped.',
    details:
      "exit: it ended and will not be restarted; the exit code is the worker's own (128+n for signal n). running, ready: it was so in this run. stopped: nothing of it runs. When the time given runs out, the exit code is 124.",
    options: [
      { flags: '--for <condition>', text: 'exit, running, ready or stopped (default: exit)' },
      { flags: '--timeout <duration>', text: 'wait no longer than this' },
    ],
    examples: [
      ['workerctl wait build && echo done', 'go on only where it ended well'],
      ['workerctl wait web --for ready --timeout 10s', 'until it is ready, 10 seconds at most'],
    ],
    minOperands: 1,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const condition = parseChoice(args.value('for') ?? 'exit', '--for', conditions);
    const timeout = args.value('timeout');
    const timeoutMs = timeout === undefined ? null : parseDuration(timeout, '--timeout');
    const names = await expandNames(context, args.operands);
    return forEachName(context, names, async (name, lateMs) => {
      const left = timeoutMs === null ? {} : { timeoutMs: Math.max(0, timeoutMs - lateMs) };
      const result = await context.call('wait', { name, for: condition, ...left });
      const { worker } = result;
      return () => {
        if (context.json) context.result(result);
        else if (context.quiet) context.line(name);
        else context.line(`${name}: ${metText(condition, worker)}`);
        return condition === 'exit' ? (exitCodeOf(worker) ?? 0) : 0;
      };
    });
  },
};

/** What was waited for may be over by now: it counts all the same, and is said as what it was. */
const metText = (condition: (typeof conditions)[number], worker: WorkerView): string => {
  const ended = endedText(worker.phase, worker);
  if (condition === 'exit' || condition === 'stopped') return ended;
  return isAlive(worker.phase) ? runningText(condition, worker) : `was ${condition}, then ${ended}`;
};
