// Bundles the programs into dist/ and emits the types of the public exports. Run by `npm run build` and, through
// `prepare`, by `npm ci`.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');
// Built beside it and swapped in: what runs from dist/ meanwhile finds it whole.
const next = join(root, 'dist.next');
rmSync(next, { recursive: true, force: true });
mkdirSync(next);

const common = { bundle: true, platform: 'node', target: 'node24', absWorkingDir: root, logLevel: 'warning' };
const cjs = { ...common, format: 'cjs', define: { 'import.meta.dirname': '__dirname' } };
// The CLI starts with every command: it is small, and takes the client half of json-rpc-2.0 alone.
const small = { minify: true, alias: { 'json-rpc-2.0': 'json-rpc-2.0/dist/client.js' } };
// Large and seldom asked for: every other command starts without it.
const apart = {
  name: 'apart',
  setup: ({ onResolve }) =>
    onResolve({ filter: /\/commands\/doctor\.ts$/ }, () => ({ path: './doctor.cjs', external: true })),
};
const esm = { ...common, format: 'esm' };

await Promise.all([
  build({ ...cjs, ...small, entryPoints: ['src/cli/main.ts'], outfile: 'dist.next/cli.cjs', plugins: [apart] }),
  build({ ...cjs, ...small, entryPoints: ['src/cli/commands/doctor.ts'], outfile: 'dist.next/doctor.cjs' }),
  build({ ...cjs, entryPoints: ['src/daemon/main.ts'], outfile: 'dist.next/daemon.cjs' }),
  build({ ...cjs, entryPoints: ['src/daemon/shim/main.ts'], outfile: 'dist.next/shim.cjs' }),
  build({ ...esm, entryPoints: ['src/daemon/host/main.ts'], outfile: 'dist.next/host.js' }),
  build({ ...esm, entryPoints: ['src/daemon/host/thread-host.ts'], outfile: 'dist.next/thread-host.js' }),
  build({ ...esm, entryPoints: ['src/daemon/host/thread.ts'], outfile: 'dist.next/thread.js' }),
  build({ ...esm, entryPoints: ['src/daemon/host/contract.ts'], outfile: 'dist.next/worker.js' }),
  build({ ...esm, entryPoints: ['src/shared/public.ts'], outfile: 'dist.next/client.js', packages: 'external' }),
]);

// Executed, the programs begin as a shell (begin-as-shell.sh), to which the rest is never read; to Node that is a comment.
// `--` keeps what follows from being read as Node's own flags.
const asShell = readFileSync(join(root, 'scripts', 'begin-as-shell.sh'), 'utf8').replace(/^#.*\n/gm, '');
// The daemon runs for months: what changes Node or the linker for whoever happens to start it is not for it.
const steering = `unset NODE_OPTIONS NODE_PATH NODE_DEBUG NODE_V8_COVERAGE NODE_COMPILE_CACHE NODE_EXTRA_CA_CERTS
unset LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG DYLD_INSERT_LIBRARIES DYLD_LIBRARY_PATH
`;
// What an old Node can read: it is told in words that it is too old, not by a syntax error of what follows.
const beginning = (name) => `#!/usr/bin/env sh
':' /*
${asShell}${name === 'workerd' ? steering : ''}exec node -- "$0" "$@"
*/
var major = parseInt(process.versions.node, 10);
if (major < 24) {
  process.stderr.write(
    '${name}: needs Node.js 24 or newer, this is ' + process.version + '. Install a newer one, or put it first on PATH\\n'
  );
  process.exit(125);
}
`;
const fromShell = `
(function () {
  var env = process.env;
  var openFiles = env.WORKERD_OPEN_FILES;
  var unshelled = env.WORKERD_UNSHELLED;
  delete env.WORKERD_OPEN_FILES;
  delete env.WORKERD_UNSHELLED;
  if (openFiles !== undefined) globalThis.openFilesBefore = openFiles.split('\\n')[0];
  if (unshelled === undefined) return;
  delete env.PWD;
  Buffer.from(unshelled, 'base64').toString().split('\\0').forEach(function (entry) {
    var end = entry.indexOf('=');
    if (end > 0) env[entry.slice(0, end)] = entry.slice(end + 1);
  });
})();
`;
// Compiled code is kept in the home, where it is ours alone: whoever can write a code cache can run code.
const codeCache = `
(function () {
  var fs = require('fs');
  var path = require('path');
  var env = process.env;
  var words = process.argv.slice(2);
  var end = words.indexOf('--');
  var at = words.indexOf('--home');
  var home = at !== -1 && (end === -1 || at < end) ? words[at + 1] : env.WORKERD_HOME;
  var uid = process.getuid ? process.getuid() : -1;
  if (!home) {
    var state = env.XDG_STATE_HOME && env.XDG_STATE_HOME[0] === '/' ? env.XDG_STATE_HOME : (env.HOME || '') + '/.local/state';
    home = uid === 0 ? '/var/lib/workerd' : state + '/workerd';
  }
  var cache = path.resolve(home, 'cache');
  try {
    var closed = [path.dirname(cache), cache].every(function (directory) {
      var stat = fs.lstatSync(directory);
      return stat.isDirectory() && stat.uid === uid && (stat.mode & 18) === 0;
    });
    if (!closed) return;
    var mask = process.umask(63);
    require('module').enableCompileCache(cache);
    process.umask(mask);
  } catch (error) {
    // No home yet: nothing to gain.
  }
})();
`;
// A daemon takes a moment to load, and to become the next one: what is sent meanwhile is held (src/daemon/signals.ts).
const heldSignals = `
if (process.argv.indexOf('start') !== -1 && process.argv.indexOf('--detach') === -1) {
  var held = [];
  var hold = function (signal) {
    held.push(signal);
  };
  ['SIGTERM', 'SIGINT', 'SIGHUP'].forEach(function (signal) {
    process.on(signal, hold);
  });
  globalThis.heldSignals = { held: held, hold: hold };
}
`;
const bins = {
  workerctl: `${codeCache}require('./cli.cjs');\n`,
  workerd: `${heldSignals}${codeCache}require('./daemon.cjs');\n`,
};
const linkDirectory = join(root, 'node_modules', '.bin');
for (const [name, program] of Object.entries(bins)) {
  const path = join(next, `${name}.cjs`);
  writeFileSync(path, `${beginning(name)}${fromShell}${program}`);
  chmodSync(path, 0o755);
  if (!existsSync(linkDirectory)) continue;
  // In a clone the package's own programs are at hand as those of its dependencies are: `npx workerctl`.
  const link = join(linkDirectory, name);
  rmSync(link, { force: true });
  symlinkSync(join('..', '..', 'dist', `${name}.cjs`), link);
}

const tsc = join(linkDirectory, 'tsc');
execFileSync(tsc, ['-p', 'tsconfig.build.json', '--outDir', join(next, 'types')], { cwd: root, stdio: 'inherit' });
const old = join(root, 'dist.old');
rmSync(old, { recursive: true, force: true });
if (existsSync(dist)) renameSync(dist, old);
renameSync(next, dist);
rmSync(old, { recursive: true, force: true });
