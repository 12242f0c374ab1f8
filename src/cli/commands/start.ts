/** `workerctl start`: define if new, start, and print the name. */
import type { WorkerView } from '../../shared/worker.ts';
import { definitionOptions, readStart, sayDropped } from '../definition.ts';
import { alreadyText } from '../render/outcome.ts';
import type { Verb } from '../run.ts';

export const start: Verb = {
  spec: {
    usage: '[options] NAME | ./module.ts[#export] | [-n NAME] -- COMMAND [ARG...]',
    summary: 'Start a worker, and define it where it is new.',
    details:
      "A word with a / or a module's ending is a module; what follows -- is a command; any other word is the name of a worker that is already known. A running worker is left as it is.",
    options: definitionOptions,
    examples: [
      ['workerctl start ./counter.ts', 'a module, as a process called counter'],
      ['workerctl start --thread -p stepMs=100 ./counter.ts', 'the same as a thread, with a parameter'],
      ['workerctl start -n web --restart always -- python3 -m http.server', 'any command, kept running'],
      ['workerctl start web', 'again, as it was defined'],
    ],
    takesCommand: true,
    minOperands: 0,
    maxOperands: 1,
  },
  run: async (context, args) => {
    const request = readStart(args, context.io);
    const result = await context.call('start', request.params);
    sayDropped(context, request);
    const { worker, outcome } = result;
    if (context.json) context.result(result);
    else {
      context.line(worker.name);
      if (outcome === 'already-running') context.note(alreadyText(worker));
      if (outcome === 'replaced') context.note(replacedText(worker));
    }
    return 0;
  },
};

/** With `--no-wait` the answer comes before the new run does. */
const replacedText = ({ name, phase, generation }: WorkerView): string =>
  phase === 'stopping'
    ? `${name} is being replaced: run ${generation} is ending`
    : `${name} was replaced by run ${generation}`;
