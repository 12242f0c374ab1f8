process.env['TZ'] = 'UTC';

import { describe, expect, test } from 'vitest';
import { blockText } from '../../src/cli/render/block.ts';
import { summaryText } from '../../src/cli/render/cells.ts';
import { historyText } from '../../src/cli/render/history.ts';
import { makeStyle, nameColour } from '../../src/cli/render/style.ts';
import { tableText } from '../../src/cli/render/table.ts';
import { displayWidth, ordinal } from '../../src/cli/render/text.ts';
import { watchFrame } from '../../src/cli/render/watch-frame.ts';
import type { RunView, WorkerView } from '../../src/shared/worker.ts';
import { ago, makeView, moduleSpec, now, stopped } from './views.ts';

const plain = makeStyle({ colours: false, unicode: true });
const ascii = makeStyle({ colours: false, unicode: false });

const progress = (done: number, total: number) => ({ progress: { done, total, unit: 'files' } });
/** A worker in each situation that a row has to tell of. */
const situations: readonly WorkerView[] = [
  stopped({
    name: 'again',
    phase: 'backoff',
    restarts: 2,
    exit: { kind: 'code', code: 1 },
    nextStartAt: ago(-3500),
  }),
  stopped({
    name: 'broken',
    phase: 'failed',
    exit: { kind: 'spawn-failed', errno: 'ENOENT', message: 'cannot execute /no/such: no such file or directory' },
    reason: 'start-failed',
  }),
  stopped({
    name: 'crashes',
    phase: 'failed',
    restarts: 9,
    exit: { kind: 'code', code: 3 },
    reason: 'crash-loop',
    endedAt: ago(120_000),
  }),
  makeView({
    name: 'import',
    kind: 'process',
    spec: moduleSpec,
    state: { ...progress(620, 1000), step: 'hashing' },
    startedAt: ago(12_000),
    stateAt: ago(0),
  }),
  stopped({ name: 'killed', phase: 'failed', exit: { kind: 'signal', signal: 'SIGKILL' } }),
  stopped({ name: 'never', generation: 0, endedAt: null, exit: null, startedAt: null }),
  makeView({
    name: 'thread',
    kind: 'thread',
    threadId: 2,
    spec: moduleSpec,
    state: { counter: 42 },
    cpuPercent: null,
    memoryBytes: null,
  }),
  makeView({
    name: 'web',
    spec: { ...moduleSpec, ready: { by: 'worker' } },
    ready: false,
    memoryBytes: 1.5 * 1024 ** 3,
    cpuPercent: 173.2,
  }),
];
const table = (width: number | null, views: readonly WorkerView[] = situations): string =>
  tableText(views, { style: plain, now, width });

describe('the table, situation by width', () => {
  test('as a pipe gets it, and 200 columns', () => {
    expect(table(200)).toBe(table(null));
    expect(table(null)).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                                                          PID  UPTIME  RESTARTS   CPU       MEM
      again    backoff  exit code 1, restarts in 4s (3rd time)                           -       -         2     -         -
      broken   failed   could not start: program not found (ENOENT), 3s ago              -       -         0     -         -
      crashes  failed   exit code 3, 2m ago, gave up after 9 restarts (crash-loop)       -       -         9     -         -
      import   running  ██████░░░░  62%  620/1000 files  52/s  ETA 7s · step=hashing  4711     12s         0  1.3%  24.0 MiB
      killed   failed   killed by SIGKILL 3s ago                                         -       -         0     -         -
      never    stopped  never started                                                    -       -         0     -         -
      thread   running  counter=42                                                    4711   1m 2s         0     -    thread
      web      running  not ready yet                                                 4711   1m 2s         0  173%   1.5 GiB
      "
    `);
  });
  test('120 columns', () => {
    expect(table(120)).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                                                          PID  UPTIME  RESTARTS   CPU       MEM
      again    backoff  exit code 1, restarts in 4s (3rd time)                           -       -         2     -         -
      broken   failed   could not start: program not found (ENOENT), 3s ago              -       -         0     -         -
      crashes  failed   exit code 3, 2m ago, gave up after 9 restarts (crash-loop)       -       -         9     -         -
      import   running  ██████░░░░  62%  620/1000 files  52/s  ETA 7s · step=hashing  4711     12s         0  1.3%  24.0 MiB
      killed   failed   killed by SIGKILL 3s ago                                         -       -         0     -         -
      never    stopped  never started                                                    -       -         0     -         -
      thread   running  counter=42                                                    4711   1m 2s         0     -    thread
      web      running  not ready yet                                                 4711   1m 2s         0  173%   1.5 GiB
      "
    `);
  });
  test('100 columns', () => {
    expect(table(100)).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                                        PID  UPTIME  RESTARTS   CPU       MEM
      again    backoff  exit code 1, restarts in 4s (3rd time)         -       -         2     -         -
      broken   failed   program not found (ENOENT)                     -       -         0     -         -
      crashes  failed   exit code 3, gave up (crash-loop)              -       -         9     -         -
      import   running  ██████░░░░  62%  620/1000  52/s  ETA 7s     4711     12s         0  1.3%  24.0 MiB
      killed   failed   killed by SIGKILL 3s ago                       -       -         0     -         -
      never    stopped  never started                                  -       -         0     -         -
      thread   running  counter=42                                  4711   1m 2s         0     -    thread
      web      running  not ready yet                               4711   1m 2s         0  173%   1.5 GiB
      "
    `);
  });
  test('80 columns', () => {
    expect(table(80)).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                              PID  UPTIME   CPU       MEM
      again    backoff  restarts in 4s (3rd time)            -       -     -         -
      broken   failed   program not found (ENOENT)           -       -     -         -
      crashes  failed   gave up (crash-loop)                 -       -     -         -
      import   running  ███░░  62%  620/1000  ETA 7s      4711     12s  1.3%  24.0 MiB
      killed   failed   killed by SIGKILL 3s ago             -       -     -         -
      never    stopped  never started                        -       -     -         -
      thread   running  counter=42                        4711   1m 2s     -    thread
      web      running  not ready yet                     4711   1m 2s  173%   1.5 GiB
      "
    `);
  });
  test('60 columns', () => {
    expect(table(60)).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                     UPTIME       MEM
      again    backoff  restarts in 4s                 -         -
      broken   failed   program not found (ENOE…       -         -
      crashes  failed   gave up (crash-loop)           -         -
      import   running  ██████░░░░  62%  ETA 7s      12s  24.0 MiB
      killed   failed   killed by SIGKILL 3s ago       -         -
      never    stopped  never started                  -         -
      thread   running  counter=42                 1m 2s    thread
      web      running  not ready yet              1m 2s   1.5 GiB
      "
    `);
  });
  test('40 columns', () => {
    expect(table(40)).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE
      again    backoff  restarts in 4s
      broken   failed   program not found (EN…
      crashes  failed   gave up (crash-loop)
      import   running  ███░░  62%  ETA 7s
      killed   failed   killed by SIGKILL
      never    stopped  never started
      thread   running  counter=42
      web      running  not ready yet
      "
    `);
  });
  test('20 columns', () => {
    expect(table(20)).toMatchInlineSnapshot(`
      "NAME     PHASE
      again    backoff
      broken   failed
      crashes  failed
      import   running
      killed   failed
      never    stopped
      thread   running
      web      running
      "
    `);
  });

  test('no row is ever wider than the terminal, whatever is in it', () => {
    const hostile = [
      ...situations,
      makeView({ name: 'x'.repeat(64), state: { text: '日本語'.repeat(30) } }),
      makeView({ name: 'emoji', state: { a: '✅⌚🫠', b: 'e\u0301'.repeat(40), c: '\x1b[2J\u202e' } }),
      makeView({ name: 'long', state: { ...progress(123_456_789, 987_654_321), step: 'x'.repeat(300) } }),
    ];
    for (let width = 1; width <= 220; width += 1) {
      for (const text of [table(width, hostile), historyText(runsOf(hostile), { style: plain, width, now })]) {
        for (const line of text.trimEnd().split('\n'))
          expect(displayWidth(line), `${width}: ${line}`).toBeLessThanOrEqual(width);
      }
      const { lines } = watchFrame(watched(hostile), {
        style: plain,
        now,
        size: { columns: width, rows: 9 },
        widths: new Map(),
      });
      expect(lines.length).toBeLessThanOrEqual(8);
      for (const line of lines) expect(displayWidth(line), `${width}: ${line}`).toBeLessThanOrEqual(width);
    }
  });

  test('without UTF-8 every sign is ASCII', () => {
    const long = [...situations, makeView({ name: 'n'.repeat(64), state: { text: 'x'.repeat(200) } })];
    expect(tableText(long, { style: ascii, now, width: 70 })).toMatch(/^[\x20-\x7e\n]+$/);
    for (const view of situations) {
      const block = blockText(view, {
        style: ascii,
        now,
        width: 40,
        lastLines: [{ stream: 'stderr', text: 'x'.repeat(99) }],
      });
      expect(block).toMatch(/^[\x20-\x7e\n]+$/);
    }
  });
});

const runsOf = (views: readonly WorkerView[]): readonly RunView[] => views;
const watched = (views: readonly WorkerView[]) => ({
  views: new Map(views.map((view) => [view.name, view])),
  samples: new Map(),
  stale: new Set<string>(),
});

describe('what watch shows', () => {
  const frame = (views: readonly WorkerView[], rows: number, columns = 90) =>
    watchFrame(watched(views), { style: plain, now, size: { columns, rows }, widths: new Map() });

  test('totals, the table', () => {
    expect(`${frame(situations, 24, 100).lines.join('\n')}\n`).toMatchInlineSnapshot(`
      "8 workers: 3 running, 1 in backoff, 3 failed, 1 stopped            Ctrl-C leaves, nothing is stopped
      NAME      PHASE     STATE                                              PID   UPTIME    CPU       MEM
      again     backoff   exit code 1, restarts in 4s (3rd time)               -        -      -         -
      broken    failed    could not start: program not found (ENOENT)          -        -      -         -
      crashes   failed    exit code 3, gave up (crash-loop)                    -        -      -         -
      import    running   ███░░  62%   620/1000    52/s  ETA 7s             4711      12s   1.3%  24.0 MiB
      killed    failed    killed by SIGKILL 3s ago                             -        -      -         -
      never     stopped   never started                                        -        -      -         -
      thread    running   counter=42                                        4711    1m 2s      -    thread
      web       running   not ready yet                                     4711    1m 2s   173%   1.5 GiB
      "
    `);
  });

  test('more workers than rows: the living first, the others are counted', () => {
    const { lines, shown } = frame(situations, 8);
    expect(shown).toEqual(['again', 'import', 'thread', 'web']);
    expect(`${lines.join('\n')}\n`).toMatchInlineSnapshot(`
      "8 workers: 3 running, 1 in backoff, 3 failed, 1 stopped  Ctrl-C leaves, nothing is stopped
      NAME      PHASE     STATE                                    PID   UPTIME    CPU       MEM
      again     backoff   restarts in 4s (3rd time)                  -        -      -         -
      import    running   ███░░  62%   620/1000  ETA 7s           4711      12s   1.3%  24.0 MiB
      thread    running   counter=42                              4711    1m 2s      -    thread
      web       running   not ready yet                           4711    1m 2s   173%   1.5 GiB
      and 4 more: 3 failed, 1 stopped
      "
    `);
  });

  test('a screen of one row has a worker in it', () => {
    expect(frame(situations, 2).lines).toEqual([expect.stringMatching(/^again /)]);
    expect(frame([], 2).lines).toEqual(['no workers yet · start one with: workerctl start -- COMMAND']);
  });

  test('what is said stands below the table, and takes a row of it', () => {
    const options = { style: plain, now, widths: new Map<string, number>(), notice: 'the daemon went away' };
    const { lines } = watchFrame(watched(situations), { ...options, size: { columns: 90, rows: 9 } });
    expect(lines).toHaveLength(8);
    expect(lines.slice(-2)).toEqual(['and 4 more: 3 failed, 1 stopped', 'the daemon went away']);
    expect(watchFrame(watched(situations), { ...options, size: { columns: 90, rows: 2 } }).lines).toEqual([
      'the daemon went away',
    ]);
  });

  test('columns stand still while numbers change', () => {
    const widths = new Map<string, number>();
    const draw = (view: WorkerView) =>
      watchFrame(watched([view]), { style: plain, now, size: { columns: 120, rows: 24 }, widths }).lines;
    const at = (lines: readonly string[], title: string) => (lines[0] ?? '').indexOf(title) + title.length;
    const first = draw(
      makeView({ name: 'a', startedAt: ago(1000), cpuPercent: 0, memoryBytes: 1024, pid: 7, state: { n: 1 } }),
    );
    const later = draw(
      makeView({
        name: 'a',
        startedAt: ago(3_599_000),
        cpuPercent: 1234,
        memoryBytes: 1023 * 1024 ** 2,
        pid: 4_194_303,
        state: { n: 123_456_789 },
      }),
    );
    for (const title of ['PHASE', 'STATE', 'PID', 'UPTIME', 'RESTARTS', 'CPU', 'MEM'])
      expect(at(later, title)).toBe(at(first, title));
    expect(later[1]).toContain('4194303  59m 59s         0  1234%  1023 MiB');
    const shrunk = draw(makeView({ name: 'a' }));
    expect(shrunk[0]).toBe(later[0]);
  });

  test('a bar keeps its place while it fills', () => {
    const summary = (done: number) =>
      summaryText(makeView({ name: 'a', state: progress(done, 1000), startedAt: ago(20_000), stateAt: ago(0) }), {
        style: plain,
        now,
        steady: true,
      });
    const columns = [9, 99, 999].map((done) => [summary(done).indexOf('/1000'), summary(done).indexOf('ETA')]);
    expect(new Set(columns.map(String)).size).toBe(1);
  });

  test('the time left goes on between two reports', () => {
    const samples = new Map([
      [
        'a',
        [
          { at: now - 4000, done: 0 },
          { at: now - 2000, done: 20 },
        ],
      ],
    ]);
    const view = makeView({ name: 'a', state: progress(20, 120) });
    const eta = (later: number) =>
      /ETA (\S+)/.exec(summaryText(view, { style: plain, now: now + later, samples }))?.[1];
    expect([eta(0), eta(1000), eta(30_000)]).toEqual(['8s', '7s', '2m']);
  });

  test('what may be out of date is dim, and the head line says so', () => {
    const style = makeStyle({ colours: true, unicode: true });
    const model = { ...watched(situations), stale: new Set(['web']) };
    const { lines } = watchFrame(model, { style, now, size: { columns: 120, rows: 24 }, widths: new Map() });
    expect(lines[0]).toContain('waiting for news of the daemon');
    expect(lines.find((line) => line.includes('web'))).toContain('\x1b[2mrunning ');
  });
});

describe('one in full', () => {
  const block = (view: WorkerView, width: number | null = 80) =>
    blockText(view, { style: plain, now, width, lastLines: [] });

  test('a long state is unfolded; short values stay on a line', () => {
    const state = {
      ...progress(620, 1000),
      list: [1, 2, 3],
      shards: { 'eu-west': { done: 4, todo: ['a', 'b'] }, 'us-east': { done: 12, todo: ['c', 'd', 'e', 'f', 'g'] } },
    };
    const view = makeView({
      name: 'import',
      kind: 'process',
      spec: moduleSpec,
      state,
      startedAt: ago(12_000),
      stateAt: ago(0),
    });
    expect(block(view)).toMatchInlineSnapshot(`
      "● import running since 2026-01-02 03:03:53 (12s ago)
          progress  ████████████░░░░░░░░  62%  620/1000 files  52/s  ETA 7s
             state  list = [1,2,3]
                    shards
                      eu-west = {"done":4,"todo":["a","b"]}
                      us-east = {"done":12,"todo":["c","d","e","f","g"]}
               pid  4711
               cpu  1.3%
            memory  24.0 MiB
               run  1
            module  /srv/counter.ts (process)
           restart  no
        started by  workerctl start (uid 1000, pid 99)
      "
    `);
  });

  test('one that gave up, with what to do', () => {
    expect(block(situations[2] ?? stopped())).toMatchInlineSnapshot(`
      "● crashes failed since 2026-01-02 03:02:05 (2m ago)
             ended  exit code 3, 2m ago, ran 0ms
            reason  gave up after 9 restarts: it ended too often too soon (crash-loop)
               run  1, 9 automatic restarts
           command  sleep 100
           restart  no
        started by  workerctl start (uid 1000, pid 99)

      it wrote nothing

      → how each of ten short runs ended: workerctl history crashes
      → all that it wrote: workerctl logs crashes
      → once that is mended: workerctl start crashes
      "
    `);
  });

  test('in backoff, not ready, never started, not there', () => {
    expect([0, 7, 5, 1].map((index) => block(situations[index] ?? stopped())).join('\n')).toMatchInlineSnapshot(`
      "● again backoff, restarts in 4s (3rd time)
         last exit  exit code 1, ran 59s
               run  1, 2 automatic restarts
           command  sleep 100
           restart  no
        started by  workerctl start (uid 1000, pid 99)

      → restart it now: workerctl start again
      → restart it no more: workerctl stop again

      ● web running (not ready yet) since 2026-01-02 03:03:03 (1m ago)
               pid  4711
               cpu  173%
            memory  1.5 GiB
               run  1
            module  /srv/counter.ts (command)
           restart  no
        started by  workerctl start (uid 1000, pid 99)

      → it has to say that it is ready: ctx.ready(), or {"ready":true} on fd 3

      ● never stopped, never started
           command  sleep 100
           restart  no
        started by  workerctl start (uid 1000, pid 99)

      → it has never run; start it: workerctl start never

      ● broken failed since 2026-01-02 03:04:02 (3s ago)
             ended  could not start: cannot execute /no/such: no such file or directo…
               run  1
           command  sleep 100
           restart  no
        started by  workerctl start (uid 1000, pid 99)

      it wrote nothing

      → give it a program and a directory that are there: workerctl start -n broken -…
      → start it again: workerctl start broken
      "
    `);
  });

  test('a line is never wider than the terminal', () => {
    for (const view of situations) {
      for (const width of [40, 60, 80, 120]) {
        for (const line of block(view, width).trimEnd().split('\n'))
          expect(displayWidth(line), line).toBeLessThanOrEqual(width);
      }
    }
  });
});

test('a name has its colour, whichever others are beside it', () => {
  expect(nameColour('web')).toBe(nameColour('web'));
  expect(new Set(['a', 'b', 'c', 'd', 'e', 'f'].map(nameColour)).size).toBeGreaterThan(3);
});

test('ordinals', () => {
  expect([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal)).toEqual([
    '1st',
    '2nd',
    '3rd',
    '4th',
    '11th',
    '12th',
    '13th',
    '21st',
    '102nd',
    '111th',
  ]);
});

test.each([
  ['日本', 4],
  ['👨‍👩‍👧', 2],
  ['🇩🇪', 2],
  ['한', 2],
  ['\u1112\u1161\u11ab', 2],
  ['⌚✅🫠', 6],
  ['e\u0301', 1],
  ['☀½—█Ω', 5],
  ['\u200b', 0],
])('%s takes %i columns, as tmux counts them', (text, columns) => {
  expect(displayWidth(text)).toBe(columns);
});
