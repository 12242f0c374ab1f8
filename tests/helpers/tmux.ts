/** A real terminal with a shell in it, driven and looked at through tmux. */

import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { eventually } from './eventually.ts';

/** Tests that need one skip themselves where it is missing. */
export const hasTmux = spawnSync('tmux', ['-V']).status === 0;

/** What the shell shows before each line; none that a shell has of its own. */
export const prompt = 'wd>';

export class Tmux implements Disposable {
  /** A server of its own, so that nobody's sessions and settings are met. */
  readonly #server = `wd-${randomUUID()}`;

  constructor({
    columns,
    rows,
    env,
  }: { readonly columns: number; readonly rows: number; readonly env: Readonly<Record<string, string>> }) {
    const shell = ['new-session', '-d', '-s', 's', '-x', String(columns), '-y', String(rows), 'sh'];
    execFileSync('tmux', ['-L', this.#server, '-f', '/dev/null', ...shell], {
      env: { ...env, TERM: 'xterm-256color' },
    });
  }

  /** The shell takes no prompt from its environment. */
  async ready(): Promise<void> {
    await eventually(() => this.screen().trim() !== '', { what: 'a shell' });
    this.type(`PS1='${prompt} '; clear`);
    await eventually(() => this.screen().trim() === prompt, { what: 'a prompt' });
  }

  #call(...args: readonly string[]): string {
    return execFileSync('tmux', ['-L', this.#server, ...args], { encoding: 'utf8' });
  }

  /** A line for the shell, or for whatever reads. */
  type(line: string): void {
    this.#call('send-keys', '-t', 's', '-l', line);
    this.key('Enter');
  }

  /** As tmux names it: `C-c`, `Enter`. */
  key(name: string): void {
    this.#call('send-keys', '-t', 's', name);
  }

  resize(columns: number, rows: number): void {
    this.#call('resize-window', '-t', 's', '-x', String(columns), '-y', String(rows));
  }

  /** What is on the screen now; with `colours` as it is painted. */
  screen({ colours = false }: { readonly colours?: boolean } = {}): string {
    return this.#call('capture-pane', '-p', ...(colours ? ['-e'] : []), '-t', 's');
  }

  /** The lines that are not blank. */
  lines(): readonly string[] {
    return this.screen()
      .split('\n')
      .map((line) => line.trimEnd())
      .filter((line) => line !== '');
  }

  /** What the terminal was told: the cursor is shown, lines wrap, and the normal screen is there. */
  modes(): { readonly cursor: boolean; readonly wraps: boolean; readonly alternate: boolean } {
    const [cursor, wraps, alternate] = this.#call(
      'display-message',
      '-p',
      '-t',
      's',
      '#{cursor_flag} #{wrap_flag} #{alternate_on}',
    )
      .trim()
      .split(' ');
    return { cursor: cursor === '1', wraps: wraps === '1', alternate: alternate === '1' };
  }

  [Symbol.dispose](): void {
    this.#call('kill-server');
  }
}
