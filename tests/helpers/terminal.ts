/** The CLI on a real terminal (python3's pty), and what of its output could steer one. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { dist, root, type Sandbox } from './sandbox.ts';

export const hasPython = spawnSync('python3', ['--version']).status === 0;
const script = join(root, 'tests', 'helpers', 'on-a-terminal.py');

export interface OnTerminal {
  readonly child: ChildProcess;
  /** All that reached the terminal so far. */
  readonly shown: () => Buffer;
  readonly finished: Promise<number | null>;
}

/** Ctrl-C there is a SIGINT to `child`. */
export const onTerminal = (box: Sandbox, args: readonly string[], env: Record<string, string> = {}): OnTerminal => {
  const child = spawn('python3', [script, process.execPath, join(dist, 'workerctl.cjs'), ...args], {
    cwd: box.directory,
    env: box.env({ TERM: 'xterm-256color', LC_ALL: 'C.UTF-8', ...env }),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const finished = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, shown: () => Buffer.concat(chunks), finished };
};

/** What we write ourselves: colours, and what redraws a table in place. */
const ours = /\x1b\[(?:[0-9;:]*m|\?25[lh]|\?7[lh]|\?2026[lh]|\d*[AB]|2?K|J)/g;
/** Of the rest: C0 but for newline (with the \r that a terminal adds) and tab, DEL, C1, bidi. */
const steering = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\r(?![\n\x1b\r]|$)/;

/** The first place in what was shown that steers a terminal; `null`: there is none. */
export const steers = (shown: Buffer, { redraws = false } = {}): string | null => {
  let text = shown.toString('utf8');
  const invalid = text.includes('\ufffd') && shown.includes(0x9b);
  text = redraws ? text.replace(ours, '') : text.replace(/\x1b\[[0-9;:]*m/g, '');
  if (redraws) text = text.replaceAll('\r', '');
  const found = steering.exec(text);
  if (found === null) return invalid ? 'a raw C1 byte' : null;
  return JSON.stringify(text.slice(Math.max(0, found.index - 20), found.index + 20));
};
