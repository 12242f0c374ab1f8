/** `workerctl signal`: a signal to the process group of a worker. */
import { constants } from 'node:os';
import { expandNames, forEachName } from '../names.ts';
import type { Verb } from '../run.ts';
import { parseSignal } from '../values.ts';

export const signal: Verb = {
  spec: {
    usage: '[options] NAME SIGNAL',
    summary: "Send a signal to a worker's process group.",
    details:
      'A signal changes nothing about what the worker is asked to be: to stop it, use stop. A thread takes none.',
    options: [],
    examples: [
      ['workerctl signal web HUP', 'any case, with or without SIG, or a number'],
      ["workerctl signal 'web-*' USR1", 'several'],
    ],
    minOperands: 2,
    maxOperands: 2,
  },
  run: async (context, args) => {
    const [word = '', text = ''] = args.operands;
    const which = parseSignal(text, 'SIGNAL', constants.signals);
    const names = await expandNames(context, [word]);
    return forEachName(context, names, async (name) => {
      const result = await context.call('signal', { name, signal: which });
      return () => {
        if (context.json) context.result(result);
        else context.say(`${name}: ${which} sent`);
        return 0;
      };
    });
  },
};
