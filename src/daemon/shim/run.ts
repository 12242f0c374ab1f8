/**
 * One run: its channels, its log, its published state, and how it ended. Keeps the order of facts that protocol.ts
 * promises: `spawned` first, `running` before `ready`, everything it wrote before `exited`, `exited` once and last.
 */
import { constants as osConstants } from 'node:os';
import { failpoint, failpointAfterTurn } from '../../shared/failpoints.ts';
import type { Exit, Json, JsonObject } from '../../shared/worker.ts';
import { Channels } from './channels.ts';
import { LineCutter, PublishedState, parseUpLine, resultFault, type UpMessage } from './control.ts';
import type { NewFact } from './facts.ts';
import { ageMs, isProven, startTimeOf } from './identity.ts';
import type { Known, LogTurn, RunStatus, SpawnParams } from './protocol.ts';

export interface RunHooks {
  readonly tell: (fact: NewFact) => void;
  readonly stateChanged: (run: Run) => void;
  readonly remark: (run: string, message: string, log?: LogTurn) => void;
  /** A thread host says that a thread is gone. */
  readonly threadExited: (host: Run, thread: string, exit: Exit) => void;
  /** An exited run has no descriptor open any more. */
  readonly closed: (run: Run) => void;
}

const maxEarlyBytes = 1024 * 1024;

/** A run that another shim had spawned. */
export interface Adopted {
  readonly pid: number;
  readonly startTime: number;
  readonly revision: number;
  readonly known?: Known;
}

export class Run {
  order: SpawnParams;
  readonly channels: Channels;
  readonly #hooks: RunHooks;
  readonly #adopted: boolean;
  readonly #state: PublishedState;
  readonly #cutter: LineCutter;
  readonly #said = new Set<string>();
  /** Adopted from a daemon that does not say how far it was: what it says of itself is taken as it comes. */
  #isTakenOver = false;
  #phase: 'waiting' | 'alive' | 'exited' = 'waiting';
  #pid: number | null = null;
  #startTime: number | null = null;
  #startedAtMs = 0;
  #running = false;
  #ready = false;
  /** Said `ready` before `running`: told after it. */
  #readyEarly = false;
  #own: { readonly exit: Exit; readonly result: Json } | null = null;
  #early: string[] = [];
  #earlyBytes = 0;
  #toldClosed = false;
  /** The shim ends it because it is itself told to end. */
  endedByShim = false;
  /** When SIGKILL was first said to it. */
  killedMs: number | null = null;
  released = false;

  constructor(order: SpawnParams, directory: string, hooks: RunHooks, adopted?: Adopted) {
    this.order = order;
    this.#hooks = hooks;
    this.channels = new Channels(order, directory, {
      onControl: (bytes) => {
        if (this.#phase !== 'exited') this.#cutter.push(bytes);
      },
      onEnd: () => this.#closeIfEnded(),
      onRemark: (message, log) => hooks.remark(this.id, message, log),
    });
    this.#adopted = adopted !== undefined;
    this.#state = new PublishedState(adopted?.revision);
    this.#cutter = new LineCutter(
      (line) => this.#lineUp(line),
      () => this.#once('long', 'wrote a control line longer than 1 MiB: it is dropped'),
    );
    if (adopted === undefined) return;
    this.#phase = 'alive';
    this.#pid = adopted.pid;
    this.#startTime = adopted.startTime;
    const { known } = adopted;
    // A thread is younger than its process.
    const ranMs = order.kind === 'thread' ? known?.ranMs : undefined;
    this.#startedAtMs = performance.now() - (ranMs ?? ageMs(adopted.startTime));
    this.#running = known?.running ?? order.kind === 'command';
    this.#ready = known?.ready ?? false;
    this.#isTakenOver = known === undefined;
    if (known?.state != null) this.#state.takeOver(known.state, known.stateAt);
  }

  get id(): string {
    return this.order.run;
  }
  get pid(): number | null {
    return this.#pid;
  }
  get startTime(): number | null {
    return this.#startTime;
  }
  get alive(): boolean {
    return this.#phase === 'alive';
  }
  get exited(): boolean {
    return this.#phase === 'exited';
  }
  get adopted(): boolean {
    return this.#adopted;
  }
  get closed(): boolean {
    return this.exited && this.channels.ended;
  }
  get state(): PublishedState {
    return this.#state;
  }

  /** Reads from now on; what was to go down to it before goes now. */
  open(): void {
    this.channels.openOwnEnds();
    for (const text of this.#early.splice(0)) this.channels.down(text);
  }

  /** Adopted: what is in its pipes is dealt with, and it is asked for what the shim before may have kept to itself. */
  readOn(): void {
    this.open();
    this.channels.drain();
    const { kind } = this.order;
    if (this.#phase === 'exited') return;
    if (kind === 'command') this.#isRunning(null);
    else if (kind !== 'host') this.send({ again: true });
  }

  /** `spawned`, and what it implies. For a thread, pid and start time are its host's. */
  spawned(pid: number | null, startTime?: number | null): void {
    this.#phase = 'alive';
    this.#pid = pid;
    this.#startTime = startTime !== undefined ? startTime : pid === null ? null : startTimeOf(pid);
    this.#startedAtMs = performance.now();
    this.#hooks.tell({ run: this.id, kind: 'spawned', pid: this.#pid, startTime: this.#startTime });
    if (this.order.kind === 'command') this.#isRunning(null);
  }

  /** Environment and arguments were for its start: of many runs they would be most of the memory. So nothing but `order` holds them. */
  forgetLaunch(): void {
    this.order = { ...this.order, env: {}, argv: [], launch: null };
  }

  /** Nothing came of it. */
  spawnFailed(exit: Exit): void {
    if (this.#phase === 'exited') return;
    this.#startedAtMs = performance.now();
    this.#conclude(exit);
    this.closeAll();
  }

  /** The process is gone: everything it wrote is dealt with, then `exited` is told. */
  processEnded(code: number | null, signal: string | null): void {
    if (this.#phase === 'exited') return;
    failpoint('shim.exit.seen');
    this.#drain();
    const own = this.#own;
    const saysMore = own !== null && signal === null && (own.exit.kind === 'error' || code === 0);
    if (saysMore) this.#conclude(own.exit);
    else if (signal !== null) this.#conclude({ kind: 'signal', signal });
    else this.#conclude(code === null ? { kind: 'lost', reason: 'its end was not seen' } : { kind: 'code', code });
    this.#closeIfEnded();
  }

  /** An end that is known from elsewhere; what the run itself said of it counts more. */
  endedAs(exit: Exit): void {
    if (this.#phase === 'exited') return;
    this.#drain();
    this.#conclude(this.#own?.exit ?? exit);
    if (this.order.kind === 'thread') this.closeAll();
    else this.#closeIfEnded();
  }

  /** `false`: it is not proven to be alive and ours, or it is a thread. */
  signal(signal: string, to: 'group' | 'leader'): boolean {
    const number = osConstants.signals[signal as NodeJS.Signals];
    const pid = this.#pid;
    if (this.#phase !== 'alive' || pid === null || number === undefined || this.order.kind === 'thread') return false;
    // A child of ours keeps its pid until it is reaped, and then it has exited; an adopted one has to be looked at.
    if (this.#adopted && (this.#startTime === null || !isProven(pid, this.#startTime))) return false;
    if (signal === 'SIGKILL') this.killedMs ??= performance.now();
    try {
      process.kill(to === 'group' ? -pid : pid, number);
      return true;
    } catch {
      return false;
    }
  }

  /** One line down; what comes before the channel is open waits. */
  send(message: JsonObject): boolean {
    if (this.#phase === 'exited') return false;
    const text = `${JSON.stringify(message)}\n`;
    const delivered = this.channels.down(text);
    if (delivered !== null) return delivered;
    this.#earlyBytes += text.length;
    if (this.#phase !== 'waiting' || this.#earlyBytes > maxEarlyBytes) return false;
    this.#early.push(text);
    return true;
  }

  /** A patch from outside; the worker hears of it. Gives back why it was refused. */
  publish(patch: JsonObject): string | null {
    const fault = this.#state.passOn(patch, Date.now());
    if (fault !== null) return fault;
    this.#hooks.stateChanged(this);
    this.send({ state: patch });
    return null;
  }

  status(): RunStatus {
    const { run, name, generation, kind, host } = this.order;
    const { logFailing } = this.channels;
    return {
      run,
      name,
      generation,
      kind,
      host,
      pid: this.#pid,
      startTime: this.#startTime,
      running: this.#running,
      ready: this.#ready,
      state: this.#state.value,
      stateAt: this.#state.at,
      stateRevision: this.#state.revision,
      exited: this.exited,
      adopted: this.#adopted,
      ...(logFailing === null ? {} : { logFailing }),
    };
  }

  /** The daemon has closed it. */
  release(): void {
    this.released = true;
    this.channels.createNoMore();
  }

  closeAll(): void {
    this.channels.closeAll();
    this.#closeIfEnded();
  }

  #drain(): void {
    this.channels.drain();
    this.#cutter.end();
  }

  #conclude(exit: Exit): void {
    this.#phase = 'exited';
    this.channels.closeWriters();
    this.#hooks.tell({
      run: this.id,
      kind: 'exited',
      exit,
      ranMs: Math.max(0, Math.round(performance.now() - this.#startedAtMs)),
      state: this.#state.value,
      stateAt: this.#state.at,
      stateRevision: this.#state.revision,
      result: exit.kind === 'returned' ? (this.#own?.result ?? null) : null,
      byShim: this.endedByShim,
    });
    failpointAfterTurn('shim.exit.told');
  }

  /** A grandchild may hold the pipes for long after the end: they are read until the last one has let go. */
  #closeIfEnded(): void {
    if (!this.closed || this.#toldClosed) return;
    this.#toldClosed = true;
    this.channels.closeLog();
    this.#hooks.closed(this);
  }

  #lineUp(line: Buffer): void {
    if (line.length === 0) return;
    for (const message of parseUpLine(line)) this.#take(message);
  }

  #take(message: UpMessage): void {
    const { kind } = this.order;
    switch (message.kind) {
      case 'state': {
        const fault = this.#state.take(message, Date.now());
        if (fault === null) this.#hooks.stateChanged(this);
        else this.#refuse('state', fault);
        return;
      }
      case 'running':
        if (kind === 'command') this.#rubbish('only module workers say running');
        else this.#isRunning(message.threadId);
        return;
      case 'ready':
        if (this.#running || this.#isTakenOver) this.#isReady();
        else this.#readyEarly = true;
        return;
      case 'exit': {
        if (kind !== 'module' && kind !== 'thread') {
          this.#rubbish('only module workers say how they ended');
          return;
        }
        if (this.#own !== null) return;
        const fault = resultFault(message.result);
        if (fault !== null) this.#refuse('result', fault);
        this.#own = { exit: message.exit, result: fault === null ? message.result : null };
        return;
      }
      case 'thread-exited':
        if (kind === 'host') this.#hooks.threadExited(this, message.run, message.exit);
        else this.#rubbish('only thread hosts tell of threads');
        return;
      case 'rubbish':
        this.#rubbish(message.why);
        return;
      default:
        message satisfies never;
    }
  }

  #isRunning(threadId: number | null): void {
    if (this.#running) return;
    this.#running = true;
    this.#hooks.tell({ run: this.id, kind: 'running', threadId });
    if (this.#readyEarly) this.#isReady();
  }

  #isReady(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#hooks.tell({ run: this.id, kind: 'ready' });
  }

  #rubbish(why: string): void {
    this.#once('rubbish', `wrote rubbish on its control channel: ${why}. Later rubbish is ignored without a word`);
  }

  #refuse(what: string, fault: string): void {
    this.send({ error: fault });
    this.#once(what, `was refused: ${fault}`);
  }

  #once(what: string, message: string): void {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#hooks.remark(this.id, `${this.order.name} ${message}`);
  }
}
