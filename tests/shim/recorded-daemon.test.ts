/** K10: today's shim answers a daemon of each recorded version as the shim of that day did (see transcripts/). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Fact, shimProtocolVersion } from '../../src/daemon/shim/protocol.ts';
import type { Json, JsonObject } from '../../src/shared/worker.ts';
import { eventually } from '../helpers/eventually.ts';
import { RawClient } from '../helpers/fake-server.ts';
import { apartFile } from '../helpers/shim-scenarios.ts';
import { pathsOf } from '../helpers/shim-stage.ts';
import {
  type Bindings,
  filled,
  type Line,
  type Message,
  mismatch,
  orderFaults,
  readTranscript,
  recordings,
  type Session,
  sessionsOf,
} from '../helpers/transcript.ts';
import { ShimHome } from './helper.ts';

/** Says to a real shim what the daemon said, each thing once the shim has said all that it had said before it. */
class RecordedDaemon implements AsyncDisposable {
  readonly #home = new ShimHome();
  readonly #bindings: Bindings;
  #client: RawClient | null = null;
  /** What of the recording the shim has not said yet on this connection. */
  #due: Message[] = [];
  /** What it has said, and stands for nothing of the recording so far. */
  #spare: Message[] = [];
  #taken = 0;

  constructor() {
    const paths = Object.entries(pathsOf(this.#home.home));
    this.#bindings = new Map<string, Json>(paths.map(([name, path]) => [`<path:${name}>`, path]));
    this.#bindings.set('<token:1>', this.#home.token);
  }

  async play(sessions: readonly Session[]): Promise<void> {
    for (const [index, session] of sessions.entries()) {
      const before = sessions[index - 1];
      if (before !== undefined) this.#client?.socket.destroy();
      if (before === undefined) await this.#home.start();
      else if (before.shim === session.shim) await this.#apart(session);
      else await this.#anotherShim();
      await this.#playOne(session.lines);
    }
  }

  async #playOne(lines: readonly Line[]): Promise<void> {
    const client = new RawClient(join(this.#home.home, 'shim.sock'));
    this.#client = client;
    this.#spare = [];
    this.#taken = 0;
    for (const { from, message } of lines) {
      if (from === 'shim') {
        this.#due.push(message);
        continue;
      }
      await this.#settle(client);
      if (message.method === 'conclude') await this.#untilGone(message.params?.['run'] ?? null);
      client.send(`${JSON.stringify(filled(message as unknown as JsonObject, this.#bindings, make))}\n`);
    }
    await this.#settle(client);
    expect(this.#spare.filter(({ method }) => method === 'fact')).toEqual([]);
    const said = client.answers() as readonly Message[];
    expect(
      orderFaults(said.flatMap(({ method, params }) => (method === 'fact' ? [params as unknown as Fact] : []))),
    ).toEqual([]);
  }

  /** Until all has been said that was recorded so far, in whatever order; what is wanting is shown. */
  async #settle(client: RawClient): Promise<void> {
    await eventually(
      () => {
        const said = client.answers() as readonly Message[];
        this.#spare.push(...said.slice(this.#taken));
        this.#taken = said.length;
        this.#due = this.#due.filter((message) => !this.#wasSaid(message));
        return this.#due.length === 0;
      },
      { what: 'what the shim said when this was recorded', withinMs: 15_000 },
    ).catch((error: unknown) => {
      const [first] = this.#due;
      throw new Error(`${String(error)}\n${this.#explain(first)}\nnot recorded: ${JSON.stringify(this.#spare)}`);
    });
  }

  #wasSaid(recorded: Message): boolean {
    const index = this.#spare.findIndex(
      (message) =>
        isLike(recorded, message) &&
        mismatch(recorded as unknown as JsonObject, message, { bindings: this.#bindings, values: true }).length === 0,
    );
    if (index === -1) return false;
    this.#spare.splice(index, 1);
    return true;
  }

  #explain(recorded: Message | undefined): string {
    if (recorded === undefined) return '';
    const near = this.#spare.filter((message) => isLike(recorded, message));
    const found = near.map((message) =>
      mismatch(recorded as unknown as JsonObject, message, { bindings: this.#bindings, values: true }),
    );
    return `wanted: ${JSON.stringify(recorded)}\n${JSON.stringify(found)}`;
  }

  /** No daemon is there: the workers that ended meanwhile do so now. */
  async #apart({ lines }: Session): Promise<void> {
    writeFileSync(join(this.#home.home, apartFile), '');
    for (const { message } of lines) {
      const { runs = [] } = (message.result ?? {}) as { runs?: readonly JsonObject[] };
      for (const { pid, exited } of runs) // Gone altogether, not a zombie: only then has its shim heard of it.
        if (exited === true) await this.#gone(pid ?? null, '');
    }
  }

  async #anotherShim(): Promise<void> {
    await this.#home.kill();
    await this.#home.start();
  }

  /** It is not the shim's child: nobody but the daemon sees that it has ended, and says so once it has. */
  async #untilGone(run: Json): Promise<void> {
    const pid = this.#pids.get(String(run)) ?? null;
    await this.#gone(pid, 'Z');
  }

  async #gone(pid: Json, alsoIn: '' | 'Z'): Promise<void> {
    const real = Number(filled(pid, this.#bindings, () => 0));
    await eventually(() => ['', alsoIn].includes(stateOf(real)), { what: `process ${real} is gone` });
  }

  /** By run, as placeholders: who leads it. */
  readonly #pids = new Map<string, Json>();

  /** What the transcript itself says of who leads a run. */
  learn(lines: readonly Line[]): void {
    for (const { message } of lines) {
      const { run, kind, pid } = message.params ?? {};
      if (message.method === 'fact' && kind === 'spawned' && pid !== undefined) this.#pids.set(String(run), pid);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.socket.destroy();
    const { process: shim } = this.#home;
    // In good order: then it takes along what it started, or reads on.
    shim?.kill('SIGTERM');
    await eventually(() => shim === null || shim.exitCode !== null || shim.signalCode !== null, {
      what: 'the shim has ended',
    }).finally(() => this.#home.remove());
  }
}

/** An answer to the same request, or the same fact or note. */
const isLike = (recorded: Message, message: Message): boolean =>
  recorded.id === message.id &&
  recorded.method === message.method &&
  recorded.params?.['kind'] === message.params?.['kind'] &&
  recorded.params?.['revision'] === message.params?.['revision'];

/** As in proc_pid_stat(5); nothing for a process that is not there. */
const stateOf = (pid: number): string => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] ?? '';
  } catch {
    return '';
  }
};

let made = 0;
const make = (kind: string): Json => {
  made += 1;
  switch (kind) {
    case 'run':
      return `played.1.${made}`;
    case 'time':
      return new Date(Date.now() + 60_000).toISOString();
    case 'pid':
    case 'uid':
      return made;
    default:
      throw new Error(`the daemon said a ${kind} that nobody had told it`);
  }
};

test.concurrent.each(recordings(shimProtocolVersion))('version %i: %s', async (version, name) => {
  const lines = readTranscript(version, name);
  await using daemon = new RecordedDaemon();
  daemon.learn(lines);
  await daemon.play(sessionsOf(lines));
});
