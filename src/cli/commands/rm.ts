/** `workerctl rm`: forget stopped workers, their history and their logs. */
import { forEachName, namesOrAll } from '../names.ts';
import { oneLine } from '../render/text.ts';
import type { Verb } from '../run.ts';

export const rm: Verb = {
  spec: {
    usage: '[options] NAME...',
    summary: 'Forget stopped workers, with their history and logs.',
    options: [
      { flags: '--force', text: 'stop them first' },
      { flags: '--keep-logs', text: 'leave the log files' },
      { flags: '--all', text: 'all workers' },
    ],
    examples: [
      ['workerctl rm counter', 'a stopped one'],
      ["workerctl rm --force 'test-*'", 'stop them where they run'],
    ],
    minOperands: 0,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const options = {
      ...(args.flag('force') ? { force: true } : {}),
      ...(args.flag('keepLogs') ? { keepLogs: true } : {}),
    };
    const names = await namesOrAll(context, { words: args.operands, all: args.flag('all') });
    return forEachName(context, names, async (name) => {
      const result = await context.call('remove', { name, ...options });
      return () => {
        if (context.json) context.result(result);
        else if (context.quiet) context.line(oneLine(name));
        else context.line(`${oneLine(name)}: removed`);
        return 0;
      };
    });
  },
};
