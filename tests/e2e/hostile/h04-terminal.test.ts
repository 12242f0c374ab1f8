/**
 * H04: a worker that writes what steers terminals (CSI, OSC 0, 8, 52, DCS, BEL, C1, DEL, a lone \r, bidi), everywhere
 * it can: its log, state, progress, error, arguments, result; shown on a real terminal. Colours may pass, nothing else;
 * `--raw` and the files have every byte.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { command, module } from '../../fixtures/workers/behaviours.ts';
import { eventually } from '../../helpers/eventually.ts';
import { type Answer, RawClient } from '../../helpers/fake-server.ts';
import { Sandbox } from '../../helpers/sandbox.ts';
import { hasPython, onTerminal, steers } from '../../helpers/terminal.ts';

const parts = [
  '\x1b[2J\x1b[H\x1b[?1049h\x1b[6n\x1b[5i',
  '\x1b]0;title\x07\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\\x1b]52;c;ZXZpbAo\x07',
  '\x1bP+q544e\x1b\\\x1bc\x1b(0',
  '\x07\x08\x0b\x0c\x0e\x7f',
  '\u009b2J\u0090\u009d0;x\u009c',
  'over\rwritten',
  '\u202eevil\u2066\u200f\u061c',
];
const hostile = parts.join('|');
const bytes = Buffer.concat([
  Buffer.from(`\x1b[31mred\x1b[0m ${hostile}\n`),
  Buffer.from([0x9b, 0x32, 0x4a, 0xc2, 0x0a]),
  Buffer.from(`${hostile}\r\nlast line ${hostile}`),
]);

let box: Sandbox;
beforeAll(async () => {
  box = new Sandbox();
  await box.startDaemon();
  const file = join(box.directory, 'bytes');
  writeFileSync(file, bytes);
  const client = new RawClient(box.socket);
  client.ask({ jsonrpc: '2.0', id: 1, method: 'hello', params: { client: 'x', via: hostile } });
  const script = join(box.directory, 'throws.mjs');
  writeFileSync(
    script,
    `export default () => { const e = new Error(${JSON.stringify(hostile)}); e.name = ${JSON.stringify(hostile)}; throw e; };`,
  );
  const returns = join(box.directory, 'returns.mjs');
  writeFileSync(returns, `export default () => ({ text: ${JSON.stringify(hostile)} });`);
  const specs = {
    writes: {
      ...command('sh', '-c', `cat '${file}'; exec sleep 1000`, hostile),
      stdin: true,
      env: { [`K${hostile}`]: hostile },
    },
    ended: command('sh', '-c', `cat '${file}'`, hostile),
    throws: module('process', script),
    returns: module('process', returns),
    missing: command(`/no/such/${hostile}`),
    nowhere: { ...command('true'), cwd: `/no/such/${hostile}` },
    nomodule: { kind: 'process', module: `/no/such/${hostile}.mjs`, export: hostile },
  };
  for (const [name, spec] of Object.entries(specs)) {
    client.ask({ jsonrpc: '2.0', id: name, method: 'start', params: { name, spec, wait: 'running' } });
  }
  const state = { [`key${hostile}`]: hostile, progress: { done: 1, total: 3, unit: hostile } };
  await eventually(() => (client.answers() as Answer[]).length === 1 + Object.keys(specs).length);
  for (const name of ['ended', 'throws', 'returns']) {
    client.ask({ jsonrpc: '2.0', id: `wait-${name}`, method: 'wait', params: { name, for: 'stopped' } });
  }
  client.ask({ jsonrpc: '2.0', id: 'publish', method: 'publish', params: { name: 'writes', state } });
  const answers = await eventually(() => {
    const all = client.answers() as Answer[];
    return all.length === 5 + Object.keys(specs).length ? all : null;
  });
  expect(
    answers.filter(({ id, error }) => error !== undefined && !['missing', 'nowhere', 'nomodule'].includes(String(id))),
  ).toEqual([]);
  const { files } = await (await box.client()).call('logs.locate', { name: 'ended' });
  await eventually(() => readFileSync(files[0]?.path ?? '').length === bytes.length);
  client.socket.destroy();
});
afterAll(() => box[Symbol.asyncDispose]());

describe.skipIf(!hasPython)(`on a terminal${hasPython ? '' : ' (no python3 on this machine)'}`, () => {
  it.each([
    [['logs', 'ended']],
    [['logs', 'ended', 'writes', '-t']],
    [['logs', 'ended', '--json']],
    [['logs', 'ended', '--format', 'cri']],
    [['logs', 'throws', 'returns', 'nomodule', '-n', 'all']],
    [['status']],
    [['status', 'writes', '--show-env']],
    [['status', 'ended']],
    [['status', 'throws']],
    [['status', 'returns']],
    [['status', 'missing']],
    [['status', 'nowhere']],
    [['status', 'nomodule']],
    [['status', '--json']],
    [['history', 'ended', 'throws', 'returns', 'missing', 'nowhere', 'nomodule']],
    [['history', 'throws', '--json']],
    [['wait', 'throws']],
    [['wait', 'missing', '--json']],
    [['start', 'missing']],
    [['start', 'nowhere', '--json']],
    [['start', 'throws', '--wait', 'running']],
    [['watch', 'ended', 'throws', 'missing']],
    [['watch', 'ended', 'throws', 'missing', '--json']],
    [['rpc', 'status']],
    [['rpc', hostile]],
    [['rpc', 'stop', JSON.stringify({ name: hostile })]],
    [['rpc', 'stop', hostile]],
    [['logs', 'ended', '--grep', `(${hostile}`]],
    [['logs', hostile]],
    [['stop', hostile, '--json']],
    [[hostile]],
    [['status', `--${hostile}`]],
    [['--home', `/tmp/no-such-${hostile}`, '--no-autostart', 'status']],
    [['start', '-n', hostile, '--', 'true']],
    [['start', '--params', hostile, '--', 'true']],
    [['daemon', 'status', '--home', `/no/such/${hostile}`]],
    [['start', '-p', `${hostile}`, '--', 'true']],
    [['signal', 'writes', hostile]],
    [['wait', 'writes', '--timeout', hostile]],
    [['logs', 'ended', '--since', hostile]],
    [['daemon', `--${hostile}`]],
    [['daemon', hostile, '--json']],
  ])('%j steers nothing', async (args) => {
    const { shown, finished } = onTerminal(box, args);
    await finished;
    expect(shown().length).toBeGreaterThan(0);
    expect(steers(shown(), { redraws: args[0] === 'watch' })).toBeNull();
  });

  it.each([
    [['logs', '-f', 'writes']],
    [['watch', 'writes']],
    [['watch']],
  ])('%j, until Ctrl-C, steers nothing', async (args) => {
    const { child, shown, finished } = onTerminal(box, args);
    await eventually(() => shown().includes(args[0] === 'logs' ? 'over' : 'writes'));
    child.kill('SIGINT');
    expect(await finished).toBe(130);
    expect(steers(shown(), { redraws: args[0] === 'watch' })).toBeNull();
  });

  it('colours pass, and are ended; everything else is shown for what it is', async () => {
    const { shown, finished } = onTerminal(box, ['logs', 'ended']);
    await finished;
    const text = shown().toString('utf8');
    expect(text).toContain('\x1b[31mred\x1b[0m');
    expect(text).toContain('\\u{1b}[2J');
    expect(text).toContain('\\u{9b}2J');
    expect(text).toContain('\\u{202e}evil');
  });

  it('--raw passes every byte, and so does the file', async () => {
    const { shown, finished } = onTerminal(box, ['logs', 'ended', '--raw', '-n', 'all']);
    await finished;
    // The terminal itself puts a \r before each newline.
    expect(shown().toString('latin1')).toBe(bytes.toString('latin1').replaceAll('\n', '\r\n'));
    const directory = join(box.home, 'logs', 'ended');
    const log = readdirSync(directory).find((name) => name.endsWith('.log')) ?? '';
    expect(readFileSync(join(directory, log)).equals(bytes)).toBe(true);
  });
});
