/** `workerctl logs` as people and scripts use it: several workers, formats, what is missing, what a worker cannot forge. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shell } from '../fixtures/workers/behaviours.ts';
import { eventually } from '../helpers/eventually.ts';
import { dist, Sandbox } from '../helpers/sandbox.ts';

const speak = (script: string) => ['--', 'sh', '-c', script];
const lines = (text: string): readonly string[] => text.split('\n').slice(0, -1);

describe('several workers', () => {
  test('by time, each line with its name; colours only where asked for', async () => {
    await using box = new Sandbox();
    for (const [name, text] of [
      ['a', 'one'],
      ['long-name', 'two'],
      ['a', 'three'],
    ] as const) {
      await box.workerctl(['run', '-n', name, '--if-running', 'replace', ...speak(`echo ${text}`)]);
      if (text === 'one') await box.workerctl(['run', '-n', 'b', ...speak('echo between')]);
    }
    const { stdout } = await box.workerctl(['logs']);
    expect(stdout).toBe('b         | between\nlong-name | two\na         | three\n');
    const coloured = await box.workerctl(['logs', 'a', 'b', '--color', 'always']);
    expect(coloured.stdout).toMatch(/^\x1b\[3\dmb \|\x1b\[0m between\n/);
    expect((await box.workerctl(['logs', 'a', 'b'], { env: { NO_COLOR: '1' } })).stdout).not.toContain('\x1b');
    const raw = await box.workerctl(['logs', 'a', 'b', '--raw']);
    expect(raw.stdout).toBe('between\nthree\n');
  });

  test('more of them than a connection may have subscriptions are followed, and the past of all is in order', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const names = Array.from({ length: 80 }, (_, index) => `w${String(index).padStart(2, '0')}`);
    for (const name of names) {
      await client.call('start', { name, spec: { ...shell('echo "old $0"; read go; echo new', name), stdin: true } });
    }
    await eventually(async () => (await client.call('logs', { name: 'w79' })).entries.length === 1);
    const following = box.spawn('workerctl', ['logs', '-f', '-t']);
    await eventually(() => lines(following.stdout()).length === 80, { withinMs: 20_000 });
    const times = lines(following.stdout()).map((line) => line.split(' ')[2]);
    expect(times).toEqual([...times].sort());
    for (const name of names) await client.call('send', { name, text: 'go' });
    await eventually(() => following.stdout().match(/ new$/gm)?.length === 80, { withinMs: 20_000 });
    following.child.kill('SIGINT');
    expect(await following.finished).toMatchObject({ code: 130, stderr: '' });
  }, 60_000);
});

describe('formats', () => {
  test('plain, raw, cri and json of the same lines', async () => {
    await using box = new Sandbox();
    const script =
      'printf "caf\\303\\251 \\033[31mred\\n"; sleep 0.05; printf "bad \\377\\n" >&2; sleep 0.05; printf end';
    await box.workerctl(['run', '-n', 'w', ...speak(script)]);
    const logs = async (...flags: string[]) => (await box.workerctl(['logs', 'w', ...flags])).stdout;
    expect(await logs()).toBe('café \\u{1b}[31mred\nbad \uFFFD\nend\n');
    expect(await logs('--stdout', '--raw')).toBe('café \x1b[31mred\nend');
    const time = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}Z';
    expect(await logs('--format', 'cri', '--stdout')).toMatch(
      new RegExp(`^${time} stdout F café \\x1b\\[31mred\\n${time} stdout P end\\n$`),
    );
    const entries = lines(await logs('--json')).map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(entries.map(({ at: _, ...rest }) => rest)).toEqual([
      { name: 'w', generation: 1, stream: 'stdout', line: 'café \x1b[31mred', partial: false },
      { name: 'w', generation: 1, stream: 'stderr', line: 'bad \uFFFD', partial: false },
      { name: 'w', generation: 1, stream: 'stdout', line: 'end', partial: true },
    ]);
    expect(entries.map((entry) => Object.keys(entry))).toEqual(
      Array(3).fill(['name', 'generation', 'at', 'stream', 'line', 'partial']),
    );
    expect(entries[0]?.['at']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(await logs('-t', '-n', '1')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z end\n$/);
  });

  test('the last that match, also of more lines than are held at once, and of those after a time', async () => {
    await using box = new Sandbox();
    await box.workerctl(['run', '-n', 'w', ...speak('seq 60000; printf 60001')]);
    const logs = async (...flags: string[]) => lines(`${(await box.workerctl(['logs', 'w', ...flags])).stdout}`);
    expect(await logs('--grep', '99$', '-n', '3')).toEqual(['59799', '59899', '59999']);
    const fives = await logs('--grep', '[05]$', '-n', '11000');
    expect([fives.length, fives[0], fives.at(-1)]).toEqual([11_000, '5005', '60000']);
    const many = await logs('-n', '20000');
    expect([many.length, many[0], many.at(-1)]).toEqual([20_000, '40002', '60001']);
    expect(await logs('-n', '20000', '--raw').then((found) => found.length)).toBe(19_999);
    expect(await logs('--since', '1h', '-n', '1')).toEqual(['60001']);
    expect(await logs('--until', '1h', '-n', 'all')).toEqual([]);
    expect(await logs('--since', '2999-01-01T00:00:00Z')).toEqual([]);
  });
});

describe('what is wrong is said', () => {
  test('names, runs, times', async () => {
    await using box = new Sandbox();
    await box.workerctl(['run', '-n', 'w', ...speak('true')]);
    const logs = async (...args: string[]) => {
      const { code, stdout, stderr } = await box.workerctl(['logs', ...args]);
      expect(stdout).toBe('');
      return [code, stderr] as const;
    };
    expect(await logs('nobody')).toEqual([4, expect.stringMatching(/no worker is named "nobody"/)]);
    expect(await logs('-f', 'nobody')).toEqual([4, expect.stringMatching(/no worker is named "nobody"/)]);
    expect(await logs('w', '--run', '7')).toEqual([2, expect.stringMatching(/w has no run 7; its newest is 1/)]);
    for (const flag of ['--since', '--until']) {
      for (const when of ['yesterday', '5', '2026-13-99', '5 minutes', '']) {
        const [code, stderr] = await logs('w', flag, when);
        expect(code).toBe(2);
        expect(stderr).toContain(`workerctl: ${flag}: "${when}"`);
        expect(stderr).toMatch(/5m.*2026-01-02T03:04:05Z/);
      }
    }
    expect(await logs('x*')).toEqual([0, '']);
  });

  test('no daemon: exit code 125, and none is started', async () => {
    const box = new Sandbox();
    try {
      const { code, stderr } = await box.workerctl(['logs', 'w']);
      expect([code, stderr]).toEqual([125, expect.stringMatching(/cannot reach the daemon at .*\(no socket\)/)]);
      expect(box.processes()).toEqual([]);
    } finally {
      rmSync(box.directory, { recursive: true, force: true });
    }
  });

  test('bytes that are missing, on stderr in every format, and none of it in the data', async () => {
    await using box = new Sandbox();
    await box.workerctl(['run', '-n', 'w', ...speak('echo one')]);
    appendFileSync(join(box.home, 'logs', 'w', '1.idx'), `${Date.now()} ! 4711\n`);
    const said = 'workerctl: w: 4711 bytes of run 1 are missing here: its log could not be written until ';
    for (const flags of [
      [],
      ['-n', 'all'],
      ['--raw', '-n', 'all'],
      ['--format', 'cri'],
      ['--grep', 'one'],
      ['--json'],
      ['-f', '--run', '1'],
      ['-f', '--run', '1', '--raw'],
      ['-f', '--run', '1', '-n', 'all'],
      ['-f', '--run', '1', '-n', '20000'],
      ['-f', '--run', '1', '--grep', 'one'],
    ]) {
      const { stdout, stderr } = await box.workerctl(['logs', 'w', ...flags]);
      expect([flags, stderr.replace(/\S+\n/g, '\n')]).toEqual([flags, `${said}\n`]);
      expect(stdout).toMatch(/one/);
      expect(stdout).not.toMatch(/4711/);
    }
    expect((await box.workerctl(['logs', 'w', '-q'])).stderr).toBe('');
  });
});

test('a worker can print what looks like ours, and it is shown as printed', async () => {
  await using box = new Sandbox();
  const forged = [
    '2026-01-02T03:04:05.000000000Z stderr F forged',
    '{"name":"other","generation":9,"at":"2026-01-02T03:04:05.000Z","stream":"stderr","line":"x","partial":false}',
    'workerctl: w: run 2 started',
    'workerctl: w: 5 bytes of run 1 are missing here: its log could not be written until 2026-01-02T03:04:05.000Z',
    '1767323045000 ! 99',
    '1767323045000 @ 0',
    'other | I am another',
    '--- run 2 started ---',
  ];
  await box.workerctl(['run', '-n', 'other', ...speak('true')]);
  await box.workerctl(['run', '-n', 'w', '--', 'printf', '%s\\n', ...forged]);
  const show = (...flags: string[]) => box.workerctl(['logs', ...flags]);
  expect(await show('w')).toMatchObject({ stdout: `${forged.join('\n')}\n`, stderr: '' });
  expect(lines((await show('w', 'other')).stdout)).toEqual(forged.map((line) => `w     | ${line}`));
  const { stdout, stderr } = await show('w', '--json');
  expect(stderr).toBe('');
  const entries = lines(stdout).map((line) => JSON.parse(line) as { name: string; line: string; stream: string });
  expect(entries.map(({ name, stream, line }) => [name, stream, line])).toEqual(
    forged.map((line) => ['w', 'stdout', line]),
  );
  for (const [index, line] of lines((await show('w', '--format', 'cri')).stdout).entries()) {
    expect(line.slice(31)).toBe(`stdout F ${forged[index]}`);
  }
});

describe('following', () => {
  test('a worker that has not run yet is waited for; a new run is said on stderr, and only where people read', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('define', { name: 'w', spec: shell('echo "run $WORKERD_GENERATION"; exec sleep 1000') });
    const plain = box.spawn('workerctl', ['logs', '-f', 'w']);
    const json = box.spawn('workerctl', ['logs', '-f', 'w', '--json']);
    const raw = box.spawn('workerctl', ['logs', '-f', 'w', '--raw']);
    const all = [plain, json, raw];
    await client.call('start', { name: 'w' });
    await eventually(() => all.every(({ stdout }) => stdout().includes('run 1')));
    await client.call('restart', { name: 'w' });
    await eventually(() => all.every(({ stdout }) => stdout().includes('run 2')));
    expect([plain.stdout(), raw.stdout()]).toEqual(['run 1\nrun 2\n', 'run 1\nrun 2\n']);
    expect(plain.stderr()).toBe('workerctl: w: run 2 started\n');
    expect([json.stderr(), raw.stderr()]).toEqual(['', '']);
    expect(lines(json.stdout()).map((line) => (JSON.parse(line) as { generation: number }).generation)).toEqual([1, 2]);
    await client.call('remove', { name: 'w', force: true });
    for (const one of all) expect(await one.finished).toMatchObject({ code: 0 });
  });

  test('one run ends with it, and the last lines of a big log are followed on without a break', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    const script = 'seq 50000; printf half; read go; echo " line"; seq 50001 50010; printf end';
    await client.call('start', { name: 'w', spec: { ...shell(script), stdin: true } });
    await eventually(async () => (await client.call('logs', { name: 'w', tail: 1 })).entries[0]?.line === 'half');
    const expected = ['half line', ...Array.from({ length: 10 }, (_, index) => `${50_001 + index}`), 'end'];
    const followers = [
      box.spawn('workerctl', ['logs', '-f', '--run', '1', 'w', '-n', '0']),
      box.spawn('workerctl', ['logs', '-f', '--run', '1', 'w', '-n', '20000']),
      box.spawn('workerctl', ['logs', '-f', '--run', '1', 'w', '-n', 'all']),
      box.spawn('workerctl', ['logs', '-f', '--run', '1', 'w', '-n', 'all', '--raw']),
      box.spawn('workerctl', ['logs', '-f', '--run', '1', 'w', '--grep', '0$|line|end', '-n', '2']),
      box.spawn('workerctl', ['logs', '-f', '--run', '1', 'w', '--grep', '[1-9]|line', '-n', '20000']),
    ];
    await eventually(() => followers.slice(1).every(({ stdout }) => stdout().includes('50000')));
    await client.call('send', { name: 'w', text: 'go' });
    const found = await Promise.all(followers.map(({ finished }) => finished));
    expect(found.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0]);
    const numbers = (from: number) => Array.from({ length: 50_001 - from }, (_, index) => `${from + index}`);
    expect(lines(found[0]?.stdout ?? '')).toEqual(expected);
    expect(lines(found[1]?.stdout ?? '')).toEqual([...numbers(30_001), ...expected]);
    expect(lines(found[2]?.stdout ?? '')).toEqual([...numbers(1), ...expected]);
    expect(`${found[3]?.stdout}\n`).toBe(found[2]?.stdout);
    expect(lines(found[4]?.stdout ?? '')).toEqual(['49990', '50000', 'half line', '50010', 'end']);
    expect(lines(found[5]?.stdout ?? '')).toEqual([...numbers(30_001), ...expected.slice(0, -1)]);
  });

  test('C02: a reader that leaves ends it, with nothing said, also where nothing more is written', async () => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: shell('echo one; echo two; exec sleep 1000') });
    await eventually(async () => (await client.call('logs', { name: 'w' })).entries.length === 2);
    const pipeline = `"$0" "$1" logs -f w | head -1; echo "\${PIPESTATUS[*]}"`;
    const child = spawn('bash', ['-c', pipeline, process.execPath, join(dist, 'workerctl.cjs')], { env: box.env() });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
    }
    // Within 1 s of its reader's leaving, on an idle machine.
    await once(child, 'close', { signal: AbortSignal.timeout(30_000) });
    expect(text).toBe('one\n0 0\n');
  });

  test.each([
    'SIGKILL',
    'SIGTERM',
    'SIGINT',
  ] as const)('what notices that goes with it at %s, and is there only for a pipe', async (signal) => {
    await using box = new Sandbox();
    await box.startDaemon();
    const client = await box.client();
    await client.call('start', { name: 'w', spec: shell('echo one; exec sleep 1000') });
    const sentriesOf = (pid: number) =>
      readdirSync('/proc').filter((entry) => {
        if (!/^\d+$/.test(entry)) return false;
        try {
          return readFileSync(`/proc/${entry}/cmdline`, 'latin1').startsWith(`tail\0--pid=${pid}\0`);
        } catch {
          return false;
        }
      });
    const follow = async (into: string) => {
      const script = `"$0" "$1" logs -f w ${into}`;
      const child = spawn('bash', ['-c', script, process.execPath, join(dist, 'workerctl.cjs')], {
        cwd: box.directory,
        env: box.env(),
        stdio: 'ignore',
      });
      const printed = () => readFileSync(join(box.directory, 'out'), 'utf8') === 'one\n';
      await eventually(printed, { what: `logs -f w ${into} prints` });
      const find = () => box.processes().find(({ command }) => /^\S*node \S+ logs -f w$/.test(command))?.pid ?? 0;
      return { pid: find(), find, child };
    };
    const piped = await follow('| cat >out');
    expect(sentriesOf(piped.pid)).toHaveLength(1);
    process.kill(piped.pid, signal);
    await eventually(() => piped.find() === 0 && piped.child.exitCode !== null, { what: 'it and its pipe have ended' });
    await eventually(() => sentriesOf(piped.pid).length === 0, { what: 'its sentry has ended' });
    rmSync(join(box.directory, 'out'));
    const filed = await follow('>out; exit');
    expect(sentriesOf(filed.pid)).toHaveLength(0);
    process.kill(filed.pid, signal);
    await eventually(() => filed.child.exitCode !== null);
  });
});
