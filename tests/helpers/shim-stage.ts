/**
 * Drives the scenarios of the shim transcripts against a real daemon whose surroundings are always the same, and keeps
 * of each verb's result what must not change. What the daemon speaks to (a recorded shim, or a real one that is being
 * recorded) is handed in.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, connect, WorkerdError } from '../../src/shared/client.ts';
import type { MethodName, ParamsInput, Result } from '../../src/shared/protocol.ts';
import type { JsonObject, WorkerView } from '../../src/shared/worker.ts';
import { eventually } from './eventually.ts';
import { dist, root, type Sandbox } from './sandbox.ts';
import type { Scenario, Stage } from './shim-scenarios.ts';

export interface ShimSide {
  /** All has been said that is to be said before the next step: requests answered, facts acknowledged. */
  settled(): Promise<void>;
  /** The daemon was killed, and this process is to end before the next one comes. */
  apart(pid: number | null): Promise<void>;
  /** Killed, and another one there; resolves once that one was greeted. `hold` keeps the daemon from looking meanwhile. */
  replace(hold: (held: boolean) => void): Promise<void>;
}

/** Of a verb's result: what must be as it was. */
export interface Step {
  readonly method: string;
  readonly result: JsonObject;
}

/** What the placeholders of paths stand for. */
export const pathsOf = (home: string): Readonly<Record<string, string>> => ({ home, node: process.execPath, root });

const outlineOf = ({ phase, ready, generation, exit, state, stateRevision, result, restarts }: WorkerView) => ({
  phase,
  ready,
  generation,
  exit,
  state,
  stateRevision,
  result,
  restarts,
});

/** After these the worker goes on by itself: how it stands in the answer is a matter of chance. */
const passing: ReadonlySet<string> = new Set(['send', 'publish', 'signal']);

const outline = (method: string, answer: unknown): JsonObject => {
  const { outcome, worker, workers, files, removed } = answer as {
    outcome?: string;
    worker?: WorkerView;
    workers?: readonly WorkerView[];
    files?: readonly JsonObject[];
    removed?: boolean;
  };
  if (passing.has(method)) return {};
  if (method === 'start' && worker !== undefined) {
    return { outcome: outcome ?? null, phase: worker.phase, generation: worker.generation };
  }
  const kept = {
    ...(outcome === undefined ? {} : { outcome }),
    ...(worker === undefined ? {} : { worker: outlineOf(worker) }),
    ...(workers === undefined ? {} : { workers: workers.map(outlineOf) }),
    ...(files === undefined ? {} : { files }),
    ...(removed === undefined ? {} : { removed }),
  };
  return kept as unknown as JsonObject;
};

export class DaemonStage implements Stage, AsyncDisposable {
  readonly steps: Step[] = [];
  readonly #box: Sandbox;
  readonly #shim: ShimSide;
  readonly #ownShim: boolean;
  #daemon: ChildProcess | null = null;
  #client: Client | null = null;
  stderr = '';

  constructor(box: Sandbox, shim: ShimSide, { ownShim }: Scenario) {
    this.#box = box;
    this.#shim = shim;
    this.#ownShim = ownShim === true;
    mkdirSync(box.home, { recursive: true, mode: 0o700 });
  }

  async startDaemon(): Promise<void> {
    const args = ['start', '--open-files', '1024', '--ready-fd', '3', ...(this.#ownShim ? [] : ['--external-shim'])];
    const child = spawn(process.execPath, [join(dist, 'workerd.cjs'), ...args], {
      cwd: '/',
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: this.#box.home, WORKERD_HOME: this.#box.home },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stdio[3]?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.#daemon = child;
    await eventually(() => said.includes('"ready":true'), { what: `the daemon is ready: ${said}`, withinMs: 30_000 });
    this.#client = await connect({ home: this.#box.home, client: 'test' });
  }

  async call<M extends MethodName>(method: M, params: ParamsInput<M>): Promise<Result<M> | null> {
    if (this.#client === null) throw new Error('no daemon was started');
    try {
      const answer = await this.#client.call(method, params);
      this.steps.push({ method, result: outline(method, answer) });
      return answer;
    } catch (error) {
      if (!(error instanceof WorkerdError)) throw error;
      this.steps.push({ method, result: { error: error.code } });
      return null;
    }
  }

  async until(name: string, look: (worker: WorkerView) => boolean): Promise<void> {
    await eventually(async () => look(await this.#box.status(name)), { what: `${name} is so far`, withinMs: 20_000 });
  }

  async replaceKilledDaemon(endsMeanwhile: string): Promise<void> {
    const { pid } = await this.#box.status(endsMeanwhile);
    await this.#shim.settled();
    await this.kill();
    await this.#shim.apart(pid);
    await this.startDaemon();
  }

  async replaceKilledShim(): Promise<void> {
    await this.#shim.settled();
    await this.#shim.replace((held) => void this.#daemon?.kill(held ? 'SIGSTOP' : 'SIGCONT'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async kill(): Promise<void> {
    const daemon = this.#daemon;
    this.#client?.close();
    if (daemon === null) return;
    daemon.kill('SIGKILL');
    await eventually(() => daemon.exitCode !== null || daemon.signalCode !== null, { what: 'the daemon is gone' });
  }
}
