/** `workerctl history`: the past runs of a worker. */
import { expandNames, forEachName } from '../names.ts';
import { historyText } from '../render/history.ts';
import type { Verb } from '../run.ts';
import { parseCount } from '../values.ts';

export const history: Verb = {
  spec: {
    usage: '[options] NAME',
    summary: 'Show the runs of a worker: when, how long, how each ended, who asked.',
    options: [{ flags: '-n, --limit <count>', text: 'the newest runs only' }],
    examples: [
      ['workerctl history web', 'the newest run first'],
      ['workerctl history web -n 1 --json', 'the last one, for scripts'],
    ],
    minOperands: 1,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const text = args.value('limit');
    const limit = text === undefined ? {} : { limit: parseCount(text, '--limit', 1, 1_000_000) };
    const names = await expandNames(context, args.operands);
    return forEachName(context, names, async (name) => {
      const result = await context.call('history', { name, ...limit });
      return () => {
        if (context.json) context.result(result);
        else if (context.quiet) context.line(name);
        else if (result.runs.length === 0) context.note(`${name} has no past runs`);
        else {
          if (names.length > 1) context.line(`${context.style.paint('bold', name)}:`);
          const { style, width } = context;
          context.io.stdout.write(historyText(result.runs, { style, width, now: context.now() }));
        }
        return 0;
      };
    });
  },
};
