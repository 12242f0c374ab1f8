/** What to do about an error, where its own message does not say so: a sentence for people, never part of the JSON. Pure. */
import type { WorkerdError } from '../shared/errors.ts';

export interface Asked {
  /** The verb, once it is known. */
  readonly verb?: string | undefined;
  /** The daemon's own log. */
  readonly daemonLog?: string | undefined;
}

const methodNotFound = -32601;
const saysSo = /\bSee: |[Dd]id you mean|\b(?:workerctl|workerd) [a-z]/;

/** Empty where nothing is to be added. */
export const nextStep = (error: WorkerdError, { verb, daemonLog }: Asked = {}): string => {
  const { code, data, message, rpcCode } = error;
  const name = typeof data['name'] === 'string' ? data['name'] : null;
  if (code === 'internal') return faultStep(data['logId'], daemonLog);
  if (saysSo.test(message)) return '';
  switch (code) {
    case 'worker.not-running':
      return name === null ? '' : `Start it with: workerctl start ${name}`;
    case 'wait.timeout':
    case 'wait.impossible':
      return name === null || message.endsWith(' was removed') ? '' : `See: workerctl status ${name}`;
    case 'worker.busy':
      return name === null ? '' : `See who holds on: workerctl status ${name}`;
    case 'daemon.stopping':
      return 'Once it has ended, start it again with: workerd start --detach';
    case 'daemon.unreachable':
      return data['reason'] === 'connection lost'
        ? 'The workers go on; ask again, or see: workerctl daemon status'
        : '';
    case 'usage':
      if (rpcCode === methodNotFound) return 'See which there are: workerctl rpc rpc.discover';
      if (String(data['member']).startsWith('params.caller.env')) {
        return 'Leave your environment away with --clean-env, and name what it needs with -e';
      }
      return verb === undefined ? '' : `See: workerctl ${verb} --help`;
    default:
      return '';
  }
};

const faultStep = (logId: unknown, daemonLog: string | undefined): string =>
  typeof logId !== 'string'
    ? ''
    : `The daemon's log says more about ${logId}: ${daemonLog ?? 'workerd.log'}, or its service's journal`;
