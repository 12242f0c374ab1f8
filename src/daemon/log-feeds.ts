/**
 * The log lines of a subscription, between its events: what a worker wrote before an event was announced goes out
 * before it. Read from the files at the pace of the reader, so one that does not read costs nothing but its place.
 */
import { DirectoryNotices } from '../shared/directory-notices.ts';
import { RunFollower } from '../shared/log-follow.ts';
import { LineAssembler, type LogLine, maxLineBytes } from '../shared/log-lines.ts';
import {
  formatPosition,
  type LogPosition,
  offsetOf,
  partAfter,
  positionAfter,
  startOf,
} from '../shared/log-position.ts';
import { runEnd, tailLines } from '../shared/tail.ts';
import type { LogWish, Published, SubscriptionOptions } from './subscription.ts';

export interface LogFeedsOptions extends LogWish {
  readonly peer: SubscriptionOptions['peer'];
  /** The subscription's next event. */
  readonly next: () => Published | undefined;
  readonly deliver: (event: Published) => void;
  /** Of a line that is told beside other events. */
  readonly eventCursor: () => string;
  readonly line: (encoded: string) => void;
}

/** Characters sent in one turn of the loop: then others have theirs, and it is seen whether the far end reads. */
const turnLength = 64 * 1024;
/** What a feed holds that stands still in the middle of a log: a read buffer, one of the index, a line of each stream. */
const standingBytes = turnLength + 32 * 1024 + 2 * maxLineBytes;
/** Between two looks at one log, in milliseconds: the first line after a pause goes out at once, a flood in batches. */
const lookEveryMs = 5;
/** Files kept open between two looks, over all subscriptions; others are opened anew for each. */
const maxKeptOpen = 256;
let keptOpen = 0;

/** One run of one worker, as far as this subscription has it. */
interface Feed {
  readonly name: string;
  position: LogPosition;
  /** Of the next chunk. */
  offset: number;
  follower: RunFollower | null;
  /** Of what was there at the last look, the lines that have not been told. */
  lines: Iterator<LogLine> | null;
  /** In the middle of them. */
  stands: boolean;
  /** Nobody has been told that it runs: its first lines come after that. */
  held: boolean;
  readonly assembler: LineAssembler;
  /** When it was read to its end last, by the monotonic clock. */
  lookedAt: number;
  readonly notices: DirectoryNotices;
  readonly closing: AbortController;
}

export class LogFeeds {
  readonly #options: LogFeedsOptions;
  readonly #feeds = new Map<string, Feed>();
  /** Those whose files have changed, or that nobody has looked at yet. */
  readonly #dirty = new Set<Feed>();
  /** The newest run of each worker that was read to its end. */
  readonly #done = new Map<string, number>();
  #resume: (() => void) | null = null;
  #lastTime = { at: Number.NaN, text: '' };
  #running = false;
  #woken = false;
  #closed = false;

  constructor(options: LogFeedsOptions) {
    this.#options = options;
  }

  begin(): void {
    const { from } = this.#options;
    if (from !== null) this.#open(from.name, from.position, new LineAssembler());
  }

  /** There is something to do: an event, room, or news of a file. */
  wake(): void {
    this.#woken = true;
    if (this.#closed || !this.#options.peer.backlogged) this.#resume?.();
    if (!this.#running && !this.#closed) void this.#run();
  }

  close(): void {
    this.#closed = true;
    for (const name of [...this.#feeds.keys()]) this.#close(name);
    this.#resume?.();
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#woken && !this.#closed) {
        this.#woken = false;
        await this.#work();
      }
    } catch (error) {
      this.#options.log.error({ error: String(error) }, 'a subscription to logs failed');
    } finally {
      this.#running = false;
    }
  }

  async #work(): Promise<void> {
    while (!this.#closed && !this.#options.peer.backlogged) {
      const event = this.#options.next();
      if (event !== undefined) {
        await this.#tell(event);
        continue;
      }
      const [feed] = this.#dirty;
      if (feed === undefined) return;
      // To the end of the line: one that floods keeps nobody waiting.
      this.#dirty.delete(feed);
      await this.#look(feed);
    }
  }

  /** An event, after what its worker had written when it came. */
  async #tell(event: Published): Promise<void> {
    const { name, type, generation } = event;
    if (type !== 'state' && type !== 'gap') {
      if (!this.#feeds.has(name)) this.#begin(event);
      await this.#catchUp(event);
    }
    if (!this.#closed) this.#options.deliver(event);
    if (type === 'removed') this.#done.delete(name);
    else if (event.writes === 'never') this.#done.set(name, generation);
  }

  async #catchUp({ name, type, generation, writes }: Published): Promise<void> {
    let feed = this.#feeds.get(name);
    while (feed !== undefined && feed.position.generation < generation) {
      await this.#readToEnd(feed, true);
      this.#close(name);
      if (this.#options.from?.only === true) return;
      feed = this.#open(name, startOf(feed.position.generation + 1), new LineAssembler());
    }
    if (feed === undefined) return;
    const over = writes === 'never' || type === 'removed';
    const { held } = feed;
    feed.held = writes === 'later';
    if (feed.held) this.#dirty.delete(feed);
    else if (held && !over) this.#markDirty(feed);
    else await this.#readToEnd(feed, over);
    if (over) this.#close(name);
  }

  /** A run that was alive before the subscription is read from now on, a newer one from its start. */
  #begin({ name, generation, type, writes }: Published): void {
    const { from, streams, directoryOf } = this.#options;
    const done = this.#done.get(name) ?? from?.position.generation;
    if (done !== undefined) {
      if (done < generation && from?.only !== true) this.#open(name, startOf(done + 1), new LineAssembler());
    } else if (type === 'phase' && generation > 0) this.#open(name, startOf(generation), new LineAssembler());
    else if (writes === 'later' || writes === 'now') {
      const { cursor, unfinished } = tailLines(directoryOf(name), 0, { generation, streams, follow: true });
      const offset = cursor?.offset ?? 0;
      this.#open(name, { generation, stdout: offset, stderr: offset }, unfinished);
    }
  }

  #open(name: string, position: LogPosition, assembler: LineAssembler): Feed {
    const closing = new AbortController();
    const directory = this.#options.directoryOf(name);
    const feed: Feed = {
      name,
      position,
      offset: offsetOf(position),
      follower: null,
      lines: null,
      stands: false,
      held: false,
      assembler,
      lookedAt: 0,
      notices: new DirectoryNotices(directory, `${position.generation}.`, [closing.signal]),
      closing,
    };
    this.#feeds.set(name, feed);
    this.#dirty.add(feed);
    this.wake();
    return feed;
  }

  #close(name: string): void {
    const feed = this.#feeds.get(name);
    if (feed === undefined) return;
    this.#feeds.delete(name);
    this.#dirty.delete(feed);
    this.#release(feed);
    feed.closing.abort();
    feed.notices.close();
  }

  /** One turn's reading; once there is no more, the next notice makes it dirty again. */
  async #look(feed: Feed): Promise<void> {
    feed.notices.clear();
    if (!(await this.#read(feed, Infinity))) {
      this.#markDirty(feed);
      return;
    }
    feed.lookedAt = performance.now();
    void feed.notices.next().then(() => {
      const early = lookEveryMs - (performance.now() - feed.lookedAt);
      if (early <= 0) this.#markDirty(feed);
      else setTimeout(() => this.#markDirty(feed), early).unref();
    });
  }

  #markDirty(feed: Feed): void {
    if (feed.closing.signal.aborted || feed.held) return;
    this.#dirty.add(feed);
    this.wake();
  }

  /** All that is there now, however much is being added meanwhile; `over`: nothing will be. */
  async #readToEnd(feed: Feed, over: boolean): Promise<void> {
    const end = over ? Infinity : (runEnd(this.#options.directoryOf(feed.name), feed.position.generation) ?? 0);
    while (!this.#closed && feed.offset < end && !(await this.#read(feed, end))) await this.#room();
    if (over) for (const line of feed.assembler.flush()) this.#line(feed, line);
  }

  /** `true`: read to the end of what was there, or to `end`. */
  async #read(feed: Feed, end: number): Promise<boolean> {
    const { directoryOf, streams, log, from } = this.#options;
    try {
      if (feed.follower === null) {
        keptOpen += 1;
        const options = { from: feed.offset, streams, readSize: turnLength, gaps: from !== null };
        feed.follower = new RunFollower(directoryOf(feed.name), feed.position.generation, options);
      }
      feed.lines ??= this.#lines(feed, feed.follower);
      for (let length = 0; ; ) {
        const { done, value } = feed.lines.next();
        if (done === true) break;
        length += this.#line(feed, value);
        if (feed.offset >= end) return true;
        if (length >= turnLength) {
          this.#stand(feed, true);
          await new Promise(setImmediate);
          return false;
        }
      }
    } catch (error) {
      // No descriptor, no permission: tried again with the next notice.
      log.warn({ worker: feed.name, error: String(error) }, 'cannot read a log for a subscription');
      this.#release(feed);
      return true;
    }
    feed.lines = null;
    this.#stand(feed, false);
    if (keptOpen > maxKeptOpen) this.#release(feed);
    return true;
  }

  /** Counted with what the far end has not read: it is waited for. */
  #stand(feed: Feed, stands: boolean): void {
    if (feed.stands === stands || (stands && this.#closed)) return;
    feed.stands = stands;
    this.#options.peer.keep(stands ? standingBytes : -standingBytes);
  }

  #release(feed: Feed): void {
    this.#stand(feed, false);
    if (feed.follower === null) return;
    keptOpen -= 1;
    feed.follower.close();
    feed.follower = null;
    feed.lines = null;
  }

  *#lines(feed: Feed, follower: RunFollower): Generator<LogLine> {
    for (const chunk of follower.read()) {
      const part = partAfter(feed.position, chunk);
      if (part !== null) yield* feed.assembler.push(part);
      feed.offset = Math.max(feed.offset, chunk.offset + chunk.bytes.length);
    }
  }

  /** The characters it took. */
  #line(feed: Feed, line: LogLine): number {
    const { from, eventCursor, since = -Infinity } = this.#options;
    if (line.at < since) return 0;
    const cursor = from === null ? eventCursor() : formatPosition(positionAfter(line, feed.assembler));
    const { stream, generation, partial, lost } = line;
    if (lost !== undefined) {
      const about = `"at":"${this.#time(line.at)}","type":"gap","name":"${feed.name}","generation":${generation}`;
      const gap = `"cursor":"${cursor}",${about},"dropped":0,"snapshots":0,"lostBytes":${lost.bytes}}}`;
      this.#options.line(gap);
      return gap.length;
    }
    // By hand: it is done for every line of every worker that anybody follows.
    const encoded =
      `"cursor":"${cursor}","at":"${this.#time(line.at)}","type":"log","name":"${feed.name}","generation":${generation},` +
      `"stream":"${stream}","line":${JSON.stringify(line.line.toString('utf8'))},"partial":${partial}}}`;
    this.#options.line(encoded);
    return encoded.length;
  }

  /** Many lines have one time. */
  #time(at: number): string {
    if (this.#lastTime.at !== at) this.#lastTime = { at, text: new Date(at).toISOString() };
    return this.#lastTime.text;
  }

  /** Until the reader has caught up. */
  async #room(): Promise<void> {
    if (this.#closed || !this.#options.peer.backlogged) return;
    await new Promise<void>((resolve) => {
      this.#resume = resolve;
    });
    this.#resume = null;
  }
}
