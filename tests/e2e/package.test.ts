/** The package as npm makes it: sound in itself, and, in an empty project, its programs, its library and its types work. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { root, Sandbox } from '../helpers/sandbox.ts';

let directory = '';
const run = (program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  execFileSync(program, args, { cwd: directory, encoding: 'utf8', env: { ...process.env, ...env }, stdio: 'pipe' });

beforeAll(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'wd-package-')));
  const archive = execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', directory], {
    cwd: root,
    encoding: 'utf8',
  }).trim();
  writeFileSync(join(directory, 'package.json'), '{"type":"module","private":true}\n');
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--silent'];
  // Behind a proxy with a certificate of its own, what the system trusts is to be trusted.
  run('npm', ['install', ...quiet, `./${archive}`], { NODE_USE_SYSTEM_CA: '1' });
  mkdirSync(join(directory, 'node_modules', '@types'), { recursive: true });
  // The types of Node and the compiler are the project's own choice.
  run('ln', ['-s', join(root, 'node_modules', '@types', 'node'), join(directory, 'node_modules', '@types', 'node')]);
  run('ln', ['-s', join(root, 'node_modules', 'undici-types'), join(directory, 'node_modules', 'undici-types')]);
}, 180_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('publint has nothing to say', async () => {
  const { messages } = await publint({ pkgDir: root, strict: true });
  expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
});

const worker = `import { defineWorker } from 'workerctl/worker';
export default defineWorker<{ upTo?: number }>(async (ctx) => {
  console.log('counting');
  const upTo: number = ctx.params.upTo ?? 3;
  for (let counter = 1; counter <= upTo; counter += 1) ctx.publish({ counter });
  return { upTo };
});
`;
const program = `import { type Client, connect, type LogEntry, type WorkerEvent, type WorkerView, WorkerdError } from 'workerctl';
await using client: Client = await connect({ home: process.env['WORKERD_HOME'] });
const spec = { kind: 'process', module: process.argv[2]!, params: { upTo: 5 } } as const;
const { outcome, worker } = await client.call('start', { name: 'counter', spec });
const ended: WorkerView = (await client.call('wait', { name: 'counter', for: 'exit' })).worker;
const lines: LogEntry[] = [];
for await (const entry of client.logs({ name: 'counter' })) lines.push(entry);
let first: WorkerEvent | null = null;
for await (const event of client.watch({ names: ['counter'] }, { signal: AbortSignal.timeout(10_000) })) {
  first = event;
  break;
}
const code = await client.call('status', { names: ['nobody'] }).catch((error: unknown) => {
  if (error instanceof WorkerdError) return error.code;
  throw error;
});
// @ts-expect-error: a name is missing
client.call('stop', {}).catch(() => {});
console.log(JSON.stringify({ outcome, name: worker.name, result: ended.result, line: lines[0]?.line, first: first?.type, code }));
`;

test('in an empty project: the types fit, the library and the SDK run, the programs start', {
  timeout: 120_000,
}, async () => {
  await using box = new Sandbox();
  await box.startDaemon();
  writeFileSync(join(directory, 'worker.ts'), worker);
  writeFileSync(join(directory, 'program.ts'), program);
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: false,
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', '.']);
  const out = run(process.execPath, ['program.ts', join(directory, 'worker.ts')], { WORKERD_HOME: box.home });
  expect(JSON.parse(out)).toEqual({
    outcome: 'started',
    name: 'counter',
    result: { upTo: 5 },
    line: 'counting',
    first: 'snapshot',
    code: 'worker.not-found',
  });
  const bin = (name: string) => join(directory, 'node_modules', '.bin', name);
  expect(run(bin('workerctl'), ['--version'])).toBe(`workerctl ${manifest.version}\n`);
  expect(run(bin('workerctl'), ['status', '-q'], { WORKERD_HOME: box.home })).toBe('counter\n');
  expect(run(bin('workerd'), ['--version'])).toBe(`workerd ${manifest.version}\n`);
});
