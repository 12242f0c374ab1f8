/** A raw connection to the real daemon. Whatever comes back on it is checked for its form, by one rule for all. */

import { eventually } from './eventually.ts';
import { type Answer, RawClient } from './fake-server.ts';
import type { Sandbox } from './sandbox.ts';

/** What is wrong with the form of one answer or notification, if anything. */
export const formFault = (value: unknown): string | null => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'no object';
  const members = Object.keys(value).sort().join(' ');
  const { jsonrpc, id, error, method } = value as Record<string, unknown>;
  if (jsonrpc !== '2.0') return 'jsonrpc is not "2.0"';
  if (members === 'jsonrpc method params') return method === 'event' ? null : 'a notification that is no event';
  if (members !== 'id jsonrpc result' && members !== 'error id jsonrpc') return `its members are ${members}`;
  if (id !== null && typeof id !== 'string' && typeof id !== 'number') return 'an id that is none';
  if (error === undefined) return null;
  const { code, message, ...rest } = error as Record<string, unknown>;
  if (!Number.isInteger(code)) return 'code is no integer';
  if (code === -32603) return 'an internal error';
  if (typeof message !== 'string' || message === '') return 'message is no text';
  const others = Object.keys(rest).filter((member) => member !== 'data');
  return others.length === 0 ? null : `the error has ${others.join(' ')}`;
};

const checked = (answer: unknown): unknown => {
  const parts = Array.isArray(answer) ? (answer as unknown[]) : [answer];
  if (parts.length === 0) throw new Error('an answer that is an empty array');
  for (const part of parts) {
    const fault = formFault(part);
    if (fault !== null) throw new Error(`${fault}: ${JSON.stringify(part)}`);
  }
  return answer;
};

export class DaemonClient extends RawClient {
  #next = 0;

  /** Passes through the registry as most methods do, so that it is not answered before them. */
  override fence(): string {
    return '{"jsonrpc":"2.0","method":"status","params":{"names":[]},"id":"fence"}';
  }

  override answers(): readonly unknown[] {
    return super.answers().map(checked);
  }

  /** The params of the events so far. */
  events(): readonly Record<string, unknown>[] {
    return this.answers().flatMap((each) => ('params' in (each as object) ? [(each as { params: never }).params] : []));
  }

  /** The answer to one request, whatever else comes meanwhile. */
  async call(method: string, params?: unknown): Promise<Answer> {
    this.#next += 1;
    const id = `call ${this.#next}`;
    this.send(`${JSON.stringify({ jsonrpc: '2.0', method, id, ...(params === undefined ? {} : { params }) })}\n`);
    return this.answerTo(id);
  }

  async answerTo(id: unknown): Promise<Answer> {
    return eventually(() => (this.answers() as Answer[]).find((answer) => answer.id === id), {
      what: `an answer to ${JSON.stringify(id)}`,
      withinMs: 20_000,
    });
  }

  async result<T>(method: string, params?: unknown): Promise<T> {
    const { result, error } = await this.call(method, params);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result as T;
  }
}

/** Clients that end with the test. */
export const connectTo = (box: Sandbox): DaemonClient & Disposable => {
  const client = new DaemonClient(box.socket);
  return Object.assign(client, {
    [Symbol.dispose]: () => {
      client.socket.destroy();
    },
  });
};
