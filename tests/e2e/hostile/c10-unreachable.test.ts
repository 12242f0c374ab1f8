/** C10: no daemon, no permission, no answer, another protocol: one exit code, four messages; a stale socket heals. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../helpers/eventually.ts';
import { dist, Sandbox } from '../../helpers/sandbox.ts';

/** Something that listens where the daemon would, and answers as it is told. */
class Impostor {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  constructor(answer: (socket: Socket, line: string) => void) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => answer(socket, chunk.toString('utf8')));
    });
  }
  async listen(path: string): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(path, resolve);
    });
    return this;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const message = (socket: string, reason: string) =>
  `workerctl: cannot reach the daemon at ${socket} (${reason}). Start it with: workerd start --detach\n`;

const verbs: readonly (readonly string[])[] = [
  ['status'],
  ['stop', 'w'],
  ['watch'],
  ['logs', 'w'],
  ['wait', 'w'],
  ['history', 'w'],
];

const unreachable = async (box: Sandbox, reason: string, which = verbs): Promise<void> => {
  const all = which.map(async (verb) => {
    const inWords = await box.workerctl(verb);
    expect({ verb, ...inWords }).toMatchObject({ code: 125, stdout: '', stderr: message(box.socket, reason) });
    const asJson = await box.workerctl(['--json', ...verb]);
    expect(asJson).toMatchObject({ code: 125, stderr: '' });
    const { error } = JSON.parse(asJson.stdout);
    expect(error).toMatchObject({
      code: 'daemon.unreachable',
      data: { code: 'daemon.unreachable', reason, retry: true },
    });
  });
  await Promise.all(all);
};

describe('C10: a daemon that cannot be reached', () => {
  it('absent: no socket', async () => {
    await using box = new Sandbox();
    await unreachable(box, 'no socket');
    const start = await box.workerctl(['start', '--no-autostart', '--', 'true']);
    expect(start).toMatchObject({ code: 125, stderr: message(box.socket, 'no socket') });
    expect(existsSync(box.home)).toBe(false);
  });

  it('busy: it listens and never answers', async () => {
    await using box = new Sandbox();
    mkdirSync(box.home, { mode: 0o700 });
    await using _impostor = await new Impostor(() => {}).listen(box.socket);
    const began = performance.now();
    await unreachable(box, 'no answer in 5s', [['status'], ['start', '--', 'true']]);
    expect(performance.now() - began).toBeGreaterThan(4900);
  });

  it('of another version, or something else altogether: protocol mismatch', async () => {
    const answers: readonly ((socket: Socket, line: string) => void)[] = [
      (socket, line) => {
        const { id } = JSON.parse(line.split('\n')[0] ?? '') as { id: unknown };
        socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: { protocol: 99, version: '9.9.9', pid: 1 } })}\n`);
      },
      (socket, line) => {
        const { id } = JSON.parse(line.split('\n')[0] ?? '') as { id: unknown };
        socket.write(
          `${JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no such method: hello' } })}\n`,
        );
      },
    ];
    for (const answer of answers) {
      await using box = new Sandbox();
      mkdirSync(box.home, { mode: 0o700 });
      await using _impostor = await new Impostor(answer).listen(box.socket);
      await unreachable(box, 'protocol mismatch', [['status'], ['watch'], ['start', '--', 'true']]);
    }
  });

  const canChange = process.getuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0;
  it.skipIf(!canChange)(
    `another user's: permission denied${canChange ? '' : ' (needs root and setpriv)'}`,
    async () => {
      await using box = new Sandbox();
      await box.startDaemon();
      // The other user may come as far as the home, and no further; the programs must be where it can read them.
      chmodSync(box.directory, 0o755);
      const as = ['--reuid', '65534', '--regid', '65534', '--clear-groups', '--'];
      const ask = (...args: readonly string[]) =>
        spawnSync('setpriv', [...as, process.execPath, join(dist, 'workerctl.cjs'), ...args], {
          env: box.env(),
          encoding: 'utf8',
          cwd: '/',
        });
      for (const verb of [['status'], ['start', '--', 'true']]) {
        expect(ask(...verb)).toMatchObject({
          status: 125,
          stdout: '',
          stderr: message(box.socket, 'permission denied'),
        });
        const { status, stdout } = ask('--json', ...verb);
        expect(status).toBe(125);
        expect(JSON.parse(stdout).error).toMatchObject({
          code: 'daemon.unreachable',
          data: { reason: 'permission denied' },
        });
      }
    },
  );

  it('a stale socket: every verb starts it again, unless that is forbidden', async () => {
    await using box = new Sandbox();
    const first = await box.startDaemon();
    await box.workerctl(['start', '-n', 'w', '--', 'sleep', '1000']);
    const before = await box.status('w');
    process.kill(first, 'SIGKILL');
    await eventually(
      () => !existsSync(`/proc/${first}`) || readFileSync(`/proc/${first}/stat`, 'latin1').includes(') Z '),
    );
    expect(existsSync(box.socket)).toBe(true);
    await unreachable(box, 'no socket', [
      ['status', '--no-autostart'],
      ['stop', 'w', '--no-autostart'],
    ]);
    const { code, stdout, stderr } = await box.workerctl(['status', 'w', '--json']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^workerctl: started the daemon \(pid \d+\)\n$/);
    expect(JSON.parse(stdout)).toMatchObject({ workers: [{ name: 'w', phase: 'running', pid: before.pid }] });
  });

  it('a path that is no socket, or leads nowhere, is no daemon', async () => {
    await using box = new Sandbox();
    mkdirSync(box.home, { mode: 0o700 });
    symlinkSync('/nowhere/at/all', box.socket);
    await unreachable(box, 'no socket', [['status']]);
  });
});
