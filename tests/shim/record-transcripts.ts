/**
 * Records the conversations that pin the protocol between daemon and shim, one file for each scenario of
 * tests/helpers/shim-scenarios.ts: a real daemon and a real shim, and between them, under the shim's name, a proxy that
 * writes down every line either says. Run once for a version of the protocol, never by tests:
 *
 *     node scripts/build.mjs && node tests/shim/record-transcripts.ts
 *
 * It does not write over what is there: a changed protocol is a new version. See docs/architecture.md.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Fact, shimProtocolVersion } from '../../src/daemon/shim/protocol.ts';
import { eventually } from '../helpers/eventually.ts';
import { dist, Sandbox } from '../helpers/sandbox.ts';
import { apartFile, type Scenario, scenarios } from '../helpers/shim-scenarios.ts';
import { DaemonStage, pathsOf, type ShimSide } from '../helpers/shim-stage.ts';
import { type Line, type Message, sessionsOf, transcripts, withPlaceholders } from '../helpers/transcript.ts';

class RecordedConversation implements ShimSide {
  readonly lines: Line[] = [];
  readonly #home: string;
  readonly #socket: string;
  readonly #real: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #shim: ChildProcess | null = null;

  constructor(home: string) {
    this.#home = home;
    this.#socket = join(home, 'shim.sock');
    this.#real = join(home, 'real.sock');
  }

  async start(): Promise<void> {
    const shim = spawn(process.execPath, [join(dist, 'shim.cjs'), '--home', this.#home, '--ready-fd', '3'], {
      cwd: '/',
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    });
    let said = '';
    shim.stdio[3]?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    this.#shim = shim;
    await eventually(() => said.includes('"ready":true'), { what: 'the shim is ready' });
    // The shim keeps its socket under another name; its own name, which must never be missing, becomes ours.
    rmSync(this.#real, { force: true });
    linkSync(this.#socket, this.#real);
    const server = createServer({ allowHalfOpen: true }, (daemon) => this.#join(daemon));
    const temporary = join(this.#home, 'proxy.sock');
    await new Promise<void>((resolve) => {
      server.listen(temporary, resolve);
    });
    renameSync(temporary, this.#socket);
    this.#server = server;
  }

  #join(daemon: Socket): void {
    const shim = connect({ path: this.#real, allowHalfOpen: true });
    this.#pass(daemon, shim, 'daemon');
    this.#pass(shim, daemon, 'shim');
  }

  /** Written down before it is passed on: what one says after another has heard it comes later here, too. */
  #pass(one: Socket, other: Socket, from: Line['from']): void {
    let rest = '';
    this.#sockets.add(one);
    one.setEncoding('utf8');
    one.on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) this.lines.push({ from, message: JSON.parse(part) as Message });
      other.write(parts.map((part) => `${part}\n`).join(''));
    });
    one.on('end', () => other.end());
    one.on('error', () => other.destroy());
    one.on('close', () => {
      this.#sockets.delete(one);
      other.destroy();
    });
  }

  async settled(): Promise<void> {
    await eventually(() => this.#isQuiet(), { what: 'nothing is left to be said' });
  }

  #isQuiet(): boolean {
    const lines = sessionsOf(this.lines).at(-1)?.lines ?? [];
    const asked = lines.filter(({ from }) => from === 'daemon').map(({ message }) => message);
    const told = lines.filter(({ from }) => from === 'shim').map(({ message }) => message);
    const facts = told.filter(({ method }) => method === 'fact').map(({ params }) => params as unknown as Fact);
    const safe = Math.max(0, ...asked.map(({ method, params }) => (method === 'ack' ? Number(params?.['upTo']) : 0)));
    const released = new Set(asked.map(({ method, params }) => (method === 'release' ? params?.['run'] : null)));
    return (
      asked.length > 0 &&
      asked.every(({ id }) => told.some((answer) => answer.id === id)) &&
      facts.every(({ seq }) => seq <= safe) &&
      facts.every(({ kind, run }) => kind !== 'exited' || released.has(run))
    );
  }

  async apart(pid: number | null): Promise<void> {
    writeFileSync(join(this.#home, apartFile), '');
    await eventually(() => !existsSync(`/proc/${pid}`), { what: 'the worker has ended' });
  }

  async replace(hold: (held: boolean) => void): Promise<void> {
    const before = sessionsOf(this.lines).length;
    hold(true);
    await this.end('SIGKILL');
    await this.start();
    hold(false);
    const isGreeted = () => {
      const sessions = sessionsOf(this.lines);
      const lists = sessions.at(-1)?.lines.filter(({ message }) => message.method === 'list') ?? [];
      return sessions.length > before && lists.length === 2 && this.#isQuiet();
    };
    await eventually(isGreeted, { what: 'the new shim was greeted' });
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const shim = this.#shim;
    this.#server?.close();
    rmSync(this.#socket, { force: true });
    shim?.kill(signal);
    await eventually(() => shim === null || shim.exitCode !== null || shim.signalCode !== null, {
      what: 'the shim has ended',
    });
    for (const socket of this.#sockets) socket.destroy();
  }
}

const record = async (directory: string, name: string, scenario: Scenario): Promise<void> => {
  await using box = new Sandbox();
  mkdirSync(box.home, { mode: 0o700 });
  const conversation = new RecordedConversation(box.home);
  const stage = new DaemonStage(box, conversation, scenario);
  await conversation.start();
  try {
    await stage.startDaemon();
    await scenario.drive(stage);
    await conversation.settled();
    const lines = withPlaceholders([...conversation.lines], pathsOf(box.home));
    writeFileSync(join(directory, `${name}.jsonl`), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const steps = JSON.stringify(stage.steps, null, 2).replaceAll(box.home, '<path:home>');
    writeFileSync(join(directory, `${name}.results.json`), `${steps}\n`);
    console.log(`${name}: ${lines.length} lines`);
  } finally {
    await stage.kill();
    await conversation.end('SIGTERM');
  }
};

const directory = transcripts(shimProtocolVersion);
if (existsSync(directory)) {
  console.error(
    `${directory} is there, and what is recorded of version ${shimProtocolVersion} stays as it is: shims of that ` +
      'version may be running. A changed protocol is a new one: raise shimProtocolVersion, then record',
  );
  process.exit(1);
}
mkdirSync(directory, { recursive: true });
for (const [name, scenario] of Object.entries(scenarios)) await record(directory, name, scenario);
