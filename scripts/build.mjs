// Bundles the programs into dist/ and emits the types of the public exports. Run by `npm run build` and, through
// `prepare`, by `npm ci`.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);

const common = { bundle: true, platform: 'node', target: 'node24', absWorkingDir: root, logLevel: 'warning' };
const cjs = { ...common, format: 'cjs', define: { 'import.meta.dirname': '__dirname' } };
const esm = { ...common, format: 'esm' };

await Promise.all([
  build({
    ...cjs,
    entryPoints: ['src/cli/main.ts'],
    outfile: 'dist/cli.cjs',
    minifySyntax: true,
    minifyWhitespace: true,
  }),
  build({ ...cjs, entryPoints: ['src/daemon/main.ts'], outfile: 'dist/daemon.cjs' }),
  build({ ...cjs, entryPoints: ['src/daemon/shim/main.ts'], outfile: 'dist/shim.cjs' }),
  build({ ...esm, entryPoints: ['src/daemon/host/main.ts'], outfile: 'dist/host.js' }),
  build({ ...esm, entryPoints: ['src/daemon/host/thread-host.ts'], outfile: 'dist/thread-host.js' }),
  build({ ...esm, entryPoints: ['src/daemon/host/thread.ts'], outfile: 'dist/thread.js' }),
  build({ ...esm, entryPoints: ['src/daemon/host/contract.ts'], outfile: 'dist/worker.js' }),
  build({ ...esm, entryPoints: ['src/shared/client.ts'], outfile: 'dist/client.js', packages: 'external' }),
]);

// What an old Node can read: it is told in words that it is too old, not by a syntax error of what follows.
const launcher = (name, program) => `#!/usr/bin/env node
var major = parseInt(process.versions.node, 10);
if (major < 24) {
  process.stderr.write(
    '${name}: needs Node.js 24 or newer, this is ' + process.version + '. Install a newer one, or put it first on PATH\\n'
  );
  process.exit(125);
} else {
  require('./${program}');
}
`;
const bins = { workerctl: 'cli.cjs', workerd: 'daemon.cjs' };
const linkDirectory = join(root, 'node_modules', '.bin');
for (const [name, program] of Object.entries(bins)) {
  const path = join(dist, `${name}.cjs`);
  writeFileSync(path, launcher(name, program));
  chmodSync(path, 0o755);
  if (!existsSync(linkDirectory)) continue;
  // In a clone the package's own programs are at hand as those of its dependencies are: `npx workerctl`.
  const link = join(linkDirectory, name);
  rmSync(link, { force: true });
  symlinkSync(join('..', '..', 'dist', `${name}.cjs`), link);
}

execFileSync(join(linkDirectory, 'tsc'), ['-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
