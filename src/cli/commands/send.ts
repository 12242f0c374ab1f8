/** `workerctl send`: a line to a worker. */
import { expandNames, forEachName } from '../names.ts';
import type { Verb } from '../run.ts';

export const send: Verb = {
  spec: {
    usage: '[options] NAME TEXT',
    summary: 'Send a line to a worker.',
    details:
      'It arrives on its standard input where it was started with --stdin, else as ctx.messages or on the control channel.',
    options: [],
    examples: [
      ["workerctl send console 'save-all'", 'a line to its standard input'],
      ['workerctl send resize \'{"width":200}\'', 'a message for a module to parse'],
    ],
    minOperands: 2,
    maxOperands: 2,
  },
  run: async (context, args) => {
    const [word = '', text = ''] = args.operands;
    const names = await expandNames(context, [word]);
    return forEachName(context, names, async (name) => {
      const result = await context.call('send', { name, text });
      return () => {
        if (context.json) context.result(result);
        else context.say(`${name}: sent`);
        return 0;
      };
    });
  },
};
