/** What the workers wrote down of themselves (workers/counts-lines.*), and the same as their logs have it. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { listGenerations } from '../../src/shared/log-file.ts';
import { readChunks } from '../../src/shared/log-reader.ts';
import type { Exit } from '../../src/shared/worker.ts';

export interface OwnRun {
  readonly run: string;
  readonly name: string;
  readonly generation: number;
  /** As it is to be found in the log, by stream. */
  readonly lines: { readonly stdout: readonly string[]; readonly stderr: readonly string[] };
  readonly got: readonly string[];
  /** Line numbers it published, in order. */
  readonly published: readonly number[];
  /** How it said that it would end. */
  readonly end: Exit | null;
}

const endOf = (text: string): Exit => {
  const [kind = '', code] = text.split(' ');
  if (kind === 'returned') return { kind };
  if (kind === 'error') return { kind, name: 'Error', message: 'as it was told', stack: null };
  return { kind: 'code', code: Number(code) };
};

export const parseOwn = (run: string, text: string): OwnRun => {
  const words = run.split('.');
  const stdout: string[] = [];
  const stderr: string[] = [];
  const got: string[] = [];
  const published: number[] = [];
  let end: Exit | null = null;
  // What follows the last newline was cut by a kill: it was never printed.
  for (const line of text.split('\n').slice(0, -1)) {
    if (line.startsWith('O ')) stdout.push(line);
    else if (line.startsWith('E ')) stderr.push(line);
    else if (line.startsWith('got ')) got.push(line.slice(4));
    else if (line.startsWith('pub ')) published.push(Number(line.slice(4)));
    else if (line.startsWith('end ')) end = endOf(line.slice(4));
  }
  const name = words.slice(0, -2).join('.');
  return { run, name, generation: Number(words.at(-2)), lines: { stdout, stderr }, got, published, end };
};

export class OwnFiles {
  readonly directory: string;
  readonly #gone: string;
  /** They were compared, and will not change any more. */
  readonly #done = new Set<string>();

  constructor(parent: string) {
    this.directory = join(parent, 'own');
    this.#gone = join(parent, 'gone');
    mkdirSync(this.directory);
    mkdirSync(this.#gone);
  }

  /** Run ids, of one worker or of all. */
  runs(name?: string): readonly string[] {
    const all = readdirSync(this.directory);
    return name === undefined ? all : all.filter((run) => run.split('.').slice(0, -2).join('.') === name);
  }

  read(run: string): OwnRun {
    return parseOwn(run, readFileSync(join(this.directory, run), 'utf8'));
  }

  isDone(run: string): boolean {
    return this.#done.has(run);
  }

  done(run: string): void {
    this.#done.add(run);
  }

  /** The worker was removed: its name begins anew. */
  archive(name: string): void {
    for (const run of this.runs(name)) renameSync(join(this.directory, run), join(this.#gone, run));
    for (const run of readdirSync(this.#gone)) rmSync(join(this.#gone, run), { force: true });
  }
}

export interface LoggedStreams {
  readonly stdout: string;
  readonly stderr: string;
  /** The oldest of it was rotated away. */
  readonly rotated: boolean;
}

export const readLog = (directory: string, generation: number): LoggedStreams => {
  const parts: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  let first: number | null = null;
  for (const { stream, bytes, offset } of readChunks(directory, generation)) {
    first ??= offset;
    parts[stream].push(bytes);
  }
  const text = (stream: 'stdout' | 'stderr') => Buffer.concat(parts[stream]).toString('utf8');
  return { stdout: text('stdout'), stderr: text('stderr'), rotated: (first ?? 0) > 0 };
};

const thrownLine = 'Error: as it was told';

export const checksum = (line: string): boolean => {
  const words = line.split(' ');
  const [number, generation] = [Number(words[1]), Number(words[2])];
  return Number(words.at(-1)) === (number * 31 + generation * 17) % 9973;
};

/** What differs between a run's log and what the run wrote; how many lines were compared. */
export const compareLog = (
  own: OwnRun,
  directory: string,
  killed: boolean,
  dropsRuns: boolean,
): { readonly fault: string | null; readonly lines: number; readonly lastMissing: boolean } => {
  const log = readLog(directory, own.generation);
  // Looked at after it was read: the worker's next run may just be dropping it.
  if (dropsRuns && own.generation < (listGenerations(directory)[0] ?? 0))
    return { fault: null, lines: 0, lastMissing: false };
  let [lines, missing] = [0, 0];
  for (const stream of ['stdout', 'stderr'] as const) {
    const wrote = own.lines[stream];
    const text = log[stream];
    const logged = text.split('\n');
    const cut = logged.pop() ?? '';
    // What it threw follows what it printed.
    const thrown = own.end?.kind === 'error' && stream === 'stderr' ? logged.indexOf(thrownLine) : -1;
    if (thrown !== -1) logged.splice(thrown);
    if (log.rotated) {
      // The first line may have been cut in two by the rotation.
      if (logged.length > 0 && !wrote.includes(logged[0] ?? '')) logged.shift();
    }
    lines += logged.length;
    const bad = logged.find((line) => !checksum(line));
    if (bad !== undefined)
      return { fault: `${stream}: a broken line ${JSON.stringify(bad)}`, lines, lastMissing: false };
    // Of a stream of which nothing is left all may have been dropped.
    const [firstLeft] = logged;
    const dropped = firstLeft === undefined ? wrote.length : Math.max(0, wrote.indexOf(firstLeft));
    const begin = log.rotated ? dropped : 0;
    const wanted = wrote.slice(begin, begin + logged.length);
    const differs = logged.findIndex((line, index) => line !== wanted[index]);
    if (differs !== -1) {
      const shown = JSON.stringify({
        logged: logged.slice(Math.max(0, differs - 1), differs + 2),
        wrote: wanted[differs],
      });
      return { fault: `${stream}: line ${differs} of ${logged.length} differs: ${shown}`, lines, lastMissing: false };
    }
    const rest = wrote.slice(begin + logged.length);
    if (rest.length > 1 || (rest.length === 1 && !killed)) {
      const fault = `${stream}: ${rest.length} of ${wrote.length} lines are missing at the end, from ${JSON.stringify(rest[0])}`;
      return { fault, lines, lastMissing: false };
    }
    if (cut !== '' && !(rest[0] ?? '').startsWith(cut)) {
      return { fault: `${stream}: an unfinished line ${JSON.stringify(cut)}`, lines, lastMissing: false };
    }
    missing += rest.length;
  }
  if (missing > 1) return { fault: 'the last line of both streams is missing', lines, lastMissing: true };
  return { fault: null, lines, lastMissing: missing === 1 };
};
