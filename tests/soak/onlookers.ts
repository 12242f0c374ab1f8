/** Those who watch and follow for the whole time, through kills, cuts and replacements: what they are told must be legal. */
import type { LogEntry, WorkerEvent } from '../../src/shared/client.ts';
import { isAlive, type Phase } from '../../src/shared/worker.ts';
import type { Books } from './books.ts';
import type { LibraryCaller } from './callers.ts';
import { checksum, type OwnRun } from './own-files.ts';

interface Seen {
  generation: number;
  /** Of this generation: 1 running, 2 stopping, 3 over. */
  rank: number;
  revision: number;
  /** The newest that was told by itself: a snapshot may hold it already, when it is told. */
  told: number;
}

const rankOf = (phase: Phase): number => {
  if (phase === 'running') return 1;
  if (phase === 'stopping') return 2;
  return phase === 'starting' ? 0 : 3;
};

/** R08, worker by worker. */
export class OrderCheck {
  readonly #seen = new Map<string, Seen>();
  readonly #label: string;
  readonly #books: Books;
  /** What the same cursor said to others. */
  readonly #agreed: Map<string, string>;
  /** Of whom events are missing since a gap: they may have been removed in it, and defined anew. */
  readonly #unheard = new Set<string>();
  #began = false;

  constructor(label: string, books: Books, agreed: Map<string, string> = new Map()) {
    this.#label = label;
    this.#books = books;
    this.#agreed = agreed;
  }

  see(event: WorkerEvent): void {
    this.#books.count('events');
    const { type, name, generation } = event;
    if (type === 'gap' || type === 'log') {
      if (type === 'gap') {
        this.#books.count('gaps');
        for (const each of this.#seen.keys()) this.#unheard.add(each);
      }
      return;
    }
    this.#began = true;
    if (type === 'removed') {
      this.#seen.delete(name);
      return;
    }
    const isUnheard = this.#unheard.delete(name);
    if (isUnheard && type === 'snapshot' && generation < (this.#seen.get(name)?.generation ?? 0))
      this.#seen.delete(name);
    const before = this.#seen.get(name);
    if (before !== undefined && generation < before.generation)
      this.#problem(event, `after generation ${before.generation}`);
    const known = before?.generation === generation ? before : { generation, rank: 0, revision: 0, told: 0 };
    this.#seen.set(name, known);
    if (type === 'state') {
      const { stateRevision } = event;
      if (stateRevision < known.revision || stateRevision <= known.told) {
        this.#problem(event, `state ${stateRevision} after ${known.told}, ${known.revision}`);
      }
      known.revision = known.told = stateRevision;
      this.#agree(event, String(event.stateRevision));
    } else if (type === 'phase' || type === 'snapshot') {
      const { phase, stateRevision } = event.worker;
      const rank = rankOf(phase);
      // A start that waits for its run has the number of the run before: `starting` says nothing of that one's order.
      if (rank > 0 && rank < known.rank) this.#problem(event, `${phase} after rank ${known.rank}`);
      if (phase === 'starting' && known.rank > 0) known.rank = 3;
      known.rank = Math.max(known.rank, rank);
      if (stateRevision < known.revision) this.#problem(event, `state ${stateRevision} after ${known.revision}`);
      known.revision = Math.max(known.revision, stateRevision);
      if (type === 'phase') this.#agree(event, phase);
      if (type === 'phase' && before === undefined && this.#began && !isAlive(phase) && phase !== 'stopped') {
        // A worker is announced when it is defined; after a gap it is announced by its snapshot.
        this.#problem(event, `the first that is heard of it is ${phase}`);
      }
    }
  }

  #agree(event: WorkerEvent, what: string): void {
    const said = `${event.type} ${event.name} ${event.generation} ${what}`;
    const others = this.#agreed.get(event.cursor);
    if (others !== undefined && others !== said) this.#problem(event, `${said}, but others heard ${others}`);
    this.#agreed.set(event.cursor, said);
    if (this.#agreed.size > 20_000)
      for (const cursor of [...this.#agreed.keys()].slice(0, 10_000)) this.#agreed.delete(cursor);
  }

  #problem({ type, name, generation, cursor }: WorkerEvent, text: string): void {
    this.#books.problem(`${this.#label}: ${type} of ${name} ${generation} (${cursor}): ${text}`);
  }
}

export const watchAll = async (caller: LibraryCaller, check: OrderCheck, signal: AbortSignal): Promise<void> => {
  for await (const event of caller.client.watch({}, { signal })) check.see(event);
};

/** What a module that threw has on stderr after its lines. */
const isThrown = (line: string): boolean => line === 'Error: as it was told' || /^ {4}at /.test(line);

/** Follows one worker's log from its beginning: each line once, in order, of every run there is. */
export class Follower {
  readonly name: string;
  readonly #books: Books;
  /** By generation and stream: the last line's number, and how many there were. */
  readonly #places = new Map<string, { last: number; lines: number; first: number; gaps: number; cut: number }>();
  #newest = 0;

  constructor(name: string, books: Books) {
    this.name = name;
    this.#books = books;
  }

  async follow(caller: LibraryCaller, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#places.clear();
      this.#newest = 0;
      try {
        for await (const entry of caller.client.logs({ name: this.name, follow: true, tail: 1_000_000 }, { signal })) {
          this.#see(entry);
        }
      } catch (error) {
        // Not defined yet, or not any more.
        if (!String(error).includes('no worker')) this.#books.problem(`follower of ${this.name}: ${String(error)}`);
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  #see({ generation, stream, line, partial }: LogEntry): void {
    this.#books.count('lines followed');
    if (generation < this.#newest) this.#problem(`generation ${generation} after ${this.#newest}`);
    this.#newest = Math.max(this.#newest, generation);
    // A kill may cut the last line.
    if (partial || isThrown(line)) return;
    const number = Number(line.split(' ')[1]);
    const key = `${generation} ${stream}`;
    const place = this.#places.get(key);
    if (place === undefined) {
      this.#places.set(key, { last: number, lines: 1, first: number, gaps: 0, cut: 0 });
      return;
    }
    const kills = this.#books.shimKills(0, Date.now()).length;
    if (!checksum(line) && place.cut < kills) {
      place.cut += 1;
      return;
    }
    const next = stream === 'stderr' ? place.last + 7 : (place.last + 1) % 7 === 0 ? place.last + 2 : place.last + 1;
    const isGap = number > next && place.gaps < kills;
    if (isGap) place.gaps += 1;
    if (number !== next && !isGap)
      this.#problem(`${key}: line ${number} after ${place.last} (${JSON.stringify(line)})`);
    place.last = number;
    place.lines += 1;
  }

  /** What is missing of a run that is over and that was compared with its log; `null`: nothing. */
  missing(own: OwnRun): string | null {
    for (const stream of ['stdout', 'stderr'] as const) {
      const place = this.#places.get(`${own.generation} ${stream}`);
      if (place === undefined) continue;
      const numbers = own.lines[stream].map((line) => Number(line.split(' ')[1]));
      // The last one may have been killed on its way.
      const end = numbers.at(-1) ?? 0;
      const beforeEnd = numbers.at(-2) ?? 0;
      const whole = place.last === end || (own.end === null && place.last === beforeEnd);
      if (!whole) return `${own.run}: the follower's last line of ${stream} is ${place.last}, the run's ${end}`;
    }
    return null;
  }

  #problem(text: string): void {
    this.#books.problem(`follower of ${this.name}: ${text}`);
  }
}
