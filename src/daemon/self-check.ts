/**
 * Whether the build that is on disk now can take over: before the daemon replaces itself it has the new program load
 * all its code, read the registry, and say which shim it can speak to. One that cannot leaves the old one in charge.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { WorkerdError } from '../shared/errors.ts';
import type { Places } from '../shared/paths.ts';
import { shimProtocolVersion } from './shim/protocol.ts';
import { schemaVersion } from './store-migrations.ts';

export interface Build {
  readonly version: string;
  readonly shimProtocol: number;
}

const withinMs = 15_000;
/** What a daemon finds beside itself when it needs it. */
const siblings = ['daemon.cjs', 'shim.cjs', 'host.js', 'thread-host.js', 'thread.js', 'worker.js'];

/** In the new program: what it is; throws where it could not serve this home. Changes nothing. */
export const checkMyself = (places: Places, programs: string, version: string): Build => {
  for (const name of siblings) {
    const path = join(programs, name);
    if (!existsSync(path)) throw new WorkerdError('internal', `${path} is missing`);
  }
  const db = new DatabaseSync(places.registry, { readOnly: true, timeout: 1000 });
  try {
    const schema = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
    if (!(schema <= schemaVersion)) {
      throw new WorkerdError(
        'internal',
        `${places.registry} has schema ${schema}, and version ${version} knows up to ${schemaVersion}`,
      );
    }
    db.prepare('SELECT count(*) FROM workers').get();
  } finally {
    db.close();
  }
  return { version, shimProtocol: shimProtocolVersion };
};

export interface BuildCheck {
  /** Node and its flags. */
  readonly node: readonly string[];
  readonly programs: string;
  readonly places: Places;
}

/** In the old daemon: has the new program check itself; rejects with the reason in words. */
export const checkBuild = async ({ node, programs, places }: BuildCheck): Promise<Build> => {
  const [program = process.execPath, ...flags] = node;
  const where = ['--home', places.home, '--socket', places.socket];
  const child = spawn(program, [...flags, join(programs, 'workerd.cjs'), 'self-check', ...where], {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: withinMs,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let err = '';
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status, signal) => resolve(status ?? signal ?? 'unknown'));
  });
  // Without a descriptor to be had there is no child, and nothing of it but its error.
  const { stdout, stderr } = child as Partial<typeof child>;
  stdout?.setEncoding('utf8').on('data', (text: string) => {
    out = `${out}${text}`.slice(0, 4096);
  });
  stderr?.setEncoding('utf8').on('data', (text: string) => {
    err = `${err}${text}`.slice(0, 4096);
  });
  const code = await ended;
  if (code !== 0) throw refused(wordsOf(err) ?? `it ended with ${code}`);
  const build = parse(out);
  if (build === null) throw refused('its self-check said nothing that this version understands');
  if (build.shimProtocol !== shimProtocolVersion) {
    throw refused(
      `it speaks protocol ${build.shimProtocol} to the shim, and the shim that runs ${shimProtocolVersion}. ` +
        'Stop all workers first: workerd stop, then workerd start',
    );
  }
  return build;
};

const refused = (why: string): WorkerdError =>
  new WorkerdError(
    'limit.exceeded',
    `the build on disk cannot take over, so the running daemon stays: ${why}. Repair the installation, then try again`,
    { limit: 'selfCheck', reason: why },
  );

/** The error of a Node program in one line: its message, not the source line or the stack. */
const wordsOf = (stderr: string): string | null => {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const line = lines.find((each) => /^workerd: |^\w*Error\b/.test(each)) ?? lines[0];
  return line === undefined
    ? null
    : line
        .replace(/^workerd: /, '')
        .replace(/\.$/, '')
        .slice(0, 300);
};

const parse = (text: string): Build | null => {
  try {
    const said = JSON.parse(text) as Partial<Build>;
    const { version, shimProtocol } = said;
    return typeof version === 'string' && typeof shimProtocol === 'number' ? { version, shimProtocol } : null;
  } catch {
    return null;
  }
};
