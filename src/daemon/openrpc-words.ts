/**
 * What a schema cannot say of the protocol: what each parameter and event is for, which errors a method has, examples.
 * The compiler asks for the words of every method, parameter, event and error there is.
 */
import type { ErrorCode } from '../shared/errors.ts';
import type { CallerInput, MethodName, ParamsInput, Result, WorkerEvent } from '../shared/protocol.ts';
import type { ResourceName } from '../shared/resource-limits.ts';
import type { CommandSpec, ModuleSpec, WorkerView } from '../shared/worker.ts';

interface Example<M extends MethodName> {
  readonly name: string;
  readonly params: ParamsInput<M>;
  readonly result: Result<M>;
}
interface MethodWords<M extends MethodName> {
  readonly description?: string;
  readonly params: { readonly [K in keyof Required<ParamsInput<M>>]: string };
  /** Besides those that any method may answer. */
  readonly errors?: readonly ErrorCode[];
  readonly examples?: readonly Example<M>[];
}

/** What any method may answer. */
export const commonErrors: readonly ErrorCode[] = ['usage', 'limit.exceeded', 'internal'];

export const errorWords: Readonly<Record<ErrorCode, string>> = {
  'worker.not-found': 'There is no worker of that name.',
  'worker.already-running': 'It is alive, and `ifRunning` is `fail`.',
  'worker.start-failed': 'Its run ended before it was what `start` waits for; `data.exit` says how.',
  'worker.spec-conflict': 'It is alive with another definition; `data.differs` names the members.',
  'worker.busy':
    'It is alive, or something of it is that cannot be ended: `data.leftovers` has pid, command and state.',
  'worker.not-running': 'It has no run to signal or to send to.',
  'wait.timeout': '`timeoutMs` passed. The worker is left as it is.',
  'wait.impossible': 'The condition can no longer come true.',
  'daemon.stopping': 'The daemon is about to end.',
  'limit.exceeded':
    'One of the limits was reached; `data.limit` names it where it is one of the connection. Of what is itself too large `data.retry` is false.',
  usage: 'Params do not fit; `data.member` names the member, nothing tells its value.',
  'daemon.unreachable': 'Said by the client alone: no daemon answers.',
  internal: 'A fault of the daemon, in its log under `data.logId`.',
};

export const eventWords: Readonly<Record<WorkerEvent['type'], string>> = {
  snapshot: 'The worker as it is: one for each worker asked for, first of all, and anew after a `gap`.',
  phase: 'A worker is new, or its phase, generation, definition, `enabled`, `restarts` or leftovers changed.',
  state: 'It published. One that reads slowly hears only the newest.',
  ready: 'It said that it is ready, where its definition asks for that.',
  removed: 'It was forgotten.',
  log: 'A line that it wrote; `at`, `name` and `generation` are those of the line. Only where asked for.',
  gap: 'Events are missing here: the client did not keep up, or what came after its `since` is not known any more. So many snapshots follow, of all that there is. With `lostBytes` no event is missing, but so many bytes of the log.',
};

const name = "The worker's name.";
const spec = 'Its definition.';
const caller = 'Whose surroundings it inherits; without it a clean environment and cwd `/`.';
const graceMs = 'Time it has to end by itself, instead of the one it was defined with.';
const resume =
  'For the next daemon, after a `daemon.stopping` with `restarting`: its `accepted` without the name. Nothing is done again, the end is waited for.';
const names =
  'Names and globs (`*`, `?`, `[a-z]`); all workers where it is missing. A name must be known, a glob may match nothing.';

export const specWords: { readonly [K in keyof CommandSpec | keyof ModuleSpec]: string } = {
  kind: 'What it is: a program, or a module as a process or as a thread.',
  command: 'The program and its arguments; no shell looks at them. At most 512 KiB in sum.',
  module: 'The absolute path of a .ts, .mts, .js, .mjs or .cjs file.',
  export: 'Which of its exports is called.',
  params: 'For the module as `ctx.params`, for a command as JSON in WORKERD_PARAMS; shorter than 128 KiB.',
  env: 'Added to its environment; with the arguments at most 512 KiB, each value shorter than 128 KiB.',
  inheritEnv: 'Whether the environment of the caller lies beneath `env`, or only a clean base.',
  cwd: "Its working directory, absolute; null: the caller's.",
  umask: "Its file mode mask as a number; null: the caller's.",
  user: 'As whom it runs; only the daemon of root can.',
  restart: 'Whether it is started again: never, after it ended badly by itself, or whenever it ended by itself.',
  graceMs: 'Time between the wish that it ends and its end by force.',
  stopSignal: 'What a command is sent to end it, with or without `SIG`.',
  stdin: 'Whether `send` goes to its stdin, which is at its end otherwise.',
  ready: 'Whether it says itself when it is ready; null: it is ready once it runs.',
  log: 'How large a file of its log gets, and how many are kept.',
};
export const callerWords: { readonly [K in keyof CallerInput]: string } = {
  env: 'The environment that is captured.',
  cwd: 'Absolute.',
  umask: 'The file mode mask as a number: 18 is 022.',
  limits: "Soft resource limits, as far as the hard ones allow; one left out is as the daemon's starter had it.",
};
export const limitWords: { readonly [N in ResourceName]: string } = {
  as: 'Address space, bytes. null: unlimited, here and in the others.',
  core: 'Core file, bytes.',
  cpu: 'CPU time, seconds.',
  data: 'Data segment, bytes.',
  fsize: 'Size of a file that it writes, bytes.',
  locks: 'File locks.',
  memlock: 'Locked memory, bytes.',
  msgqueue: 'POSIX message queues, bytes.',
  nice: '20 less the lowest nice value.',
  nofile: 'Open files.',
  nproc: 'Processes of its user.',
  rss: 'Resident set, bytes.',
  rtprio: 'Realtime priority.',
  rttime: 'Realtime CPU time without a pause, µs.',
  sigpending: 'Queued signals.',
  stack: 'Stack, bytes.',
};

const exampleSpec = {
  kind: 'command',
  command: ['/bin/sleep', '1000'],
  params: {},
  env: {},
  inheritEnv: true,
  cwd: null,
  umask: null,
  user: null,
  restart: { policy: 'on-failure' },
  graceMs: 10_000,
  stopSignal: 'SIGTERM',
  stdin: false,
  ready: null,
  log: { maxBytes: 10_485_760, files: 5 },
} as const satisfies CommandSpec;
const by = { uid: 1000, pid: 99, via: 'my-script' };
const running: WorkerView = {
  name: 'sleeper',
  kind: 'command',
  phase: 'running',
  ready: true,
  enabled: false,
  generation: 1,
  pid: 4711,
  threadId: null,
  startedAt: '2026-01-02T03:04:05.678Z',
  endedAt: null,
  nextStartAt: null,
  restarts: 0,
  exit: null,
  reason: null,
  state: null,
  stateAt: null,
  stateRevision: 0,
  result: null,
  leftovers: [],
  cpuPercent: null,
  memoryBytes: null,
  startedBy: by,
  stoppedBy: null,
  spec: exampleSpec,
};
const stopped: WorkerView = {
  ...running,
  phase: 'stopped',
  pid: null,
  ready: false,
  endedAt: '2026-01-02T03:05:05.678Z',
  exit: { kind: 'signal', signal: 'SIGTERM' },
  stoppedBy: by,
};

export const methodWords: { readonly [M in MethodName]: MethodWords<M> } = {
  hello: {
    description:
      'Optional, at any time, also again. What it declares is shown as `startedBy` and `stoppedBy` of what this connection asks for from then on.',
    params: {
      client: 'What speaks.',
      protocol: 'The version of the protocol that it speaks.',
      uid: 'On whose behalf.',
      pid: 'From which process.',
      via: 'Shown as `via`; `client` where it is missing.',
    },
    examples: [
      {
        name: 'who speaks',
        params: { client: 'my-script', protocol: 1, uid: 1000, pid: 99 },
        result: { protocol: 1, version: '0.1.0', pid: 4000 },
      },
    ],
  },
  start: {
    description:
      'With `spec` the worker is defined first; without `name` it is named after its program or file. Of one that runs already with the same definition the outcome is `already-running`. Answers when what it waits for was reached, whatever follows.',
    params: {
      name,
      spec: 'Its definition; may be missing where the worker is known.',
      caller,
      ifRunning: 'What becomes of one that is alive.',
      wait: 'What the answer waits for.',
      timeoutMs: 'How long the answer may take.',
      enable: 'Start it with the daemon from now on.',
      resume,
    },
    errors: [
      'worker.not-found',
      'worker.already-running',
      'worker.start-failed',
      'worker.spec-conflict',
      'wait.timeout',
      'daemon.stopping',
    ],
    examples: [
      {
        name: 'a command',
        params: {
          name: 'sleeper',
          spec: { kind: 'command', command: ['/bin/sleep', '1000'], restart: { policy: 'on-failure' } },
        },
        result: { outcome: 'started', worker: running },
      },
    ],
  },
  stop: {
    description: 'Of one that is not alive it ends the leftovers, if there are any.',
    params: {
      name,
      graceMs,
      force: 'End it by force at once.',
      wait: 'Answer when nothing of it is left, not at once.',
      resume,
    },
    errors: ['worker.not-found', 'worker.busy'],
    examples: [
      {
        name: 'with a grace of 2 s',
        params: { name: 'sleeper', graceMs: 2000 },
        result: { outcome: 'stopped', worker: stopped },
      },
    ],
  },
  restart: {
    params: { name, graceMs, wait: 'Answer when the new run is ready, not at once.', resume },
    errors: ['worker.not-found', 'worker.start-failed', 'daemon.stopping'],
  },
  signal: {
    params: { name, signal: 'Such as `HUP` or `SIGHUP`.' },
    errors: ['worker.not-found', 'worker.not-running'],
  },
  send: {
    params: { name, text: 'The line, without its end.' },
    errors: ['worker.not-found', 'worker.not-running'],
  },
  publish: {
    params: { name, state: 'Laid over the state member by member; `null` is a value. At most 64 KiB in all.' },
    errors: ['worker.not-found', 'worker.not-running'],
    examples: [
      {
        name: 'a counter',
        params: { name: 'sleeper', state: { counter: 1 } },
        result: { worker: { ...running, state: { counter: 1 }, stateAt: running.startedAt, stateRevision: 1 } },
      },
    ],
  },
  enable: { params: { name }, errors: ['worker.not-found'] },
  disable: { params: { name }, errors: ['worker.not-found'] },
  define: { params: { name, spec, caller }, errors: ['worker.spec-conflict'] },
  remove: {
    params: { name, force: 'Stop it first.', keepLogs: 'Leave its log files.' },
    errors: ['worker.not-found', 'worker.busy'],
  },
  status: {
    params: {
      names,
      after: 'Only those that come after this name: the `next` of the page before.',
      limit: 'How many at most (1,000 without it); a page also ends below 1 MiB.',
      showEnv: 'Show the values of `spec.env`.',
    },
    errors: ['worker.not-found'],
    examples: [{ name: 'a page', params: { names: ['sl*'], limit: 1 }, result: { workers: [running], next: null } }],
  },
  watch: {
    description:
      'The snapshots (with `since` what was missed) come after the answer, then each change, until `unwatch` or the end of the connection. With `log` in `types` the lines that are written from now on come too, each before the `phase` that ends its run.',
    params: {
      names,
      types: 'Only events of these types; all but `log` where it is missing.',
      since:
        'The cursor of the last event heard: what came after it is told instead of the snapshots; where that is not known any more, a `gap` and then the snapshots.',
    },
    errors: ['worker.not-found'],
    examples: [
      { name: 'one worker', params: { names: ['sleeper'] }, result: { subscription: 's1', cursor: '3f2a-7' } },
    ],
  },
  unwatch: {
    description: 'Also ends what `logs` with `follow` began.',
    params: { subscription: 'As `watch` or `logs` answered it.' },
  },
  logs: {
    description:
      'Without `cursor` from the end, with it from there on; a page stays below 1 MiB. With `follow` the lines written after it come as `log` events whose `cursor` is one of this method, and the `phase`, `removed` and `gap` events of the worker between them: a `gap` with `lostBytes` stands where bytes of the log are missing.',
    params: {
      name,
      generation: 'Of which run; the newest where it is missing.',
      tail: 'How many lines from the end.',
      since: 'Only lines written at this time or later, RFC 3339.',
      until: 'Only lines written at this time or earlier, RFC 3339.',
      streams: 'Only lines of these.',
      cursor: 'Go on where an earlier answer or a `log` event ended.',
      follow: 'Go on with what is written from now on.',
    },
    errors: ['worker.not-found'],
    examples: [
      {
        name: 'the last line',
        params: { name: 'sleeper', tail: 1 },
        result: {
          entries: [
            {
              name: 'sleeper',
              generation: 1,
              at: '2026-01-02T03:04:05.678Z',
              stream: 'stdout',
              line: 'hello',
              partial: false,
            },
          ],
          cursor: '1:6',
        },
      },
    ],
  },
  'logs.locate': { params: { name }, errors: ['worker.not-found'] },
  wait: {
    description:
      '`exit`: ended, no restart pending. `stopped`: not alive. `running` and `ready` hold within a generation even if it has ended since; where a newer run was asked for, that one is waited for.',
    params: { name, for: 'What is waited for.', timeoutMs: 'How long at most; without it for ever.' },
    errors: ['worker.not-found', 'wait.timeout', 'wait.impossible'],
    examples: [
      { name: 'its end', params: { name: 'sleeper', for: 'exit', timeoutMs: 60_000 }, result: { worker: stopped } },
    ],
  },
  history: {
    description: 'As many of the newest as fit into one message of 1 MiB; older ones are left out.',
    params: { name, limit: 'How many at most; 100 without it.' },
    errors: ['worker.not-found'],
  },
  'daemon.info': { params: {} },
  'daemon.stop': {
    params: { keepWorkers: 'End the daemon alone; the workers go on.' },
    // It ends all the same.
    errors: ['worker.busy'],
  },
  'daemon.restart': { params: {} },
  'rpc.discover': { params: {} },
};
