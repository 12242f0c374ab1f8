// The real thing, in a home of its own: a daemon, a counter started from one shell, watched from two others at once,
// stopped from a fourth. Prints what each shell shows; fails where anything is not as expected; leaves nothing behind.
//
//   npm run demo
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const deadlineMs = 30_000;
const began = performance.now();
const colours = process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
const paint = (code, text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
const dim = (text) => paint(2, text);
const bold = (text) => paint(1, text);
const shellColours = [36, 33, 35, 32];

const directory = realpathSync(mkdtempSync(join(tmpdir(), 'workerd-demo-')));
const {
  NODE_OPTIONS: _options,
  NODE_EXTRA_CA_CERTS: _certificates,
  WORKERD_SOCKET: _socket,
  WORKERD_AUTOSTART: _autostart,
  ...environment
} = process.env;
const env = { ...environment, WORKERD_HOME: join(directory, 'home') };

/** One "session": what it types, and each line it shows, as it comes. */
const shell = (number) => {
  const prefix = paint(shellColours[number - 1], `shell ${number}`);
  const type = (program, args) => {
    console.log(`${prefix} ${bold(`$ ${[program, ...args].join(' ')}`)}`);
    const bundle = join(root, 'dist', `${program}.cjs`);
    const child = spawn(process.execPath, [bundle, ...args, ...(colours ? ['--color', 'always'] : [])], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
        const lines = `${rest}${chunk}`.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) console.log(`${prefix} ${line}`);
      });
      stream.on('end', () => rest !== '' && console.log(`${prefix} ${rest}`));
    }
    const ended = new Promise((done, failed) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        failed(new Error(`${program} ${args.join(' ')}: not ended within ${deadlineMs / 1000} s`));
      }, deadlineMs);
      child.once('error', failed);
      child.once('close', (code, signal) => {
        clearTimeout(timer);
        done({ code: code ?? signal, text: plain(text) });
      });
    });
    // Awaited later than it may fail.
    ended.catch(() => {});
    return { text: () => plain(text), ended };
  };
  return { type, run: (program, ...args) => type(program, args).ended };
};

const plain = (text) => text.replaceAll(/\x1b\[[0-9;]*m/g, '');
const say = (text) => console.log(`\n${dim(`# ${text}`)}`);
const expect = (holds, what) => {
  if (!holds) throw new Error(`expected: ${what}`);
};
const until = async (holds, what) => {
  const deadline = performance.now() + deadlineMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${deadlineMs / 1000} s: ${what}`);
    await new Promise((next) => setTimeout(next, 20));
  }
};

/** Living processes with our home in their environment or arguments. */
const processesOfOurs = () =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        if (stat[stat.lastIndexOf(')') + 2] === 'Z') return false;
        const words = readFileSync(`/proc/${pid}/environ`, 'latin1') + readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        return words.includes(directory);
      } catch {
        return false;
      }
    })
    .map(Number);

const demo = async () => {
  const [one, two, three, four] = [1, 2, 3, 4].map(shell);

  say('The first start brings the daemon along, and returns once the worker runs.');
  const start = await one.run('workerctl', 'start', './examples/counter.ts', '-p', 'stepMs=500');
  expect(start.code === 0, 'start ends with 0');

  say('Two other shells watch the same worker, at once. Nobody polls: changes are pushed.');
  const watchers = [two, three].map((each) => each.type('workerctl', ['watch', 'counter']));
  const counts = (watcher) => [...watcher.text().matchAll(/counter=(\d+)/g)].map(([, count]) => Number(count));
  await until(() => watchers.every((watcher) => new Set(counts(watcher)).size >= 4), 'both shells see it count');

  say('A fourth looks, starts it again (it runs already: nothing changes), and stops it.');
  const list = await four.run('workerctl', 'ls');
  expect(list.code === 0 && /counter\s+running/.test(list.text), 'ls shows it running');
  const again = await four.run('workerctl', 'start', 'counter');
  expect(again.code === 0 && again.text.includes('already running'), 'a second start changes nothing');
  const stop = await four.run('workerctl', 'stop', 'counter');
  expect(stop.code === 0 && stop.text.includes('stopped'), 'stop ends with 0');

  say('It has ended for good, so both watches end by themselves. They have seen the same.');
  const seen = await Promise.all(watchers.map(({ ended }) => ended));
  expect(
    seen.every(({ code, text }) => code === 0 && text.includes('stopped')),
    'both watches saw the end, and ended with 0',
  );
  const last = watchers.map((watcher) => counts(watcher).at(-1));
  expect(last[0] === last[1], `both watches ended with the same count (${last.join(' and ')})`);

  say('Its last state and what it returned are kept; exit code 3 says that it does not run.');
  const status = await one.run('workerctl', 'status', 'counter');
  expect(status.code === 3, 'status of a stopped worker ends with 3');
  expect(status.text.includes(`{"counter":${last[0]}}`), 'the returned count is the last one that was watched');

  say('The daemon ends in good order.');
  const end = await one.run('workerd', 'stop');
  expect(end.code === 0, 'workerd stop ends with 0');
  await until(() => processesOfOurs().length === 0, 'no process is left');
};

let failure = null;
const interrupt = new Promise((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`ended by ${signal}`)));
});
try {
  await Promise.race([demo(), interrupt]);
} catch (error) {
  failure = error;
} finally {
  if (failure !== null) {
    const end = shell(4).run('workerd', 'stop');
    await end.catch(() => {});
  }
  for (const pid of processesOfOurs()) {
    failure ??= new Error(`process ${pid} was left behind`);
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended in the meantime.
    }
  }
  rmSync(directory, { recursive: true, force: true });
}
const seconds = ((performance.now() - began) / 1000).toFixed(1);
if (failure === null) {
  const mark = paint(32, 'All as expected');
  console.log(`\n${mark}, in ${seconds} s. No process and no file of it is left.`);
} else {
  console.error(`\n${paint(31, 'The demo failed')}: ${failure.message}`);
}
process.exit(failure === null ? 0 : 1);
