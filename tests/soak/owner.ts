/**
 * One worker that nobody else gives orders to, asked through many doors: what its definition, its intent and whether it
 * starts with the daemon must be, is known exactly, but for requests of which no answer came: then both are possible
 * until a later look says which.
 */
import { join } from 'node:path';
import type { MethodName, Result } from '../../src/shared/protocol.ts';
import { isAlive, type WorkerView } from '../../src/shared/worker.ts';
import type { Books, Cause } from './books.ts';
import { type Asked, brief, type Caller, CliCaller, type Outcome } from './callers.ts';
import type { Chance } from './chance.ts';
import { type Definition, drawDefinition, isDefinedAs, specOf } from './definitions.ts';
import type { OwnFiles } from './own-files.ts';
import type { World } from './world.ts';

export interface OwnerOptions {
  readonly name: string;
  readonly chance: Chance;
  readonly callers: readonly Caller[];
  readonly books: Books;
  readonly files: OwnFiles;
  readonly world: World;
  readonly rate: number;
  /** `workerd restart` may not break a request. */
  readonly strictRestart: boolean;
}

const verbs = {
  start: 22,
  stop: 12,
  'stop --force': 3,
  'stop --no-wait': 3,
  restart: 8,
  rm: 3,
  'rm --keep-logs': 1,
  'rm --force': 2,
  signal: 5,
  send: 12,
  publish: 8,
  enable: 3,
  disable: 3,
  define: 3,
  wait: 6,
  status: 8,
};

export class Owner {
  readonly name: string;
  readonly #options: OwnerOptions;
  /** `null`: not known. */
  exists: boolean | null = false;
  definitions: readonly Definition[] = [];
  enabled: boolean | null = false;
  up: boolean | null = false;
  generation = 0;
  /** Its log was once bounded so tightly that the oldest runs may be gone from it. */
  dropsLogs = false;
  #wasThread = false;
  /** Stopped, and not waited for. */
  #mayStillEnd = false;
  /** Sent and taken, by generation: what, and whether an answer came. */
  readonly sent = new Map<number, { readonly text: string; readonly acknowledged: boolean }[]>();
  /** Published through the daemon and answered: the newest number, by generation. */
  readonly published = new Map<number, number>();
  #number = 0;

  constructor(options: OwnerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async step(): Promise<void> {
    const { chance } = this.#options;
    const verb =
      this.exists === false ? chance.pick(['start', 'start', 'start', 'define'] as const) : chance.weighted(verbs);
    this.#options.books.count(`verb: ${verb}`);
    switch (verb) {
      case 'start':
        return this.#start();
      case 'stop':
        return this.#stop({});
      case 'stop --force':
        return this.#stop({ force: true });
      case 'stop --no-wait':
        return this.#stop({ wait: false });
      case 'restart':
        return this.#restart();
      case 'rm':
        return this.#remove({});
      case 'rm --keep-logs':
        return this.#remove({ keepLogs: true });
      case 'rm --force':
        return this.#remove({ force: true });
      case 'signal':
        return this.#signal();
      case 'send':
        return this.#send();
      case 'publish':
        return this.#publish();
      case 'enable':
      case 'disable':
        return this.#enable(verb);
      case 'define':
        return this.#define();
      case 'wait':
        return this.#wait();
      case 'status':
        await this.look();
        return;
      default:
        return verb satisfies never;
    }
  }

  get #definition(): Definition | null {
    return this.definitions.length === 1 ? (this.definitions[0] ?? null) : null;
  }

  #draw(): Definition {
    const { chance, files, rate } = this.#options;
    const definition = drawDefinition(chance, { directory: files.directory, rate, mayEnd: true });
    if (definition.logBytes < 1024 * 1024) this.dropsLogs = true;
    if (definition.kind === 'thread') this.#wasThread = true;
    return definition;
  }

  /** Asks through one of the doors; what no disturbance explains is a problem. */
  async #ask<M extends MethodName>(asked: Asked<M>, legal: readonly string[]): Promise<Outcome<Result<M>>> {
    const { callers, chance, books, strictRestart } = this.#options;
    const able = callers.filter((caller) => !(caller instanceof CliCaller) || CliCaller.can(asked.method));
    const caller = chance.pick(able);
    const fromMs = Date.now();
    const outcome = await caller.ask(asked);
    const what = `${caller.label}: ${asked.method} ${brief(asked.params)}`;
    const isUntold = outcome.kind === 'refusal' && outcome.code === 'worker.busy' && books.shimDisturbedSince(fromMs);
    if (isUntold) books.count('requests whose shim went away');
    if (outcome.kind === 'refusal' && !legal.includes(outcome.code) && !isUntold) {
      books.problem(`${what}: ${outcome.code}: ${outcome.message}`);
    }
    if (outcome.kind === 'unknown') {
      books.count('requests without an answer');
      if (!books.disturbedSince(fromMs, strictRestart ? ['restart', 'shim'] : ['shim'])) {
        books.problem(`${what}: broken off for no reason: ${outcome.why}`);
      }
      // Whatever was read of it before has been acted on once these are answered.
      for (let round = 0; round < 2; round += 1) await callers[0]?.ask({ method: 'daemon.info', params: {} });
    } else books.count('requests answered');
    return outcome;
  }

  /** Of a request that ends runs: the ending may come as long as it is not known to be done. */
  async #ending<T>(cause: 'stop', ask: () => Promise<Outcome<T>>, lastsMs = 0): Promise<Outcome<T>> {
    const { books } = this.#options;
    const written: Cause = books.cause({ kind: cause, name: this.name, signal: null, run: null });
    const outcome = await ask();
    if (outcome.kind !== 'unknown') written.toMs = Date.now() + lastsMs;
    else written.toMs = Date.now() + 15_000;
    return outcome;
  }

  #problem(text: string): void {
    this.#options.books.problem(`${this.name}: ${text}`);
  }

  async #start(): Promise<void> {
    const { chance } = this.#options;
    const known = this.exists === true && chance.is(0.6);
    const definition = known
      ? null
      : this.exists === true && chance.is(0.3) && this.#definition !== null
        ? this.#definition
        : this.#draw();
    const replaces = definition !== null || chance.is(0.15);
    const wait = chance.is(0.2) ? ('none' as const) : undefined;
    const enable = chance.is(0.1) ? true : undefined;
    const params = {
      name: this.name,
      ...(definition === null ? {} : { spec: specOf(definition) }),
      ...(replaces ? { ifRunning: 'replace' as const } : {}),
      ...(wait === undefined ? {} : { wait }),
      ...(enable === undefined ? {} : { enable }),
    };
    const before = this.generation;
    // With `replace` the run that is there is stopped; one that was asked to start and not waited for is not.
    const ask = () =>
      this.#ask({ method: 'start', params, definition }, ['worker.start-failed', 'wait.timeout', ...this.#notFound()]);
    const outcome = await this.#ending('stop', ask, wait === 'none' ? 15_000 : 0);
    if (outcome.kind === 'refusal' && outcome.code === 'worker.not-found') return;
    this.exists = outcome.kind === 'unknown' && this.exists === false ? null : (this.exists ?? null);
    if (outcome.kind === 'answer') {
      const { worker, outcome: how } = outcome.result;
      this.exists = true;
      this.up = true;
      if (definition !== null) this.definitions = [definition];
      if (enable === true) this.enabled = true;
      if (worker.generation < before) this.#problem(`generation ${worker.generation} after ${before}`);
      if (how !== 'already-running' && wait === undefined && worker.generation <= before && before > 0) {
        this.#problem(`${how}, but generation ${worker.generation} is not above ${before}`);
      }
      this.generation = Math.max(before, worker.generation);
      return;
    }
    if (outcome.kind === 'refusal') {
      if (outcome.code === 'worker.start-failed') this.#explain(outcome.message);
      else if (outcome.code === 'wait.timeout') this.#problem(`not started in 30 s: ${outcome.message}`);
      this.exists = true;
    }
    if (definition !== null) {
      this.definitions = outcome.kind === 'refusal' ? [definition] : [...this.definitions, definition];
    }
    if (enable === true) this.enabled = outcome.kind === 'refusal' ? true : this.enabled === true ? true : null;
    this.up = null;
    if (outcome.kind === 'unknown') await this.look();
  }

  /** A start that came to nothing: it was killed on the way, or ended at once. */
  #explain(message: string): void {
    const { books } = this.#options;
    const nowMs = Date.now();
    const reasons = books.causesOf(this.name, null, nowMs).filter(({ kind }) => kind !== 'stop');
    const short = this.definitions.some(({ lines }) => lines > 0);
    if (reasons.length === 0 && !short) this.#problem(`start failed with nobody to blame: ${message}`);
  }

  #notFound(): readonly string[] {
    return this.exists === true ? [] : ['worker.not-found'];
  }

  async #stop(flags: { readonly force?: true; readonly wait?: false }): Promise<void> {
    const before = this.generation;
    const params = { name: this.name, ...flags };
    const lasts = flags.wait === false ? 10_000 : 0;
    const outcome = await this.#ending('stop', () => this.#ask({ method: 'stop', params }, this.#notFound()), lasts);
    if (outcome.kind === 'unknown') {
      this.up = null;
      await this.look();
    }
    if (outcome.kind !== 'answer') return;
    const { worker } = outcome.result;
    this.up = false;
    this.exists = true;
    this.generation = Math.max(before, worker.generation);
    this.#mayStillEnd = flags.wait === false;
    if (flags.wait === false) return;
    if (isAlive(worker.phase)) this.#problem(`stopped, but ${worker.phase}`);
    if (worker.leftovers.length > 0) this.#problem(`stopped, with leftovers ${JSON.stringify(worker.leftovers)}`);
    if (this.#options.chance.is(0.3)) {
      const left = this.#options.world.marked().filter(({ name }) => name === this.name);
      if (left.length > 0) this.#problem(`stopped, but alive: ${JSON.stringify(left)}`);
    }
  }

  async #restart(): Promise<void> {
    const before = this.generation;
    const legal = ['worker.start-failed', ...this.#notFound()];
    const outcome = await this.#ending('stop', () =>
      this.#ask({ method: 'restart', params: { name: this.name } }, legal),
    );
    if (outcome.kind === 'refusal' && outcome.code === 'worker.start-failed') {
      this.up = null;
      this.#explain(outcome.message);
    }
    if (outcome.kind === 'unknown') {
      this.up = null;
      await this.look();
    }
    if (outcome.kind !== 'answer') return;
    const { worker } = outcome.result;
    this.up = true;
    if (worker.generation <= before && before > 0) this.#problem(`restarted as ${worker.generation} after ${before}`);
    this.generation = worker.generation;
  }

  async #remove(flags: { readonly force?: true; readonly keepLogs?: true }): Promise<void> {
    const { files } = this.#options;
    const legal = [
      ...this.#notFound(),
      ...(flags.force === true || (this.up === false && !this.#mayStillEnd) ? [] : ['worker.busy']),
    ];
    const params = { name: this.name, ...flags };
    const outcome = await this.#ending('stop', () => this.#ask({ method: 'remove', params }, legal));
    if (outcome.kind === 'answer') this.#forgotten(flags.keepLogs === true);
    if (outcome.kind !== 'unknown') return;
    this.exists = null;
    this.up = null;
    // Whether its logs were kept is not worth knowing: by the files' times nobody could tell.
    await this.look();
    if (this.exists === false) files.archive(this.name);
  }

  #forgotten(keepLogs: boolean): void {
    const { files } = this.#options;
    this.exists = false;
    this.up = false;
    this.enabled = false;
    this.definitions = [];
    this.dropsLogs = false;
    this.sent.clear();
    this.published.clear();
    files.archive(this.name);
    if (!keepLogs) this.generation = 0;
  }

  async #signal(): Promise<void> {
    const { chance, books } = this.#options;
    const name = chance.pick(['USR1', 'KILL', 'TERM', 'CONT', 'HUP'] as const);
    // The run of a definition that was replaced may still be ending.
    const isThread = this.#wasThread || this.definitions.some(({ kind }) => kind === 'thread');
    if (name !== 'CONT') books.cause({ kind: 'signal', name: this.name, signal: `SIG${name}`, run: null });
    const legal = ['worker.not-running', ...this.#notFound(), ...(isThread ? ['usage'] : [])];
    await this.#ask({ method: 'signal', params: { name: this.name, signal: name } }, legal);
  }

  async #send(): Promise<void> {
    // A command does not read what it is told; its channel would fill up.
    if (this.#definition === null || this.#definition.kind === 'command') return;
    this.#number += 1;
    const text = `${this.name}-${this.#number}`;
    const legal = ['worker.not-running', ...this.#notFound()];
    const outcome = await this.#ask({ method: 'send', params: { name: this.name, text } }, legal);
    if (outcome.kind !== 'answer') return;
    const { generation } = outcome.result.worker;
    this.sent.set(generation, [...(this.sent.get(generation) ?? []), { text, acknowledged: true }]);
  }

  async #publish(): Promise<void> {
    this.#number += 1;
    const params = { name: this.name, state: { told: this.#number } };
    const outcome = await this.#ask({ method: 'publish', params }, ['worker.not-running', ...this.#notFound()]);
    if (outcome.kind === 'answer') this.published.set(outcome.result.worker.generation, this.#number);
  }

  async #enable(method: 'enable' | 'disable'): Promise<void> {
    const outcome = await this.#ask({ method, params: { name: this.name } }, this.#notFound());
    const wanted = method === 'enable';
    if (outcome.kind === 'answer') {
      this.enabled = wanted;
      if (outcome.result.worker.enabled !== wanted) this.#problem(`${method}d, but enabled is ${!wanted}`);
    } else if (outcome.kind === 'unknown' && this.enabled !== wanted) this.enabled = null;
  }

  async #define(): Promise<void> {
    const definition = this.#draw();
    const params = { name: this.name, spec: specOf(definition) };
    const legal = this.up === false && !this.#mayStillEnd ? [] : ['worker.spec-conflict'];
    const outcome = await this.#ask({ method: 'define', params, definition }, legal);
    if (outcome.kind === 'refusal') return;
    if (outcome.kind === 'unknown') {
      if (this.exists === false) this.exists = null;
      this.definitions = [...this.definitions, definition];
      await this.look();
      return;
    }
    this.exists = true;
    this.definitions = [definition];
    // It had ended by itself: the new policy is not for that run.
    if (!isAlive(outcome.result.worker.phase)) this.up = false;
  }

  async #wait(): Promise<void> {
    const { chance } = this.#options;
    const what = chance.pick(['exit', 'running', 'ready', 'stopped'] as const);
    const params = { name: this.name, for: what, timeoutMs: chance.between(1, 1500) };
    const outcome = await this.#ask({ method: 'wait', params }, [
      'wait.timeout',
      'wait.impossible',
      ...this.#notFound(),
    ]);
    if (outcome.kind !== 'answer') return;
    // The command line passes on the worker's own view as the library does.
    const { worker } = outcome.result;
    if (what === 'stopped' && isAlive(worker.phase)) this.#problem(`waited for stopped, and it is ${worker.phase}`);
  }

  /** Somebody stopped all that there were. */
  stopped(): void {
    this.up = false;
  }

  /** Asks what is there; settles what was not known. */
  async look(): Promise<WorkerView | null> {
    const { books } = this.#options;
    // A glob may match nothing; a name must match.
    const names = [`[${this.name.charAt(0)}]${this.name.slice(1)}`];
    for (;;) {
      const outcome = await this.#ask({ method: 'status', params: { names } }, []);
      if (outcome.kind === 'unknown') continue;
      if (outcome.kind === 'refusal') return null;
      books.count('looks');
      const worker = outcome.result.workers[0] ?? null;
      this.compare(worker);
      return worker;
    }
  }

  compare(worker: WorkerView | null): void {
    if (worker === null) {
      if (this.exists === true) this.#problem('is gone, and nobody removed it');
      if (this.exists !== false) this.#forgotten(false);
      return;
    }
    if (this.exists === false) this.#problem(`is there (${worker.phase}), though it was removed`);
    this.exists = true;
    if (this.enabled !== null && worker.enabled !== this.enabled) this.#problem(`enabled is ${worker.enabled}`);
    this.enabled = worker.enabled;
    const definition = this.definitions.findLast((each) => isDefinedAs(worker.spec, each));
    if (definition === undefined) this.#problem(`has a definition nobody gave it: ${JSON.stringify(worker.spec)}`);
    else this.definitions = [definition];
    if (worker.generation < this.generation) this.#problem(`generation ${worker.generation} after ${this.generation}`);
    this.generation = worker.generation;
    this.#comparePhase(worker);
  }

  #comparePhase({ phase, reason, exit, generation }: WorkerView): void {
    const alive = isAlive(phase);
    if (this.up === false && (phase === 'starting' || phase === 'running' || phase === 'backoff')) {
      this.#problem(`is ${phase} (generation ${generation}), though it was to be down`);
    }
    if (this.up === true && this.#definition?.policy === 'always' && !alive && reason !== 'crash-loop') {
      // A run started by a verb that was killed before it ran has failed, whatever the policy.
      if (reason !== 'start-failed') this.#problem(`always restarted, but ${phase}: ${reason} ${JSON.stringify(exit)}`);
    }
    if (this.up === true && phase === 'stopped') this.#problem('is stopped, and nobody stopped it');
    if (this.up === null) this.up = phase === 'stopping' ? null : alive;
  }

  get logDirectory(): string {
    return join(this.#options.world.box.home, 'logs', this.name);
  }
}
