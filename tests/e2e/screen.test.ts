/** `workerctl watch` on a real terminal: drawn in place, after every resize, and gone without a trace. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../helpers/eventually.ts';
import { dist, fixtures, root, Sandbox } from '../helpers/sandbox.ts';
import { hasTmux, prompt, Tmux } from '../helpers/tmux.ts';

const counter = join(root, 'examples', 'counter.ts');
const programs = `${process.execPath} ${join(dist, 'workerctl.cjs')}`;
const asBefore = { cursor: true, wraps: true, alternate: false };

const open = async (box: Sandbox, size: { columns: number; rows: number }): Promise<Tmux> => {
  const tmux = new Tmux({ ...size, env: box.env() });
  await tmux.ready();
  return tmux;
};

/** The shell says how the last command ended, on a line of its own. */
const exitCode = async (tmux: Tmux): Promise<number> => {
  await eventually(() => tmux.screen().trimEnd().endsWith(prompt), { what: 'the prompt is back' });
  tmux.type('echo "left:$?"');
  return eventually(() => {
    const code = /^left:(\d+)$/m.exec(tmux.screen())?.[1];
    return code === undefined ? false : { code: Number(code) };
  }).then(({ code }) => code);
};

test.skipIf(!hasTmux)(
  'a bar that fills, resizes that leave nothing behind, Ctrl-C with a clean prompt (needs tmux)',
  async () => {
    await using box = new Sandbox();
    await box.workerctl(['start', '-n', 'import', join(fixtures, 'makes-progress.mjs')]);
    await box.workerctl(['start', '-n', 'old', '--', 'true']);
    using tmux = await open(box, { columns: 100, rows: 14 });
    tmux.type(`${programs} watch`);
    const percent = () => Number(/ (\d+)%/.exec(tmux.screen())?.[1] ?? -1);
    const first = await eventually(() => percent() > 0 && percent(), { what: 'a bar' });
    await eventually(() => percent() > first, { what: 'the bar fills' });

    /** One table, whole, and nothing beside it but what stood there before. */
    const isClean = (columns: number): boolean => {
      const lines = tmux.lines().filter((line) => !line.includes('workerctl.cjs'));
      const [head = '', titles = '', ...rows] = lines;
      return (
        head.startsWith('2 workers: 1 running, 1 exited') &&
        /^NAME +PHASE/.test(titles) &&
        rows.length === 2 &&
        /^import +running/.test(rows[0] ?? '') &&
        /^old +exited/.test(rows[1] ?? '') &&
        lines.every((line) => line.length <= columns)
      );
    };
    await eventually(() => isClean(100), { what: 'the table' });
    for (const [columns, rows] of [
      [60, 14],
      [120, 14],
      [40, 9],
      [100, 24],
      [100, 14],
    ] as const) {
      tmux.resize(columns, rows);
      await eventually(() => isClean(columns), { what: `a clean table at ${columns} x ${rows}` });
    }

    tmux.key('C-c');
    await eventually(() => tmux.modes().cursor, { what: 'the cursor is back' });
    expect(await exitCode(tmux)).toBe(130);
    expect(tmux.modes()).toEqual(asBefore);
    const lines = tmux.lines();
    const old = lines.findIndex((line) => /^old +exited/.test(line));
    // The last table stays, and the prompt stands right below it: no ^C, no blank.
    expect(lines[old + 1]).toBe(`${prompt} echo "left:$?"`);
    expect(lines.filter((line) => line.startsWith('NAME'))).toHaveLength(1);
  },
);

test.skipIf(!hasTmux)(
  'more workers than rows: the living ones are shown, the others counted (needs tmux)',
  async () => {
    await using box = new Sandbox();
    const client = await box.client().catch(async () => {
      await box.startDaemon();
      return box.client();
    });
    for (let index = 10; index < 22; index += 1) {
      const name = `w${index}`;
      await client.call('start', {
        name,
        spec: { kind: 'command', command: index < 20 ? ['true'] : ['sleep', '1000'] },
      });
      if (index < 20) await client.call('wait', { name, for: 'exit' });
    }
    using tmux = await open(box, { columns: 80, rows: 9 });
    tmux.type(`${programs} watch`);
    await eventually(() => tmux.screen().includes('more: '), { what: 'a line about the others' });
    const lines = tmux.lines();
    expect(lines.filter((line) => /^w2[01] +running/.test(line))).toHaveLength(2);
    expect(lines.at(-1)).toMatch(/^and \d+ more: \d+ exited$/);
    expect(lines[0]).toMatch(/^12 workers: 2 running, 10 exited/);
  },
);

test.skipIf(!hasTmux)(
  'no workers: said at once, then the first one; an unknown name leaves no table (needs tmux)',
  async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    using tmux = await open(box, { columns: 90, rows: 14 });
    tmux.type(`${programs} watch nobody; echo end"-"1`);
    await eventually(() => tmux.lines().includes('end-1'), { what: 'an unknown name' });
    expect(tmux.screen()).toContain('no worker is named "nobody"');
    expect(tmux.screen()).not.toContain('no workers');

    tmux.type(`clear; ${programs} watch`);
    await eventually(() => tmux.lines().some((line) => line.startsWith('no workers yet')), {
      what: 'that there are none',
    });
    await box.workerctl(['start', '-n', 'first', '--', 'sleep', '1000']);
    await eventually(() => tmux.lines().some((line) => /^first +running/.test(line)), { what: 'the first one' });
    expect(tmux.screen()).not.toContain('no workers');
    tmux.key('C-c');
    expect(await exitCode(tmux)).toBe(130);
  },
);

test.skipIf(!hasTmux)('Ctrl-Z and SIGTERM leave the terminal as it was; fg draws again (needs tmux)', async () => {
  await using box = new Sandbox();
  await box.workerctl(['start', '--thread', '-p', 'stepMs=50', counter]);
  using tmux = await open(box, { columns: 80, rows: 16 });
  const shown = () => Number(/.*counter=(\d+)/s.exec(tmux.screen())?.[1] ?? 0);
  tmux.type(`${programs} watch`);
  await eventually(() => shown() > 0 && !tmux.modes().cursor, { what: 'a table' });
  tmux.key('C-z');
  await eventually(() => tmux.modes().cursor, { what: 'the cursor is back while it is stopped' });
  expect(tmux.modes()).toEqual(asBefore);
  const before = shown();
  await eventually(() => tmux.screen().trimEnd().endsWith(prompt), { what: 'a prompt' });
  tmux.type('fg');
  await eventually(() => shown() > before && !tmux.modes().cursor, { what: 'the table goes on' });

  const watcher = box.processes().find(({ command }) => / watch$/.test(command));
  process.kill(watcher?.pid ?? 0, 'SIGTERM');
  await eventually(() => tmux.modes().cursor, { what: 'the cursor is back' });
  expect(await exitCode(tmux)).toBe(143);
  expect(tmux.modes()).toEqual(asBefore);
});

test.skipIf(!hasTmux)('colours only where they are wanted, plain signs without UTF-8 (needs tmux)', async () => {
  await using box = new Sandbox();
  await box.workerctl(['start', '-n', 'import', join(fixtures, 'makes-progress.mjs')]);
  using tmux = await open(box, { columns: 100, rows: 14 });
  let shown = 0;
  const shows = async (line: string, what: RegExp): Promise<string> => {
    shown += 1;
    // The command as it was typed, which may be broken into lines, is not taken for what it printed.
    const end = `end-${shown}`;
    tmux.type(`clear; ${line}; echo end"-"${shown}`);
    const text = () => tmux.screen({ colours: true });
    await eventually(() => text().split('\n').includes(end), { what: line });
    expect(text()).toMatch(what);
    return text();
  };
  await eventually(async () => (await box.status('import')).state !== null, { what: 'progress' });
  expect(await shows(`${programs} ls`, /import.*%/)).toContain('\x1b[32mrunning');
  expect(await shows(`NO_COLOR=1 ${programs} ls`, /import.*%/)).not.toContain('\x1b[32m');
  expect(await shows(`TERM=dumb ${programs} ls`, /import.*%/)).not.toContain('\x1b[32m');
  expect(await shows(`NO_COLOR=1 ${programs} ls --color always`, /import.*%/)).toContain('\x1b[32mrunning');
  expect(await shows(`LC_ALL=C ${programs} ls --color never`, /import.*%/)).toMatch(/ [#-]{5,} +\d+%/);
  expect(await shows(`COLUMNS=30 ${programs} ls`, /import/)).not.toMatch(/PID/);
});
