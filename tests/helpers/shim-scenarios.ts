/**
 * What the transcripts of the shim protocol are of: verbs of a client, in their order. The same ones were driven when
 * they were recorded (tests/shim/record-transcripts.ts) and are driven when a recorded shim answers. A step that the
 * shim tells of is waited for before the next, so that each time the same is said.
 */
import { join } from 'node:path';
import type { MethodName, ParamsInput, Result, SpecInput } from '../../src/shared/protocol.ts';
import type { WorkerView } from '../../src/shared/worker.ts';
import { fixtures } from './sandbox.ts';

export interface Stage {
  call<M extends MethodName>(method: M, params: ParamsInput<M>): Promise<Result<M> | null>;
  until(name: string, look: (worker: WorkerView) => boolean): Promise<void>;
  /** kill -9, and another daemon in its place; meanwhile this worker ends. */
  replaceKilledDaemon(endsMeanwhile: string): Promise<void>;
  /** kill -9, and another shim in its place. */
  replaceKilledShim(): Promise<void>;
}

export interface Scenario {
  /** The shim is the daemon's own to end; otherwise somebody else's (`--external-shim`). */
  readonly ownShim?: true;
  readonly drive: (stage: Stage) => Promise<void>;
}

/** Made while no daemon is there; the worker that looks for it ends then. Beside the home's own files. */
export const apartFile = 'apart';

const caller = { env: { PATH: '/usr/local/bin:/usr/bin:/bin' }, cwd: '/', umask: 0o022 };
const sh = (script: string, more: object = {}): SpecInput =>
  ({ kind: 'command', command: ['/bin/sh', '-c', script], ...more }) as SpecInput;
const sleeper: SpecInput = { kind: 'command', command: ['sleep', '1000'] };
const module = join(fixtures, 'answers-messages.mjs');

const start = (stage: Stage, name: string, spec: SpecInput, wait: 'running' | 'ready' = 'running') =>
  stage.call('start', { name, spec, caller, wait });
const ended = async (stage: Stage, name: string): Promise<void> => {
  await stage.call('wait', { name, for: 'exit' });
  await stage.call('logs.locate', { name });
};
const kill = (stage: Stage, name: string) => stage.call('stop', { name, force: true });

/** A module of either kind: says that it is ready, gets messages, gives a result. */
const moduleRun = async (stage: Stage, kind: 'process' | 'thread'): Promise<void> => {
  await start(stage, 'answers', { kind, module, params: { greeting: 'hello' }, ready: { by: 'worker' } });
  await stage.until('answers', ({ stateRevision }) => stateRevision === 1);
  await stage.call('send', { name: 'answers', text: 'go' });
  await stage.call('wait', { name: 'answers', for: 'ready' });
  await stage.call('send', { name: 'answers', text: 'tell' });
  await stage.until('answers', ({ stateRevision }) => stateRevision === 2);
  await stage.call('send', { name: 'answers', text: 'end' });
  await ended(stage, 'answers');
};

export const scenarios: Readonly<Record<string, Scenario>> = {
  'command-ends': {
    async drive(stage) {
      const script =
        'echo \'{"state":{"counter":1}}\' >&3; echo rubbish >&3; echo out; echo err >&2; read line; exit 7';
      await start(stage, 'counts', sh(script, { stdin: true }));
      await stage.until('counts', ({ stateRevision }) => stateRevision === 1);
      await stage.call('send', { name: 'counts', text: 'go' });
      await ended(stage, 'counts');
      await stage.call('remove', { name: 'counts', keepLogs: true });
    },
  },
  'stop-term': {
    async drive(stage) {
      await start(stage, 'sleeps', sleeper);
      await stage.call('stop', { name: 'sleeps' });
    },
  },
  'stop-kill': {
    async drive(stage) {
      const script = 'trap "" TERM; echo \'{"ready":true}\' >&3; while :; do sleep 1; done';
      await start(stage, 'stubborn', sh(script, { ready: { by: 'worker' }, graceMs: 300 }), 'ready');
      await stage.call('stop', { name: 'stubborn' });
    },
  },
  'process-module': { drive: (stage) => moduleRun(stage, 'process') },
  'thread-module': { drive: (stage) => moduleRun(stage, 'thread') },
  'thread-stopped': {
    async drive(stage) {
      await start(stage, 'answers', { kind: 'thread', module });
      await stage.until('answers', ({ stateRevision }) => stateRevision === 1);
      await stage.call('stop', { name: 'answers' });
    },
  },
  'spawn-failure': {
    async drive(stage) {
      await start(stage, 'missing', { kind: 'command', command: ['/no/such/program'] });
      await stage.until('missing', ({ phase }) => phase === 'failed');
      await stage.call('status', { names: ['missing'] });
    },
  },
  stdin: {
    async drive(stage) {
      const script = 'while read line; do echo "{\\"state\\":{\\"line\\":\\"$line\\"}}" >&3; done';
      await start(stage, 'reads', sh(script, { stdin: true }));
      for (const [index, text] of ['one', 'two'].entries()) {
        await stage.call('send', { name: 'reads', text });
        await stage.until('reads', ({ stateRevision }) => stateRevision === index + 1);
      }
      await kill(stage, 'reads');
    },
  },
  publish: {
    async drive(stage) {
      await start(stage, 'shown', sleeper);
      await stage.call('publish', { name: 'shown', state: { note: 'by hand' } });
      await stage.until('shown', ({ stateRevision }) => stateRevision === 1);
      await kill(stage, 'shown');
    },
  },
  signal: {
    async drive(stage) {
      const trap = 'trap \'echo "{\\"state\\":{\\"heard\\":true}}" >&3\' USR1';
      const script = `${trap}; echo '{"ready":true}' >&3; while :; do sleep 0.05; done`;
      // Ready: from then on it has its trap.
      await start(stage, 'hears', sh(script, { ready: { by: 'worker' } }), 'ready');
      await stage.call('signal', { name: 'hears', signal: 'SIGUSR1' });
      await stage.until('hears', ({ stateRevision }) => stateRevision === 1);
      await kill(stage, 'hears');
    },
  },
  'daemon-killed': {
    async drive(stage) {
      await start(stage, 'ends', sh(`until [ -e "$WORKERD_HOME/${apartFile}" ]; do sleep 0.02; done; exit 5`));
      await start(stage, 'stays', sleeper);
      await stage.call('publish', { name: 'stays', state: { note: 'by hand' } });
      await stage.until('stays', ({ stateRevision }) => stateRevision === 1);
      await stage.replaceKilledDaemon('ends');
      await ended(stage, 'ends');
      await stage.call('status', { names: ['stays'] });
      await kill(stage, 'stays');
    },
  },
  'shim-killed': {
    async drive(stage) {
      await start(stage, 'stays', sleeper);
      await stage.call('publish', { name: 'stays', state: { note: 'by hand' } });
      await stage.until('stays', ({ stateRevision }) => stateRevision === 1);
      await stage.replaceKilledShim();
      await stage.call('status', { names: ['stays'] });
      await stage.call('stop', { name: 'stays' });
    },
  },
  shutdown: {
    ownShim: true,
    async drive(stage) {
      await start(stage, 'sleeps', sleeper);
      await stage.call('daemon.stop', {});
    },
  },
};
