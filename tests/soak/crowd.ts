/** Workers that many order about at once: nobody knows what will be, but no answer may be wrong and no ending without cause. */
import type { MethodName, ParamsInput } from '../../src/shared/protocol.ts';
import type { Books } from './books.ts';
import { brief, type Caller, CliCaller } from './callers.ts';
import type { Chance } from './chance.ts';
import { type Definition, specOf } from './definitions.ts';

export interface CrowdOptions {
  readonly workers: ReadonlyMap<string, Definition>;
  readonly chance: Chance;
  readonly callers: readonly Caller[];
  readonly books: Books;
  readonly strictRestart: boolean;
}

const verbs = {
  start: 10,
  replace: 2,
  stop: 5,
  'stop --force': 1,
  restart: 5,
  signal: 2,
  publish: 4,
  wait: 4,
  enable: 1,
  disable: 1,
};

const legal: ReadonlySet<string> = new Set([
  // Stopped or killed by others on its way.
  'worker.start-failed',
  'worker.not-running',
  'wait.timeout',
  'wait.impossible',
  // A signal, to a thread.
  'usage',
]);

export class Crowd {
  readonly #options: CrowdOptions;

  constructor(options: CrowdOptions) {
    this.#options = options;
  }

  get names(): readonly string[] {
    return [...this.#options.workers.keys()];
  }

  async step(): Promise<void> {
    const { chance, books } = this.#options;
    const name = chance.pick(this.names);
    const verb = chance.weighted(verbs);
    books.count(`verb: ${verb}`);
    switch (verb) {
      case 'start':
        return this.#ask('start', { name });
      case 'replace':
        return this.#ending(name, () => this.#ask('start', { name, ifRunning: 'replace' }));
      case 'stop':
        return this.#ending(name, () => this.#ask('stop', { name }));
      case 'stop --force':
        return this.#ending(name, () => this.#ask('stop', { name, force: true }));
      case 'restart':
        return this.#ending(name, () => this.#ask('restart', { name }));
      case 'signal': {
        books.cause({ kind: 'signal', name, signal: 'SIGKILL', run: null });
        return this.#ask('signal', { name, signal: 'KILL' });
      }
      case 'publish':
        return this.#ask('publish', { name, state: { crowd: chance.between(1, 1000) } });
      case 'wait':
        return this.#ask('wait', { name, for: chance.pick(['exit', 'running', 'stopped'] as const), timeoutMs: 800 });
      case 'enable':
      case 'disable':
        return this.#ask(verb, { name });
      default:
        return verb satisfies never;
    }
  }

  /** Defined once; what each is never changes. */
  async define(caller: Caller): Promise<void> {
    for (const [name, definition] of this.#options.workers) {
      const outcome = await caller.ask({ method: 'define', params: { name, spec: specOf(definition) } });
      if (outcome.kind !== 'answer') this.#options.books.problem(`define ${name}: ${JSON.stringify(outcome)}`);
    }
  }

  async #ending(name: string, ask: () => Promise<void>): Promise<void> {
    const cause = this.#options.books.cause({ kind: 'stop', name, signal: null, run: null });
    await ask();
    // Another's start may have gone on with the stop that this one began.
    cause.toMs = Date.now() + 15_000;
  }

  async #ask<M extends MethodName>(method: M, params: ParamsInput<M>): Promise<void> {
    const { callers, chance, books, strictRestart } = this.#options;
    const caller = chance.pick(callers.filter((each) => !(each instanceof CliCaller) || CliCaller.can(method)));
    const fromMs = Date.now();
    const outcome = await caller.ask({ method, params });
    const what = `${caller.label}: ${method} ${brief(params)}`;
    const isUntold = outcome.kind === 'refusal' && outcome.code === 'worker.busy' && books.shimDisturbedSince(fromMs);
    if (outcome.kind === 'refusal' && !legal.has(outcome.code) && !isUntold)
      books.problem(`${what}: ${outcome.code}: ${outcome.message}`);
    if (outcome.kind === 'unknown') {
      books.count('requests without an answer');
      if (!books.disturbedSince(fromMs, strictRestart ? ['restart', 'shim'] : ['shim']))
        books.problem(`${what}: broken off: ${outcome.why}`);
    } else books.count('requests answered');
  }
}
