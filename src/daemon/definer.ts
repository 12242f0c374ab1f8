/** Writes definitions down: under which name, and whether a worker may be redefined now. */
import { WorkerdError } from '../shared/errors.ts';
import type { Params } from '../shared/protocol.ts';
import { type Caller, isAlive, maxNameLength, type Spec } from '../shared/worker.ts';
import { Callers } from './callers.ts';
import { phaseOf } from './core/view.ts';
import { checkSpec, defaultName, isSameDefinition, notFound } from './definitions.ts';
import { capturedCaller } from './environment.ts';
import { alreadyRunning, specConflict } from './failures.ts';
import type { LogStore } from './log-store.ts';
import type { Registry } from './registry.ts';

export interface DefinerOptions {
  readonly registry: Registry;
  readonly logs: LogStore;
  /** For workers of clients that name no caller. */
  readonly baseCaller: Caller;
}

export class Definer {
  readonly #options: DefinerOptions;
  readonly #callers = new Callers();

  constructor(options: DefinerOptions) {
    this.#options = options;
  }

  /** The name that is meant; it is defined, and its definition is the one given, when this returns. */
  define(params: Params<'start'>): string {
    const { registry, baseCaller } = this.#options;
    const caller = params.caller ?? baseCaller;
    if (params.spec === undefined) {
      if (params.name === undefined) throw invalid('name', 'name or spec must be given');
      return this.#knownName(params.name);
    }
    const spec = params.spec as Spec;
    checkSpec(params.name ?? '', spec, caller);
    const name = params.name ?? this.#freeName(spec);
    const worker = registry.get(name);
    if (worker === null || !isAlive(phaseOf(worker))) this.write(name, spec, caller);
    else if (!isSameDefinition(worker.spec, spec)) {
      if (params.ifRunning === 'fail') throw alreadyRunning(worker);
      if (params.ifRunning === 'keep') throw specConflict(worker, spec);
      this.write(name, spec, caller);
    } else if (params.ifRunning === 'replace') this.write(name, spec, caller);
    return name;
  }

  /** The default name, or the first of `-2`, `-3` … that is free or defines the same. */
  #freeName(spec: Spec): string {
    const base = defaultName(spec);
    for (let number = 1; ; number += 1) {
      const suffix = number === 1 ? '' : `-${number}`;
      const name = base.slice(0, maxNameLength - suffix.length) + suffix;
      const worker = this.#options.registry.get(name);
      if (worker === null || isSameDefinition(worker.spec, spec)) return name;
    }
  }

  write(name: string, spec: Spec, from: Caller): void {
    const { registry, logs } = this.#options;
    const caller = this.#callers.same(capturedCaller(spec, from));
    const worker = registry.get(name);
    if (worker !== null) {
      const same = isSameDefinition(worker.spec, spec) && worker.spec.umask === spec.umask;
      registry.update(name, { ...worker, spec: same ? worker.spec : spec, caller });
      return;
    }
    registry.update(name, {
      name,
      spec,
      caller,
      enabled: false,
      intent: { want: 'down' },
      startedBy: null,
      stopOrder: null,
      // Generations are never reused: logs that were kept when a worker of this name was removed still count.
      generation: logs.lastGeneration(name),
      run: null,
      settled: 'stopped',
      reason: null,
      restarts: 0,
      shortRuns: 0,
      backoff: null,
      leftovers: [],
    });
  }

  #knownName(name: string): string {
    const { registry } = this.#options;
    if (registry.get(name) === null) throw notFound(name, registry.names());
    return name;
  }
}

export const invalid = (member: string, message: string): WorkerdError =>
  new WorkerdError('usage', `invalid params: ${message}`, { member });
