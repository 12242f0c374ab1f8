/**
 * What the daemon stands on and what is wrong with it: its registry, its shim, its descriptors, its workers' logs. Hears
 * what the other parts meet, looks where nobody tells, and says it as `daemon.info` shows it.
 */
import { lstatSync } from 'node:fs';
import type { DaemonInfo } from '../shared/daemon-info.ts';
import type { Places } from '../shared/paths.ts';
import type { WorkerRecord } from './core/model.ts';
import { lowestDescriptor, openFilesLimit } from './descriptor-use.ts';
import { LogTroubles } from './log-troubles.ts';
import type { Clock, Logger, ShimListener, Store } from './ports.ts';
import { descriptorTrouble, goneRegistry, Problems, registryTrouble } from './problems.ts';
import { type Line, ShimHealth } from './shim-health.ts';

export interface SurroundingsOptions {
  readonly places: Places;
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Pick<Store, 'commit' | 'setMeta'>;
  /** There is none before the shim link, which hears through us, is made. */
  readonly line: () => Line;
  /** The shim is a service manager's to start. */
  readonly externalShim: boolean;
  readonly recordOf: (name: string) => WorkerRecord | null;
}

/** When it was last looked whether a registry that refused can be written. */
const triedMeta = 'tried';
const nothing = { workers: [], removed: [], runs: [], hosts: [], removedHosts: [] };

export class Surroundings {
  readonly #options: SurroundingsOptions;
  readonly #problems: Problems;
  readonly #shim: ShimHealth;
  readonly #logs: LogTroubles;

  constructor(options: SurroundingsOptions) {
    const { places, clock, log, line, externalShim: external, recordOf } = options;
    this.#options = options;
    const problems = new Problems({ clock, log });
    this.#problems = problems;
    this.#shim = new ShimHealth({ line, clock, problems, shimLog: places.shimLog, external });
    this.#logs = new LogTroubles(recordOf);
    problems.look('logs', () => this.#logs.inWords(places.logs));
    const limit = openFilesLimit();
    problems.look('descriptors', () => descriptorTrouble(lowestDescriptor(), limit));
  }

  /** Who hears the shim, with us beside it. */
  hearing(listener: Omit<ShimListener, 'notReached' | 'remark'>): ShimListener {
    return {
      ...listener,
      connected: (runs) => {
        this.#logs.connected(runs);
        return listener.connected(runs);
      },
      told: () => {
        this.#shim.found();
        listener.told();
      },
      lost: (why) => {
        this.#shim.lost(why);
        listener.lost(why);
      },
      notReached: (why, next) => this.#shim.notReached(why, next),
      remark: (remark) => this.#logs.remark(remark),
    };
  }

  registryRefused(error: Error): void {
    this.#problems.set('registry', registryTrouble(this.#options.places.registry, error));
  }

  registryWritten(): void {
    this.#problems.clear('registry');
  }

  /** As it is now: a registry that refused is tried once more, since nobody may have written to it since. */
  look(): Pick<DaemonInfo, 'shim' | 'problems'> {
    const { registry } = this.#options.places;
    if (isMissing(registry)) this.#problems.set('registry', goneRegistry(registry));
    else if (this.#problems.has('registry')) this.#tryRegistry();
    const problems = this.#problems.list();
    return { shim: this.#shim.info, problems };
  }

  #tryRegistry(): void {
    const { store, clock } = this.#options;
    try {
      store.commit(nothing);
      store.setMeta(triedMeta, String(clock.now()));
      this.registryWritten();
    } catch (error) {
      this.registryRefused(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

const isMissing = (path: string): boolean => {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
};
