/** Reading logs: how old a line is when a follower prints it, the last lines of a long log, and all of them. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Bed, cli, timeProgram } from './bed.ts';
import { pm2Path } from './log-peers.ts';
import { alternate, report, type Summary, summarize } from './measure.ts';
import { programPath } from './program.ts';
import { microseconds } from './programs/clock.ts';

export const run = async (rounds: number): Promise<void> => {
  await using bed = await Bed.make();
  await following(bed, rounds);
  await reading(bed, rounds);
};

const everyMs = 5;

/** Ages of the lines that the follower prints, in ms; ends once it has `count`. */
const agesOf = async (follower: ChildProcess, count: number): Promise<readonly number[]> => {
  const ages: number[] = [];
  let rest = '';
  for await (const chunk of follower.stdout ?? []) {
    const now = microseconds();
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const at = /(\d{8,}) x{80}/.exec(line)?.[1];
      if (at !== undefined) ages.push((now - Number(at)) / 1000);
    }
    if (ages.length >= count) break;
  }
  const exit = once(follower, 'exit');
  follower.kill('SIGKILL');
  await exit;
  return ages.slice(0, count);
};

const following = async (bed: Bed, rounds: number): Promise<void> => {
  const count = rounds * 20;
  // A few more than are taken: the first come while the follower is still being started.
  const argv = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    programPath('line-writer'),
    `${count * 4}`,
    `${everyMs}`,
  ];
  const follow = (...words: readonly string[]) =>
    spawn(words[0] ?? '', words.slice(1), { env: bed.env, stdio: ['ignore', 'pipe', 'inherit'] });
  const results: Record<string, Summary> = {};
  const measure = async (name: string, follower: ChildProcess) => {
    results[name] = summarize((await agesOf(follower, count)).slice(Math.floor(count / 10)));
  };

  const file = join(bed.directory, 'followed.log');
  const direct = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', openSync(file, 'a'), 'inherit'] });
  await measure('>file, tail -F', follow('tail', '-n', '0', '-F', file));
  direct.kill('SIGKILL');

  await bed.client.call('start', { name: 'followed', spec: { kind: 'command', command: argv } });
  await measure('workerctl logs -f', follow(process.execPath, cli, 'logs', '-f', '-n', '0', 'followed'));
  await bed.client.call('stop', { name: 'followed', force: true });

  if (existsSync(pm2Path)) {
    const env = { ...bed.env, PM2_HOME: join(bed.directory, 'pm2') };
    const pm2 = (...words: readonly string[]) =>
      execFileSync(process.execPath, [pm2Path, ...words], { env, stdio: 'ignore' });
    pm2('start', argv[0] ?? '', '--name', 'followed', '--interpreter', 'none', '--', ...argv.slice(1));
    const follower = spawn(process.execPath, [pm2Path, 'logs', 'followed', '--raw', '--lines', '0'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await measure('pm2 logs', follower);
    pm2('kill');
  }
  report("a worker's write → its follower's stdout, ms", results, { 'workerctl logs -f': 'p50 ≤ 1 ms' });
};

const reading = async (bed: Bed, rounds: number): Promise<void> => {
  const input = join(bed.directory, 'input');
  const line = `${'x'.repeat(99)}\n`;
  writeFileSync(input, line.repeat(2e6));
  const log = { maxBytes: 2 ** 31, files: 2 };
  const write = async (name: string, script: string) => {
    await bed.client.call('start', { name, spec: { kind: 'command', command: ['sh', '-c', script], log } });
    await bed.client.call('wait', { name, for: 'exit' });
  };
  await write('empty', ':');
  await write('short', `cat ${input}`);
  await write('long', `for i in 1 2 3 4 5; do cat ${input}; done; head -c 73741824 ${input}`);
  const logs = (...words: readonly string[]) => timeProgram([process.execPath, cli, 'logs', ...words], bed.env);
  const tails = await alternate(rounds, {
    'logs -n 10, empty': () => logs('-n', '10', 'empty'),
    'logs -n 10, 1 GiB': () => logs('-n', '10', 'long'),
  });
  report('the last lines, ms', tails, { 'logs -n 10, 1 GiB': '≤ 1.5' });
  const counted = (command: string) => timeProgram(['/bin/sh', '-c', `${command} | wc -l`], bed.env);
  const all = await alternate(Math.max(3, Math.round(rounds / 5)), {
    cat: () => counted(`cat ${input}`),
    'logs -n all': () => counted(`'${process.execPath}' '${cli}' logs -n all short`),
    'logs -n all --raw': () => counted(`'${process.execPath}' '${cli}' logs -n all --raw short`),
    'logs -n all -t': () => counted(`'${process.execPath}' '${cli}' logs -n all -t short`),
  });
  report('all lines of 200 MB | wc -l, ms', all);
  for (const [name, { median }] of Object.entries(all)) {
    console.log(
      `  ${name.padEnd(20)} ${(200_000 / median).toFixed(0).padStart(6)} MB/s${name === 'logs -n all' ? '   goal ≥ 300' : ''}`,
    );
  }
};
