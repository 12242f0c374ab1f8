process.env['TZ'] = 'UTC';

import { describe, expect, test } from 'vitest';
import { blockText } from '../../src/cli/render/block.ts';
import { endText } from '../../src/cli/render/cells.ts';
import { eventText } from '../../src/cli/render/event.ts';
import { historyText } from '../../src/cli/render/history.ts';
import { progressOf, progressText, rateOf } from '../../src/cli/render/progress.ts';
import { makeStyle, takesUnicode } from '../../src/cli/render/style.ts';
import { tableText } from '../../src/cli/render/table.ts';
import { bytesText, clip, displayWidth, durationText, jsonText, pad, printable } from '../../src/cli/render/text.ts';
import { ago, makeView, moduleSpec, now, stopped } from './views.ts';

const plain = makeStyle({ colours: false, unicode: true });
const coloured = makeStyle({ colours: true, unicode: true });

describe('text that others wrote', () => {
  test.each([
    ['\x1b[2J', '\\u{1b}[2J'],
    ['\x1b]0;title\x07', '\\u{1b}]0;title\\u{7}'],
    ['\x9b31m', '\\u{9b}31m'],
    ['a\rb\x7f', 'a\\u{d}b\\u{7f}'],
    ['\u202eevil', '\\u{202e}evil'],
    ['tab\tand\nnewline', 'tab\tand\nnewline'],
    ['grün 日本 🎉', 'grün 日本 🎉'],
    ['\x1b[31mred\x1b[0m', '\\u{1b}[31mred\\u{1b}[0m'],
  ])('%j is shown as %j', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  test('colours pass where they are wanted, are ended, and nothing else passes with them', () => {
    expect(printable('\x1b[31mred\x1b[2J', { colours: true })).toBe('\x1b[31mred\\u{1b}[2J\x1b[0m');
    expect(printable('plain', { colours: true })).toBe('plain');
  });

  test('JSON carries no control characters either', () => {
    expect(jsonText({ line: '\x1b\x9b\x7f\u202e' })).toBe('{"line":"\\u001b\\u009b\\u007f\\u202e"}');
  });
});

test('widths count what a terminal shows', () => {
  expect(displayWidth('abc')).toBe(3);
  expect(displayWidth('日本')).toBe(4);
  expect(displayWidth('\x1b[31mred\x1b[0m')).toBe(3);
  expect(displayWidth('e\u0301')).toBe(1);
  expect(clip('abcdef', 4)).toBe('abc…');
  expect(clip('日本語', 4)).toBe('日…');
  expect(clip('abc', 0)).toBe('');
  expect(pad('日', 4)).toBe('日  ');
});

test.each([
  [0, '0ms'],
  [450, '450ms'],
  [3200, '3.2s'],
  [9960, '10s'],
  [59_600, '1m 0s'],
  [182_000, '3m 2s'],
  [7_500_000, '2h 5m'],
  [273_600_000, '3d 4h'],
])('a duration of %i ms reads %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

test('sizes', () => {
  expect([0, 1023, 1024, 25_165_824, 1024 ** 3 * 100].map(bytesText)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '24.0 MiB',
    '100 GiB',
  ]);
});

describe('progress', () => {
  const view = makeView({
    state: { progress: { done: 620, total: 1000, unit: 'files' } },
    startedAt: ago(12_000),
    stateAt: ago(0),
  });

  test('a bar, the share, the amount, the rate and the time left', () => {
    const progress = progressOf(view.state);
    expect(progress).toEqual({ done: 620, total: 1000, unit: 'files' });
    if (progress === null) return;
    expect(progressText(progress, { style: plain, alive: true, rate: rateOf(view) })).toBe(
      '██████░░░░  62%  620/1000 files  52/s  ETA 7s',
    );
    expect(progressText(progress, { style: plain, alive: false, rate: null })).toBe('██████░░░░  62%  620/1000 files');
  });

  test('rates of late count more than those of the whole run', () => {
    expect(
      rateOf(view, [
        { at: now - 2000, done: 420 },
        { at: now, done: 620 },
      ]),
    ).toBe(100);
  });

  test('without a total there is no bar; bytes have their units', () => {
    const text = progressText(
      { done: 3 * 1024 * 1024, total: null, unit: 'bytes' },
      { style: plain, alive: true, rate: 2048 },
    );
    expect(text).toBe('3.0 MiB  2.0 KiB/s');
  });

  test('what is none is left as state', () => {
    expect(progressOf({ progress: 'half' })).toBeNull();
    expect(progressOf({ progress: { done: 'x' } })).toBeNull();
    expect(progressOf(null)).toBeNull();
  });
});

describe('how a worker ended', () => {
  test.each([
    [stopped(), 'stopped 3s ago'],
    [stopped({ generation: 0, endedAt: null, exit: null }), 'never started'],
    [stopped({ phase: 'exited' }), 'exit code 0, 3s ago'],
    [stopped({ phase: 'failed', exit: { kind: 'signal', signal: 'SIGKILL' } }), 'killed by SIGKILL 3s ago'],
    [
      stopped({ phase: 'failed', exit: { kind: 'code', code: 1 }, reason: 'crash-loop' }),
      'exit code 1, 3s ago, gave up after 0 restarts (crash-loop)',
    ],
    [
      stopped({ phase: 'exited', exit: { kind: 'returned' }, result: { counter: 4 } }),
      'returned {"counter":4}, 3s ago',
    ],
    [
      stopped({ phase: 'failed', exit: { kind: 'spawn-failed', errno: 'ENOENT', message: 'no such program: nope' } }),
      'could not start: program not found (ENOENT), 3s ago',
    ],
    [
      stopped({ phase: 'backoff', exit: { kind: 'code', code: 7 }, nextStartAt: new Date(now + 3500).toISOString() }),
      'exit code 7, restarts in 4s (1st time)',
    ],
  ])('%#: %s', (view, text) => {
    expect(endText(view, now)).toBe(text);
  });
});

const views = [
  stopped({ name: 'again', phase: 'backoff', restarts: 3, exit: { kind: 'code', code: 1 }, nextStartAt: ago(-4000) }),
  stopped({ name: 'bad', phase: 'failed', exit: { kind: 'signal', signal: 'SIGKILL' } }),
  makeView({ name: 'counter', kind: 'thread', threadId: 2, state: { counter: 42, file: 'a b' }, spec: moduleSpec }),
  makeView({
    name: 'web',
    spec: { ...moduleSpec, ready: { by: 'worker' } },
    ready: false,
    memoryBytes: null,
    cpuPercent: null,
  }),
];

describe('the table', () => {
  test('as a pipe gets it', () => {
    expect(tableText(views, { style: plain, now, width: null })).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                                    PID  UPTIME  RESTARTS   CPU       MEM
      again    backoff  exit code 1, restarts in 4s (4th time)     -       -         3     -         -
      bad      failed   killed by SIGKILL 3s ago                   -       -         0     -         -
      counter  running  counter=42 file="a b"                   4711   1m 2s         0  1.3%  24.0 MiB
      web      running  not ready yet                           4711   1m 2s         0     -         -
      "
    `);
  });

  test('a narrow terminal: columns go, lines fit', () => {
    for (const width of [1, 20, 40, 60, 80, 200]) {
      const lines = tableText(views, { style: plain, now, width }).trimEnd().split('\n');
      if (width >= 40) for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width);
      expect(lines).toHaveLength(5);
    }
    expect(tableText(views, { style: plain, now, width: 60 })).toMatchInlineSnapshot(`
      "NAME     PHASE    STATE                     UPTIME       MEM
      again    backoff  restarts in 4s                 -         -
      bad      failed   killed by SIGKILL 3s ago       -         -
      counter  running  counter=42 file="a b"      1m 2s  24.0 MiB
      web      running  not ready yet              1m 2s         -
      "
    `);
  });

  test('colours are beside words', () => {
    expect(tableText([views[1] ?? stopped()], { style: coloured, now, width: null })).toContain(
      '\x1b[31mfailed\x1b[0m',
    );
  });

  test('columns never shrink on a screen that is redrawn', () => {
    const widths = new Map<string, number>();
    const wide = tableText([makeView({ name: 'a-long-name' })], { style: plain, now, width: 100, widths });
    const narrow = tableText([makeView({ name: 'b' })], { style: plain, now, width: 100, widths });
    expect(narrow.indexOf('PHASE')).toBe(wide.indexOf('PHASE'));
  });

  test('a hostile name from the database is shown escaped', () => {
    expect(tableText([makeView({ name: 'x\x1b[2J' })], { style: plain, now, width: null })).not.toContain('\x1b');
  });
});

describe('the block', () => {
  test('a running thread', () => {
    const view = makeView({
      name: 'counter',
      kind: 'thread',
      threadId: 2,
      spec: { ...moduleSpec, export: 'main' },
      generation: 3,
      restarts: 2,
      enabled: true,
      state: { counter: 42, progress: { done: 1, total: 4, unit: null } },
      leftovers: [{ pid: 99, command: 'sleep 30' }],
    });
    expect(
      blockText(view, {
        style: plain,
        now,
        width: 100,
        lastLines: [
          { stream: 'stdout', text: 'one' },
          { stream: 'stderr', text: 'two\x07' },
        ],
      }),
    ).toMatchInlineSnapshot(`
      "● counter running since 2026-01-02 03:03:03 (1m ago)
          progress  █████░░░░░░░░░░░░░░░  25%  1/4
             state  counter = 42
         left over  99 sleep 30
               pid  4711, thread 2
               cpu  1.3%
            memory  24.0 MiB
               run  3, 2 automatic restarts
            module  /srv/counter.ts#main (thread)
           restart  no, starts with the daemon
        started by  workerctl start (uid 1000, pid 99)

      its last lines (! went to stderr):
      one
      ! two\\u{7}

      → end what it left over: workerctl stop counter
      "
    `);
  });

  test('one that threw', () => {
    const view = stopped({
      phase: 'failed',
      spec: moduleSpec,
      kind: 'process',
      exit: {
        kind: 'error',
        name: 'TypeError',
        message: 'x is not a function',
        stack: 'TypeError: x\n    at main (/srv/counter.ts:3:1)\n    at node:internal',
      },
      stoppedBy: null,
    });
    expect(blockText(view, { style: plain, now, width: null, lastLines: null })).toMatchInlineSnapshot(`
      "● web failed since 2026-01-02 03:04:02 (3s ago)
             ended  TypeError: x is not a function, 3s ago, ran 59s
            thrown  at main (/srv/counter.ts:3:1)
                    at node:internal
               run  1
            module  /srv/counter.ts (process)
           restart  no
        started by  workerctl start (uid 1000, pid 99)

      → all that it wrote: workerctl logs web
      → start it again: workerctl start web
      "
    `);
  });
});

test('events as lines', () => {
  const options = { style: plain, now, nameWidth: 8 };
  const base = { subscription: '1', cursor: '1', at: ago(0), name: 'counter', generation: 1 };
  const view = makeView({ name: 'counter' });
  const lines = [
    eventText({ ...base, type: 'phase', worker: view }, options),
    eventText({ ...base, type: 'state', state: { counter: 4 }, stateRevision: 4 }, options),
    eventText(
      {
        ...base,
        type: 'phase',
        worker: stopped({ phase: 'failed', exit: { kind: 'code', code: 3 }, endedAt: ago(0) }),
      },
      options,
    ),
    eventText({ ...base, type: 'removed' }, options),
    eventText({ ...base, type: 'gap', dropped: 3, snapshots: 1 }, options),
    eventText({ ...base, type: 'gap', dropped: 0, snapshots: 1 }, options),
  ];
  expect(lines).toMatchInlineSnapshot(`
    [
      "2026-01-02T03:04:05.678Z  counter   running  pid 4711",
      "2026-01-02T03:04:05.678Z  counter   counter=4",
      "2026-01-02T03:04:05.678Z  counter   failed  exit code 3, just now",
      "2026-01-02T03:04:05.678Z  counter   removed",
      "2026-01-02T03:04:05.678Z  counter   3 events were dropped; what follows is the present state",
      "2026-01-02T03:04:05.678Z  counter   events may be missing here; what follows is the present state",
    ]
  `);
});

test('past runs', () => {
  const runs = [
    {
      generation: 2,
      startedAt: ago(5000),
      endedAt: null,
      exit: null,
      reason: null,
      state: { n: 1 },
      result: null,
      startedBy: null,
      stoppedBy: null,
    },
    {
      generation: 1,
      startedAt: ago(90_000),
      endedAt: ago(10_000),
      exit: { kind: 'code', code: 0 } as const,
      reason: null,
      state: null,
      result: null,
      startedBy: { uid: 1000, pid: 9, via: 'workerctl start' },
      stoppedBy: { uid: 1000, pid: 10, via: 'workerctl stop' },
    },
  ];
  expect(historyText(runs, { style: plain, width: null, now })).toMatchInlineSnapshot(`
    "RUN  STARTED                TOOK  ENDED        STARTED BY       STOPPED BY      LAST STATE
      2  2026-01-02 03:04:00    5.0s  running      -                -               n=1
      1  2026-01-02 03:02:35  1m 20s  exit code 0  workerctl start  workerctl stop  -
    "
  `);
});

test('a locale that is set and not UTF-8 gets plain signs', () => {
  expect(takesUnicode({ LC_ALL: 'C' })).toBe(false);
  expect(takesUnicode({ LANG: 'de_DE.UTF-8' })).toBe(true);
  expect(takesUnicode({})).toBe(true);
  expect(takesUnicode({ LC_ALL: '', LANG: 'C.utf8' })).toBe(true);
});
