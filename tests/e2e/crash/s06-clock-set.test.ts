/**
 * S06: the wall clock of daemon and shim is set forward and back by hours and years (libfaketime; the monotonic clock
 * stays true). Grace, backoff, crash-loop count, timeouts and what a killed daemon had begun to wait for take the time
 * they take; what happened keeps its order.
 */
import { spawn } from 'node:child_process';
import { globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { deaf, shell } from '../../fixtures/workers/behaviours.ts';
import { CrashBox } from '../../helpers/crash-box.ts';
import { eventually } from '../../helpers/eventually.ts';
import { dist } from '../../helpers/sandbox.ts';

const [library] = globSync(['/usr/lib/*/faketime/libfaketimeMT.so.1', '/usr/lib/faketime/libfaketimeMT.so.1']);
const settings = ['+1h', '-1h', '-10y', '+3h', '+0'] as const;

/** Daemon and shim by a clock of their own: the shim of a unit of its own, as the daemon hands no LD_PRELOAD on. */
class ClockBox extends CrashBox {
  readonly #setting = join(this.directory, 'clock');
  readonly #wrapper = [
    'env',
    `LD_PRELOAD=${library}`,
    `FAKETIME_TIMESTAMP_FILE=${this.#setting}`,
    'FAKETIME_NO_CACHE=1',
    'FAKETIME_DONT_FAKE_MONOTONIC=1',
    'DONT_FAKE_MONOTONIC=1',
  ];
  #endShim: () => Promise<unknown> = async () => {};

  constructor() {
    super();
    this.set('+0');
    this.under(...this.#wrapper).with('--external-shim');
  }

  set(to: string): void {
    writeFileSync(this.#setting, `${to}\n`);
  }

  /** One after the other, `ms` apart. */
  async setAll(ms: number): Promise<void> {
    for (const to of settings) {
      await sleep(ms);
      this.set(to);
    }
  }

  startShim(): void {
    const [program = '', ...argv] = [...this.#wrapper, process.execPath, join(dist, 'workerd.cjs'), 'shim'];
    const shim = spawn(program, argv, { cwd: this.directory, env: this.env(), stdio: 'ignore' });
    const ended = new Promise((resolve) => shim.once('exit', resolve));
    this.#endShim = () => {
      shim.kill('SIGTERM');
      return ended;
    };
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await (await this.client()).call('daemon.stop', { keepWorkers: true });
    await this.#endShim();
    await super[Symbol.asyncDispose]();
  }
}

const clockBox = async () => {
  const box = new ClockBox();
  box.startShim();
  const daemon = await box.daemon();
  return { box, daemon };
};

/** What a row calls "within 10 %", with five times the room upwards; a deadline never comes early. */
const takes = (tookMs: number, ms: number, what: string) => {
  // A restart's delay varies by a tenth, and on a busy machine its beginning may be heard of late.
  expect(tookMs, what).toBeGreaterThanOrEqual(ms * 0.9 - 200);
  expect(tookMs, what).toBeLessThan(ms * 1.5 + 500);
};

const timed = async (work: Promise<unknown>): Promise<number> => {
  const began = performance.now();
  await work.catch(() => {});
  return performance.now() - began;
};

test.skipIf(library === undefined)(
  'S06: grace, timeout and backoff take their time while the clock is set',
  async () => {
    const { box: made } = await clockBox();
    await using box = made;
    const client = await box.client();
    await client.call('start', { name: 'stubborn', spec: deaf });
    const begun: number[] = [];
    const ended: number[] = [];
    const phases: string[] = [];
    const watched = (async () => {
      for await (const event of client.watch({ names: ['short'], types: ['phase'] })) {
        if (event.type !== 'phase') continue;
        const { phase, generation } = event.worker;
        phases.push(phase);
        if (phase === 'starting') begun[generation] = performance.now();
        if (phase === 'backoff') ended[generation] = performance.now();
        if (generation === 5) return;
      }
    })();
    const short = { ...shell('sleep 0.1; exit 1'), restart: { policy: 'always' as const } };
    await client.call('start', { name: 'short', spec: short });
    const [grace, timeout] = await Promise.all([
      timed(client.call('stop', { name: 'stubborn', graceMs: 3000 })),
      timed((await box.client()).call('wait', { name: 'stubborn', for: 'exit', timeoutMs: 2500 })),
      box.setAll(400),
    ]);
    takes(grace, 3000, 'the grace');
    takes(timeout, 2500, 'the timeout');
    expect(await box.status('stubborn')).toMatchObject({ exit: { kind: 'signal', signal: 'SIGKILL' } });
    // Its runs are short ones in a row by the clock that was not set: 0, 1, 2, 4 s.
    await Promise.all([watched, box.setAll(1000)]);
    for (const [generation, ms] of [
      [3, 1000],
      [4, 2000],
      [5, 4000],
    ] as const) {
      takes((begun[generation] ?? 0) - (ended[generation - 1] ?? 0), ms, `the delay before run ${generation}`);
    }
    expect(phases.join(' ')).toMatch(/^(starting )?((running )?backoff starting ?){4}$/);
    const { runs } = await client.call('history', { name: 'short' });
    expect(runs.map(({ generation }) => generation)).toEqual(
      runs.map(({ generation }) => generation).toSorted((a, b) => b - a),
    );
    await client.call('stop', { name: 'short' });
  },
);

test.skipIf(library === undefined).each(['+1h', '-1h', '-10y'])(
  'S06: set by %s while the daemon is dead, a restart and a stop that wait go on with what was left of them',
  async (to) => {
    const { box: made, daemon } = await clockBox();
    await using box = made;
    const client = await box.client();
    await client.call('start', { name: 'stubborn', spec: deaf });
    await client.call('start', { name: 'short', spec: { ...shell('exit 1'), restart: { policy: 'always' } } });
    // After its fourth end it waits for 4 s: a new daemon is there before that.
    await eventually(async () => {
      const { phase, generation } = await box.status('short');
      return phase === 'backoff' && generation === 4;
    });
    const asked = performance.now();
    await client.call('stop', { name: 'stubborn', graceMs: 5000, wait: false });
    client.close();
    await daemon.kill();
    box.set(to);
    await box.daemon();
    const startedAgain = eventually(async () => (await box.status('short')).generation === 5);
    const stopped = eventually(async () => (await box.status('stubborn')).phase === 'stopped');
    await startedAgain;
    takes(performance.now() - asked, 4000, 'the delay');
    await stopped;
    takes(performance.now() - asked, 5000, 'the grace');
    await (await box.client()).call('stop', { name: 'short' });
  },
);

test.skipIf(library === undefined)(
  'S06: log lines keep their order, and --since finds all that came after',
  async () => {
    const { box: made } = await clockBox();
    await using box = made;
    const client = await box.client();
    await client.call('start', { name: 'w', spec: shell('n=0; while :; do n=$((n + 1)); echo $n; sleep 0.05; done') });
    const count = async () => (await client.call('logs', { name: 'w', tail: 100_000 })).entries.length;
    await eventually(async () => (await count()) > 5);
    const [{ at } = { at: '' }] = (await client.call('logs', { name: 'w', tail: 1 })).entries;
    await box.setAll(300);
    await client.call('stop', { name: 'w' });
    const { entries } = await client.call('logs', { name: 'w', tail: 100_000 });
    expect(entries.map(({ line }) => line)).toEqual(entries.map((_, index) => String(index + 1)));
    const times = entries.map((entry) => entry.at);
    expect(times).toEqual(times.toSorted());
    const since = await client.call('logs', { name: 'w', since: at, tail: 100_000 });
    expect(since.entries.map(({ line }) => line)).toEqual(
      entries.filter((entry) => entry.at >= at).map(({ line }) => line),
    );
    expect(since.entries.length).toBeGreaterThan(20);
  },
);
