/** Kills, stops and cuts at random. Everything is written into the books before it is done. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Books } from './books.ts';
import type { Caller } from './callers.ts';
import type { Chance } from './chance.ts';
import { signal, type World } from './world.ts';

export interface ChaosOptions {
  readonly chance: Chance;
  readonly world: World;
  readonly books: Books;
  readonly callers: readonly Caller[];
  readonly meanPauseMs: number;
}

const deeds = {
  'kill the daemon': 6,
  'kill the daemon as it starts': 2,
  'workerd restart': 4,
  'SIGHUP to the daemon': 1,
  'pause the daemon': 3,
  'kill a worker': 10,
  'kill a thread host': 2,
  'cut a connection': 8,
  'kill the shim': 5,
  'kill the shim and the daemon': 4,
  'pause the shim': 2,
};

export class Chaos {
  readonly #options: ChaosOptions;

  constructor(options: ChaosOptions) {
    this.#options = options;
  }

  /** Until it is told to end; the daemon is there when it returns. */
  async rage(ended: AbortSignal): Promise<void> {
    const { chance, meanPauseMs, books } = this.#options;
    while (!ended.aborted) {
      await sleep(-Math.log(1 - chance.next()) * meanPauseMs, undefined, { signal: ended }).catch(() => {});
      if (ended.aborted) return;
      const deed = chance.weighted(deeds);
      books.count(`chaos: ${deed}`);
      await this.#do(deed);
    }
  }

  async #do(deed: keyof typeof deeds): Promise<void> {
    switch (deed) {
      case 'kill the daemon':
        return this.#killDaemon(0);
      case 'kill the daemon as it starts':
        return this.#killDaemon(this.#options.chance.between(1, 3));
      case 'workerd restart':
        return this.#restart();
      case 'SIGHUP to the daemon':
        return this.#hangUp();
      case 'pause the daemon':
        return this.#pause();
      case 'kill a worker':
        return this.#killWorker();
      case 'kill a thread host':
        return this.#killHost();
      case 'cut a connection':
        return this.#cut();
      case 'kill the shim':
        return this.#killShim();
      case 'kill the shim and the daemon':
        return this.#killBoth();
      case 'pause the shim':
        return this.#pauseShim();
      default:
        return deed satisfies never;
    }
  }

  /** And again, so many times, while the next one starts. */
  async #killDaemon(again: number): Promise<void> {
    const { world, books, chance } = this.#options;
    const { over } = books.disturbance('kill');
    for (const pid of world.daemons()) if (signal(pid, 'SIGKILL')) books.count('daemons killed');
    for (let round = 0; round < again; round += 1) {
      // Whoever needs one may start it, too.
      const starting = world.start().catch(() => null);
      await sleep(chance.between(0, 120));
      for (const pid of world.daemons()) if (signal(pid, 'SIGKILL')) books.count('daemons killed');
      await starting;
    }
    if (chance.is(0.7)) await sleep(chance.between(0, 800));
    await this.#startAgain(again > 0 ? 'after several kills' : 'after a kill');
    over();
  }

  /** And again, so many times, as the next one is started. */
  async #killShim(): Promise<void> {
    const { world, books, chance } = this.#options;
    const { over } = books.disturbance('shim');
    const rounds = chance.is(0.3) ? chance.between(2, 4) : 1;
    for (let round = 0; round < rounds; round += 1) {
      this.#killShims(false);
      if (round < rounds - 1) await sleep(chance.between(0, 400));
    }
    await world.theShim().catch((error: unknown) => books.problem(`no new shim: ${String(error)}`));
    over();
  }

  #killShims(both: boolean): void {
    const { world, books } = this.#options;
    for (const pid of world.shims()) books.shimKilled(both, () => signal(pid, 'SIGKILL'));
  }

  /** In either order, with some time between them, or none. */
  async #killBoth(): Promise<void> {
    const { world, books, chance } = this.#options;
    const [shim, daemon] = [books.disturbance('shim'), books.disturbance('kill')];
    const killDaemons = () => {
      for (const pid of world.daemons()) if (signal(pid, 'SIGKILL')) books.count('daemons killed');
    };
    const betweenMs = chance.pick([0, 0, 5, 50, 200]);
    const shimFirst = chance.is(0.5);
    if (shimFirst) this.#killShims(true);
    else killDaemons();
    if (betweenMs > 0) await sleep(betweenMs);
    if (shimFirst) killDaemons();
    this.#killShims(true);
    if (chance.is(0.5)) await sleep(chance.between(0, 800));
    await this.#startAgain('after a kill of both');
    daemon.over();
    shim.over();
  }

  async #pauseShim(): Promise<void> {
    const { world, books, chance } = this.#options;
    const { over } = books.disturbance('shim');
    const pids = world.shims();
    for (const pid of pids) signal(pid, 'SIGSTOP');
    await sleep(chance.between(50, 3500));
    for (const pid of pids) signal(pid, 'SIGCONT');
    over();
  }

  async #startAgain(when: string): Promise<void> {
    const { world, books } = this.#options;
    try {
      books.recoveriesMs.push(await world.start());
    } catch (error) {
      books.problem(`the daemon does not start ${when}: ${String(error)}`);
      await world.start().catch((reason: unknown) => books.problem(`nor at the second try: ${String(reason)}`));
    }
  }

  async #restart(): Promise<void> {
    const { world, books } = this.#options;
    const { over } = books.disturbance('restart');
    const { code, stdout, stderr } = await world.box.workerd(['restart']);
    if (code !== 0) books.problem(`workerd restart: exit code ${code}: ${stdout}${stderr}`);
    over();
  }

  async #hangUp(): Promise<void> {
    const { world, books } = this.#options;
    const { over } = books.disturbance('restart');
    for (const pid of world.daemons()) signal(pid, 'SIGHUP');
    await sleep(300);
    await this.#startAgain('after SIGHUP');
    over();
  }

  async #pause(): Promise<void> {
    const { world, books, chance } = this.#options;
    const { over } = books.disturbance('pause');
    const pids = world.daemons();
    for (const pid of pids) signal(pid, 'SIGSTOP');
    await sleep(chance.between(50, 1500));
    for (const pid of pids) signal(pid, 'SIGCONT');
    over();
  }

  async #killWorker(): Promise<void> {
    const { world, books, chance } = this.#options;
    const leaders = world.marked().filter(({ name, command }) => name !== null && !command.startsWith('sleep '));
    if (leaders.length === 0) return;
    const chosen = chance.pick(leaders);
    const many = chance.is(0.1) ? leaders.slice(0, 5) : [chosen];
    for (const { pid, name, run } of many) {
      books.cause({ kind: 'kill', name, signal: 'SIGKILL', run });
      // It may have ended, and its number be another's.
      if (world.runOf(pid) === run && signal(pid, 'SIGKILL')) books.count('workers killed');
    }
  }

  async #killHost(): Promise<void> {
    const { world, books, chance } = this.#options;
    const hosts = world.marked().filter(({ name, command }) => name === null && command.includes('thread-host'));
    if (hosts.length === 0) return;
    const { pid, run } = chance.pick(hosts);
    books.cause({ kind: 'host-kill', name: null, signal: null, run: null });
    if (world.runOf(pid) === run && signal(pid, 'SIGKILL')) books.count('thread hosts killed');
  }

  async #cut(): Promise<void> {
    const { callers, chance, books } = this.#options;
    const { over } = books.disturbance('cut');
    if (chance.pick(callers).cut()) books.count('connections cut');
    over();
  }
}
