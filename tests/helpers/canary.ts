/**
 * The client that shows whether a daemon is well: while something hostile goes on, it asks over a fresh connection
 * every 50 ms how the daemon is, and knows how long each answer took. A connection that is refused or not answered
 * counts as unwell, too.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';

const everyMs = 50;
const answerWithinMs = 30_000;
const question = '{"jsonrpc":"2.0","id":"canary","method":"daemon.info"}\n';

/** One answer over a connection of its own: how long it took, in milliseconds. */
export const ping = (socketPath: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const began = performance.now();
    const socket = connect(socketPath);
    let text = '';
    const timer = setTimeout(() => fail(new Error(`no answer in ${answerWithinMs} ms`)), answerWithinMs);
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new Error(`closed without an answer: ${text}`)));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (!text.includes('\n')) return;
      if (!text.includes('"result"')) {
        fail(new Error(`no result: ${text}`));
        return;
      }
      clearTimeout(timer);
      resolve(performance.now() - began);
      socket.destroy();
    });
    socket.write(question);
  });

export class Canary {
  readonly #path: string;
  readonly #took: number[] = [];
  readonly #failures: string[] = [];
  #going = true;
  readonly #done: Promise<void>;

  constructor(socketPath: string) {
    this.#path = socketPath;
    this.#done = this.#sing();
  }

  async #sing(): Promise<void> {
    while (this.#going) {
      const next = performance.now() + everyMs;
      try {
        this.#took.push(await ping(this.#path));
      } catch (error) {
        this.#failures.push(String(error));
      }
      await sleep(Math.max(0, next - performance.now()));
    }
  }

  get count(): number {
    return this.#took.length;
  }

  quantile(share: number): number {
    const sorted = [...this.#took].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  }

  get p99(): number {
    return this.quantile(0.99);
  }

  /** It has been answered since now, a few times: what was done before has been felt. */
  async heard(times = 3): Promise<void> {
    const until = this.#took.length + this.#failures.length + times;
    while (this.#took.length + this.#failures.length < until) await sleep(10);
  }

  /** Ends it; fails where it was not answered, or waited longer than five times `barMs`. */
  async unhurt(barMs: number): Promise<void> {
    this.#going = false;
    await this.#done;
    expect(this.#failures).toEqual([]);
    expect(this.#took.length).toBeGreaterThan(0);
    expect(this.quantile(1), `p99 ${this.p99.toFixed(1)} ms of ${this.count} pings`).toBeLessThan(5 * barMs);
  }
}
