/** `workerctl publish`: live state, from inside a worker or for one. */
import type { JsonObject } from '../../shared/worker.ts';
import { checkNames } from '../names.ts';
import type { Verb } from '../run.ts';
import { pairsToObject, quoted, usage } from '../values.ts';

export const publish: Verb = {
  spec: {
    usage: '[options] [NAME] KEY=VALUE...',
    summary: 'Set live state that every watcher sees.',
    details: 'Values are JSON where they parse, else text. Inside a worker its own name is known and can be left out.',
    options: [],
    examples: [
      ['workerctl publish step=3 file=a.txt', 'in a script that is itself a worker'],
      ['workerctl publish import \'progress={"done":3,"total":10}\'', 'from outside; progress has a bar in watch'],
    ],
    minOperands: 1,
    maxOperands: 1000,
  },
  run: async (context, args) => {
    const [first = '', ...rest] = args.operands;
    const own = first.includes('=');
    const name = own ? context.io.env['WORKERD_NAME'] : first;
    const pairs = own ? args.operands : rest;
    if (name === undefined || name === '')
      throw usage('NAME is missing: this is not inside a worker (WORKERD_NAME is not set)');
    checkNames([name]);
    if (pairs.length === 0) throw usage(`what to publish for ${quoted(name)} is missing: KEY=VALUE`);
    const result = await context.call('publish', { name, state: pairsToObject(pairs, 'publish') as JsonObject });
    if (context.json) context.result(result);
    return 0;
  },
};
