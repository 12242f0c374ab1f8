/** How the peers take a worker's output, each as it is meant to be used, with rotation as ours: 5 files of 10 MiB. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Peer {
  readonly name: string;
  /** Runs the program; resolves at once, or when it has been started. */
  readonly start: (argv: readonly string[]) => Promise<void>;
  readonly dispose: () => Promise<void>;
}

const has = (program: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

const quoted = (argv: readonly string[]): string => argv.map((word) => `'${word}'`).join(' ');

const shell = (name: string, line: (argv: readonly string[]) => string): Peer => ({
  name,
  start: async (argv) => {
    const child = spawn('/bin/sh', ['-c', line(argv)], { stdio: 'ignore' });
    await once(child, 'spawn');
  },
  dispose: async () => {},
});

/** What any logger is measured against: the file itself, and a pipe with one reader that copies. */
export const bareFile = (directory: string): Peer =>
  shell('>file', (argv) => `exec ${quoted(argv)} > ${join(directory, 'bare.log')}`);
export const bareCat = (directory: string): Peer =>
  shell('| cat >file', (argv) => `${quoted(argv)} | cat > ${join(directory, 'cat.log')}`);

const s6 = (directory: string): Peer =>
  shell('s6-log', (argv) => `${quoted(argv)} | s6-log n5 s10485760 T ${join(directory, 's6')}`);

const supervisor = async (directory: string, env: NodeJS.ProcessEnv): Promise<Peer> => {
  const home = join(directory, 'supervisor');
  mkdirSync(home);
  const [socket, config] = [join(home, 'sock'), join(home, 'conf')];
  let number = 0;
  const base = `[unix_http_server]\nfile=${socket}\n[supervisord]\nnodaemon=true\nlogfile=${home}/d.log\npidfile=${home}/pid
[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]\nserverurl=unix://${socket}\n`;
  writeFileSync(config, base);
  const daemon: ChildProcess = spawn('supervisord', ['-c', config], { stdio: 'ignore', env });
  while (!existsSync(socket)) await sleep(20);
  return {
    name: 'supervisord',
    start: async (argv) => {
      number += 1;
      const program = `[program:w${number}]\ncommand=${argv.join(' ')}\nautorestart=false\nstartsecs=0\nautostart=false
redirect_stderr=true\nstdout_logfile=${home}/w.log\nstdout_logfile_maxbytes=10485760\nstdout_logfile_backups=5\n`;
      writeFileSync(config, base + program);
      const ask = (...words: string[]) => execFileSync('supervisorctl', ['-c', config, ...words], { env });
      ask('update');
      ask('start', `w${number}`);
    },
    dispose: async () => {
      const exit = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      await exit;
    },
  };
};

/** Its rotation is a module of its own (pm2-logrotate), which polls: here it writes without. */
const pm2 = (directory: string, outer: NodeJS.ProcessEnv): Peer => {
  const env = { ...outer, PM2_HOME: join(directory, 'pm2') };
  let number = 0;
  const run = (...words: readonly string[]) =>
    execFileSync(process.execPath, [pm2Path, ...words], { env, stdio: 'ignore' });
  return {
    name: 'pm2',
    start: async ([program = '', ...args]) => {
      number += 1;
      const options = [
        '--name',
        `w${number}`,
        '--interpreter',
        'none',
        '--no-autorestart',
        '-o',
        join(directory, 'pm2.log'),
      ];
      run('start', program, ...options, '--', ...args);
    },
    dispose: async () => void run('kill'),
  };
};
export const pm2Path = join(import.meta.dirname, 'peers', 'node_modules', 'pm2', 'bin', 'pm2');

/** Those that are installed; the others are named. */
export const installedPeers = async (directory: string, env: NodeJS.ProcessEnv): Promise<readonly Peer[]> => {
  const peers: Peer[] = [];
  const missing: string[] = [];
  if (has('s6-log')) peers.push(s6(directory));
  else missing.push('s6-log (apt install s6)');
  if (has('supervisord')) peers.push(await supervisor(directory, env));
  else missing.push('supervisord (apt install supervisor)');
  if (existsSync(pm2Path)) peers.push(pm2(directory, env));
  else missing.push('pm2 (npm install --prefix bench/peers --omit=optional --ignore-scripts pm2)');
  if (missing.length > 0) console.log(`\n(not installed: ${missing.join(', ')})`);
  return peers;
};
