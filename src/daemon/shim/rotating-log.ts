/**
 * Writes one run's log (format: shared/log-file.ts): raw bytes, then their index line. The only writer of its files.
 *
 * Promises: never throws; a log that cannot be written costs its bytes, which are counted, said once per streak and
 * marked in the index when logging goes on; a file that somebody deleted, renamed or cut is replaced within a second
 * of writing; all segments of a worker together keep within `files * maxBytes`, and within 200 runs.
 */
import { closeSync, fstatSync, ftruncateSync, mkdirSync, renameSync, statSync, writeSync } from 'node:fs';
import {
  checkpointBytes,
  hasCode,
  type IndexMark,
  indexEnd,
  indexLine,
  listSegments,
  readBytes,
  segmentPaths,
} from '../../shared/log-file.ts';
import {
  checkDirectory,
  dropOldest,
  endOfEarlier,
  healHalfRotation,
  inode,
  inodeAt,
  openOwn,
  replaceOwn,
} from './segment-files.ts';

export interface RotatingLogOptions {
  readonly directory: string;
  readonly generation: number;
  readonly maxBytes: number;
  /** Segments kept at most, the one being written included. */
  readonly files: number;
  readonly onRemark: (message: string, log?: 'failing' | 'resumed') => void;
}

interface Opened {
  readonly log: number;
  readonly idx: number;
  readonly logIno: bigint;
  readonly idxIno: bigint;
}

/** Room kept for the index line of a piece. */
const lineRoom = 32;
const lookAgainMs = 1000;
const retryOpenMs = 250;
/** The last attempt was a moment ago: not one more failure, or who writes all the time would never be tried again. */
const notYet = new Error('not tried again yet');

export class RotatingLog {
  readonly #options: RotatingLogOptions;
  readonly #logPath: string;
  readonly #idxPath: string;
  #open: Opened | null = null;
  #closed = false;
  #mayCreate = true;
  #logBytes = 0;
  #idxBytes = 0;
  /** Bytes of the run's output that reached a log, the earlier segments included; `null` until the first opening. */
  #offset: number | null = null;
  #checkpointAt = 0;
  #othersBytes = 0;
  /** Written to the log, but the disk had no room for the index line. */
  #owed = 0;
  #owedMark: IndexMark = 'o';
  /** Of the piece at hand, what is in the log already. */
  #written = 0;
  /** Not yet marked in the index. */
  #dropped = 0;
  #droppedInAll = 0;
  #droppedInStreak = 0;
  /** The time of the newest index line. */
  #at = 0;
  #lookedAt = 0;
  #failedOpenAt = 0;
  /** Why it cannot be written, as it was remarked. */
  #failing: string | null = null;

  constructor(options: RotatingLogOptions) {
    this.#options = options;
    const paths = segmentPaths(options.directory, options.generation, null);
    this.#logPath = paths.logPath;
    this.#idxPath = paths.idxPath;
    try {
      const { isFirst } = this.#reopen();
      if (!isFirst) this.#prune();
    } catch (error) {
      this.#failed(error);
    }
  }

  get failing(): string | null {
    return this.#failing;
  }

  get droppedBytes(): number {
    return this.#droppedInAll;
  }

  /** The worker may have been removed: what a grandchild still writes must not bring its directory back. */
  createNoMore(): void {
    this.#mayCreate = false;
  }

  write(mark: 'o' | 'e', bytes: Buffer): void {
    if (this.#closed || bytes.length === 0) return;
    let rest = bytes;
    try {
      const now = performance.now();
      if (this.#open !== null && now - this.#lookedAt >= lookAgainMs) this.#lookWhetherStillThere(now);
      if (this.#open === null) {
        if (now - this.#failedOpenAt < retryOpenMs && this.#failing !== null) throw notYet;
        this.#reopen();
        this.#prune();
      }
      while (rest.length > 0) rest = rest.subarray(this.#writePiece(mark, rest));
    } catch (error) {
      const lost = rest.length - this.#written;
      this.#written = 0;
      this.#dropped += lost;
      this.#droppedInAll += lost;
      this.#droppedInStreak += lost;
      if (error !== notYet) this.#failed(error);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#leaveInOrder();
    } catch {
      // It cannot be written, which was said when bytes were dropped for it.
    }
    this.#closeFiles();
  }

  /** Nobody writes here again: what somebody did to the files since the last write, and what is to be marked yet. */
  #leaveInOrder(): void {
    if (this.#open !== null) {
      const { logIno } = this.#open;
      this.#lookWhetherStillThere(performance.now());
      if (this.#open === null && inodeAt(this.#logPath) === logIno) this.#reopen();
    } else if (this.#dropped > 0 && this.#mayCreate) this.#reopen();
    if (this.#open === null) return;
    if (this.#owed > 0) this.#index(this.#open, this.#owedMark, this.#owed);
    if (this.#dropped > 0) this.#index(this.#open, '!', this.#dropped);
  }

  /** Writes what the segment has room for; gives back how much that was. */
  #writePiece(mark: 'o' | 'e', bytes: Buffer): number {
    const open = this.#open as Opened;
    if (this.#owed > 0) {
      this.#index(open, this.#owedMark, this.#owed);
      this.#owed = 0;
    }
    const room = this.#options.maxBytes - this.#logBytes - this.#idxBytes - lineRoom;
    if (room < bytes.length && this.#logBytes > 0 && room < 1) {
      this.#rotate();
      return 0;
    }
    const fitting = room < bytes.length ? bytes.subarray(0, Math.max(room, 1)) : bytes;
    const written = writeSync(open.log, fitting, 0, fitting.length);
    this.#logBytes += written;
    this.#offset = (this.#offset ?? 0) + written;
    // Taken back once the line is written: should that fail, the bytes are owed theirs.
    this.#owed = written;
    this.#owedMark = mark;
    this.#written = written;
    if (this.#dropped > 0) {
      this.#index(open, '!', this.#dropped);
      this.#dropped = 0;
    }
    this.#index(open, mark, written);
    this.#owed = 0;
    this.#written = 0;
    if (written === bytes.length) this.#resumed();
    if (this.#othersBytes + this.#logBytes + this.#idxBytes > this.#options.files * this.#options.maxBytes)
      this.#prune();
    return written;
  }

  #index(open: Opened, mark: IndexMark, value: number): void {
    const at = this.#now();
    let line = indexLine(at, mark, value);
    if (this.#idxBytes + line.length - this.#checkpointAt >= checkpointBytes) {
      this.#checkpointAt = this.#idxBytes + line.length;
      line += indexLine(at, '@', this.#offset ?? 0);
    }
    let written = 0;
    try {
      written = writeSync(open.idx, line, null, 'latin1');
    } catch (error) {
      if (!hasCode(error, 'ENOSPC', 'EDQUOT', 'EFBIG')) throw error;
    }
    if (written === line.length) {
      this.#idxBytes += written;
      return;
    }
    // Half a line would spoil the next one.
    if (written > 0) ftruncateSync(open.idx, this.#idxBytes);
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  }

  /** Never back: readers look for a time as in a sorted list, and a clock may be set back under a run. */
  #now(): number {
    this.#at = Math.max(this.#at, Date.now());
    return this.#at;
  }

  #rotate(): void {
    const { directory, generation } = this.#options;
    const numbers = listSegments(directory, generation).map((segment) => segment.number ?? 0);
    const to = segmentPaths(directory, generation, Math.max(0, ...numbers) + 1);
    // The log first: openSegment in log-file.ts counts on this order, here and in #reopen.
    renameSync(this.#logPath, to.logPath);
    renameSync(this.#idxPath, to.idxPath);
    this.#closeFiles();
    this.#idxBytes = 0;
    this.#reopen();
    this.#prune();
  }

  /** Opens the live segment, or begins it; afterwards the index accounts for every byte of the log. */
  #reopen(): { readonly isFirst: boolean } {
    const { directory, generation } = this.#options;
    this.#closeFiles();
    // What it made now was not there: a worker's first log has no others to be looked at.
    const isFirst = this.#mayCreate && mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined;
    checkDirectory(directory);
    if (!isFirst) healHalfRotation(directory, generation);
    let idx = openOwn(this.#idxPath);
    let log: number | null = null;
    try {
      if (statSync(this.#logPath, { throwIfNoEntry: false }) !== undefined) log = openOwn(this.#logPath);
      const logBytes = log === null ? 0 : fstatSync(log).size;
      const end = indexEnd(idx);
      const known =
        this.#offset ?? (end.idxBytes > 0 ? null : isFirst ? logBytes : endOfEarlier(directory, generation) + logBytes);
      const offset = known ?? Math.max(end.base + logBytes, end.offset);
      const fits = end.idxBytes > 0 ? end.offset <= offset && end.base + logBytes === offset : offset === logBytes;
      this.#at = Math.max(this.#at, end.at);
      const now = Math.max(this.#at, Date.now());
      let addition = '';
      if (!fits) {
        // One of them was deleted or cut under the other: account for what there is, from a known place.
        addition = indexLine(now, '@', offset - logBytes) + (logBytes > 0 ? indexLine(now, 'o', logBytes) : '');
      } else if (offset > end.offset) addition = indexLine(now, 'o', offset - end.offset);
      // Anew where it says less than it did, or something else: who reads it must not go on in its middle.
      if ((!fits && fstatSync(idx).size > 0) || end.idxBytes < this.#idxBytes) {
        const kept = fits ? readBytes(idx, 0, end.idxBytes).toString('latin1') : '';
        const anew = replaceOwn(this.#idxPath, kept + addition);
        closeSync(idx);
        idx = anew;
      } else {
        ftruncateSync(idx, end.idxBytes);
        if (addition !== '') writeSync(idx, addition, null, 'latin1');
      }
      if (addition !== '') this.#at = now;
      log ??= openOwn(this.#logPath);
      this.#open = { log, idx, logIno: inode(log), idxIno: inode(idx) };
      this.#offset = offset;
      this.#owed = 0;
      this.#logBytes = logBytes;
      this.#idxBytes = (fits ? end.idxBytes : 0) + addition.length;
      this.#checkpointAt = fits ? Math.max(0, this.#idxBytes - checkpointBytes) : 0;
      this.#lookedAt = performance.now();
      return { isFirst };
    } catch (error) {
      closeSync(idx);
      if (log !== null) closeSync(log);
      throw error;
    }
  }

  #prune(): void {
    this.#othersBytes = dropOldest({
      ...this.#options,
      live: this.#logPath,
      liveBytes: this.#logBytes + this.#idxBytes,
    });
  }

  #lookWhetherStillThere(now: number): void {
    this.#lookedAt = now;
    const open = this.#open as Opened;
    const log = statSync(this.#logPath, { bigint: true, throwIfNoEntry: false });
    const idx = statSync(this.#idxPath, { bigint: true, throwIfNoEntry: false });
    const intact = log?.ino === open.logIno && idx?.ino === open.idxIno;
    if (intact && Number(log.size) >= this.#logBytes && Number(idx.size) >= this.#idxBytes) return;
    this.#options.onRemark(`${this.#logPath} was ${intact ? 'cut' : 'moved or deleted'} by somebody; logging goes on`);
    this.#closeFiles();
  }

  #resumed(): void {
    if (this.#failing === null) return;
    this.#failing = null;
    this.#options.onRemark(`${this.#logPath} is written again; ${this.#droppedInStreak} bytes could not be`, 'resumed');
    this.#droppedInStreak = 0;
  }

  #failed(error: unknown): void {
    const full = hasCode(error, 'ENOSPC', 'EDQUOT');
    // A full disk may have room again with the next piece; anything else is begun anew.
    if (!full) {
      if (this.#open !== null) this.#closeFiles();
      this.#failedOpenAt = performance.now();
    }
    if (this.#failing !== null) return;
    const why = error instanceof Error ? error.message : String(error);
    this.#failing = `cannot write ${this.#logPath}: ${why}. Its bytes are dropped and counted until it can be written`;
    this.#options.onRemark(this.#failing, 'failing');
  }

  #closeFiles(): void {
    if (this.#open === null) return;
    const { log, idx } = this.#open;
    this.#open = null;
    for (const descriptor of [log, idx]) {
      try {
        closeSync(descriptor);
      } catch {
        // A late write error of the file system: its bytes are beyond saving.
      }
    }
  }
}
