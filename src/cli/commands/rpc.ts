/** `workerctl rpc`: any method, its params and its result as JSON. */
import type { Verb } from '../run.ts';
import { isPlainObject, parseJson, usage } from '../values.ts';

export const rpc: Verb = {
  spec: {
    usage: '[options] METHOD [JSON]',
    summary: 'Call a method of the daemon and print its result as JSON.',
    details:
      'The methods are those of docs/protocol.md; `workerctl rpc rpc.discover` prints them with their params and results as an OpenRPC document. Answers are always JSON, errors too with --json.',
    options: [],
    examples: [
      ['workerctl rpc daemon.info', 'what is running there'],
      ['workerctl rpc status \'{"names":["web-*"]}\'', 'with params'],
      ['workerctl rpc rpc.discover', 'every method there is'],
    ],
    minOperands: 1,
    maxOperands: 2,
  },
  run: async (context, args) => {
    const [method = '', text] = args.operands;
    const params = text === undefined ? {} : parseJson(text, 'what follows METHOD');
    if (!isPlainObject(params) && !Array.isArray(params)) throw usage('params must be a JSON object');
    const client = await context.client();
    context.result(await client.request(method, params, { signal: context.signal }));
    return 0;
  },
};
