/** What the daemon says of its surroundings: how long it has been so, in which words, and that asking waits for nobody. */
import { describe, expect, it } from 'vitest';
import type { Run } from '../../src/daemon/core/model.ts';
import { LogTroubles } from '../../src/daemon/log-troubles.ts';
import { descriptorTrouble, Problems, registryTrouble } from '../../src/daemon/problems.ts';
import type { RunStatus } from '../../src/daemon/shim/protocol.ts';
import { ShimHealth } from '../../src/daemon/shim-health.ts';
import { WorkerdError } from '../../src/shared/errors.ts';
import { FakeClock, turns } from '../helpers/fake-clock.ts';
import { silentLog } from '../helpers/fake-store.ts';
import { fakeRun, fakeWorker } from '../helpers/fake-worker.ts';

const make = () => {
  const clock = new FakeClock();
  const said: string[] = [];
  const log = { ...silentLog, warn: () => said.push('began'), info: () => said.push('over') };
  return { clock, said, problems: new Problems({ clock, log }) };
};

describe('the register', () => {
  it('keeps since when, tells the newest words, and logs each beginning and end once', () => {
    const { clock, said, problems } = make();
    problems.set('registry', 'first');
    const { since } = problems.list()[0] ?? {};
    clock.advance(5000);
    problems.set('registry', 'second');
    expect(problems.list()).toEqual([{ kind: 'registry', since, message: 'second' }]);
    problems.clear('registry');
    problems.clear('registry');
    expect([problems.list(), said]).toEqual([[], ['began', 'over']]);
    problems.set('registry', 'third');
    expect(problems.list()[0]?.since).not.toBe(since);
  });

  it('looks when it is asked, and tells the oldest first', () => {
    const { clock, problems } = make();
    let why: string | null = null;
    problems.look('descriptors', () => why);
    expect(problems.list()).toEqual([]);
    problems.set('registry', 'older');
    clock.advance(1000);
    why = 'none left';
    expect(problems.list().map(({ kind }) => kind)).toEqual(['registry', 'descriptors']);
    why = null;
    expect(problems.list().map(({ kind }) => kind)).toEqual(['registry']);
  });
});

describe('the words', () => {
  it.each([
    ['database or disk is full', 'Make room on its disk'],
    ['ENOSPC: injected', 'Make room on its disk'],
    ['attempt to write a readonly database', 'writable again'],
    ['disk I/O error', 'dmesg'],
  ])('of a registry that says %j name it, the reason and the next step', (reason, next) => {
    const error = new WorkerdError('limit.exceeded', 'refused', { limit: 'registry', reason });
    const words = registryTrouble('/h/registry.db', error);
    expect(words).toContain(`/h/registry.db cannot be written (${reason})`);
    expect(words).toContain(next);
  });

  it('of descriptors tell the last ones from none', () => {
    expect(descriptorTrouble(20, 1024)).toBeNull();
    expect(descriptorTrouble(20, null)).toBeNull();
    expect(descriptorTrouble(900, 1024)).toMatch(/900 of 1024 .*in use.*LimitNOFILE/);
    expect(descriptorTrouble(null, 1024)).toMatch(/no file descriptor left of 1024/);
  });
});

describe('the shim', () => {
  const withShim = (over: { state?: string; external?: boolean } = {}) => {
    const { clock, problems } = make();
    const asked: (() => void)[] = [];
    const hello = { protocol: 1, version: '1.2.3', pid: 77, startTime: 5 };
    const shim = { ...hello, heardMono: clock.mono() };
    const line = {
      shim: shim as typeof shim | null,
      call: () => new Promise<unknown>((resolve) => asked.push(() => resolve({}))),
    };
    const health = new ShimHealth({
      line: () => line,
      clock,
      problems,
      shimLog: '/h/shim.log',
      external: over.external ?? false,
      stateOf: () => over.state ?? 'S',
    });
    return { clock, problems, asked, line, health, words: () => problems.list()[0]?.message };
  };

  it('that is stopped by a signal is seen at once, with what lets it go on', () => {
    const { words, health } = withShim({ state: 'T' });
    expect(words()).toMatch(/pid 77.*stopped by a signal.*kill -CONT 77/);
    expect(health.info?.answers).toBe(false);
  });

  it('that does not answer is said so after a second, by one question, and no more once it answers', async () => {
    const { clock, asked, words, health } = withShim();
    clock.advance(5000);
    expect(words()).toBeUndefined();
    expect(health.info?.answers).toBe(true);
    clock.advance(900);
    expect([words(), health.info?.answers]).toEqual([undefined, false]);
    clock.advance(200);
    expect(words()).toMatch(/pid 77\) has not answered for 1 s/);
    expect(asked).toHaveLength(1);
    asked[0]?.();
    await turns();
    expect(words()).toBeUndefined();
  });

  it('that has just spoken is not asked', () => {
    const { asked, words } = withShim();
    words();
    expect(asked).toHaveLength(0);
  });

  it('that is gone is said until another has told what it kept', () => {
    const { health, words, line, problems } = withShim();
    line.shim = null;
    health.lost('the far end closed the connection');
    expect([health.info, problems.list()[0]?.kind]).toEqual([null, 'shim-gone']);
    health.notReached('it did not start: EAGAIN');
    expect(words()).toMatch(/no shim.*EAGAIN.*shim\.log/);
    health.found();
    expect(problems.list()).toEqual([]);
  });

  it("that a service manager starts is named by its service's name", () => {
    const { health, words } = withShim({ external: true });
    health.lost('gone');
    expect(words()).toContain('systemctl start workerd-shim');
  });
});

describe('logs', () => {
  const run = (over: Partial<Run> = {}) => ({ ...fakeRun(), id: 'w.1.ab', ...over });

  it('that cannot be written are told by worker, until they can or the run is over', () => {
    let record = fakeWorker({ name: 'w', run: run() });
    const troubles = new LogTroubles(() => record);
    troubles.remark({ run: 'w.1.ab', message: 'wrote rubbish' });
    expect(troubles.inWords('/h/logs')).toBeNull();
    troubles.remark({ run: 'w.1.ab', message: 'cannot write /h/logs/w/1.log: ENOSPC', log: 'failing' });
    expect(troubles.inWords('/h/logs')).toMatch(/worker w: cannot write .*ENOSPC.*Make room/);
    troubles.remark({ run: 'w.1.ab', message: 'is written again', log: 'resumed' });
    expect(troubles.inWords('/h/logs')).toBeNull();
    troubles.connected([{ run: 'w.1.ab', logFailing: 'cannot write' } as RunStatus]);
    expect(troubles.inWords('/h/logs')).toContain('worker w');
    record = { ...record, run: run({ stage: 'closed' }) };
    expect(troubles.inWords('/h/logs')).toBeNull();
  });
});
