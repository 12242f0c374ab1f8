/** Programs of the benches as children of this process: what they are told and what they say goes over their IPC. */
import { type ChildProcess, fork, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export const programPath = (name: string): string => join(import.meta.dirname, 'programs', `${name}.ts`);

export class Program {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Descriptors from 4 on are the program's, 3 is the IPC. */
  static start(name: string, args: readonly string[] = [], descriptors: readonly number[] = []): Program {
    const stdio: StdioOptions = ['ignore', 'inherit', 'inherit', 'ipc', ...descriptors];
    return new Program(
      fork(programPath(name), [...args], { stdio, execArgv: ['--disable-warning=ExperimentalWarning'] }),
    );
  }

  tell(message: object): void {
    this.#child.send(message);
  }

  async said(): Promise<unknown> {
    const [message] = (await once(this.#child, 'message')) as [unknown];
    return message;
  }

  async ask(message: object): Promise<unknown> {
    const answer = this.said();
    this.tell(message);
    return await answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}
