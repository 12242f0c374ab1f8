/** `workerctl enable` and `disable`: whether a worker starts with the daemon. */
import { expandNames, forEachName } from '../names.ts';
import type { Verb } from '../run.ts';

const makeVerb = (method: 'enable' | 'disable', summary: string, done: string, example: string): Verb => ({
  spec: {
    usage: '[options] NAME...',
    summary,
    details: 'Nothing is started or stopped now.',
    options: [],
    examples: [[`workerctl ${method} web`, example]],
    minOperands: 1,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const names = await expandNames(context, args.operands);
    return forEachName(context, names, async (name) => {
      const result = await context.call(method, { name });
      return () => {
        if (context.json) context.result(result);
        else if (context.quiet) context.line(name);
        else context.line(`${name}: ${done}`);
        return 0;
      };
    });
  },
});

export const enable = makeVerb(
  'enable',
  'Start workers whenever the daemon starts.',
  'enabled; it starts with the daemon',
  'after the next boot it runs again',
);
export const disable = makeVerb(
  'disable',
  'Do not start workers with the daemon any more.',
  'disabled; it does not start with the daemon',
  'it runs on until it is stopped',
);
