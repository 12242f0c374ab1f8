// Hashes the content of every file below a directory, and shows how far it is.
//
//   workerctl start ./examples/hash-tree.ts -p root=/usr/share/doc
//   workerctl start ./examples/hash-tree.ts -p root="$PWD" -p algorithm=sha1 --process
//   workerctl watch hash-tree
//   workerctl history hash-tree        the result: files, bytes, and one digest of them all
//
// Files and directories that cannot be read are counted, named in the log, and left out. Links are not followed.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { defineWorker } from 'workerctl/worker';

interface Params {
  root: string;
  algorithm?: string;
}

export default defineWorker<Params>(async (ctx) => {
  const { root, algorithm = 'sha256' } = ctx.params;
  if (typeof root !== 'string') throw new TypeError('no directory was named: start it with -p root=DIRECTORY');
  const top = resolve(root);
  let unreadable = 0;
  let bytes = 0;

  const leaveOut = (error: unknown): void => {
    // A stop ends the walk; anything else is this one file's trouble.
    ctx.signal.throwIfAborted();
    unreadable += 1;
    console.error(`left out: ${error instanceof Error ? error.message : error}`);
  };

  async function* filesBelow(directory: string): AsyncGenerator<string> {
    ctx.signal.throwIfAborted();
    const entries = await readdir(directory, { withFileTypes: true }).catch((error) => {
      if (directory === top) throw error;
      leaveOut(error);
      return [];
    });
    for (const entry of entries) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) yield* filesBelow(path);
      else if (entry.isFile()) yield path;
    }
  }

  const digestOf = async (path: string): Promise<string> => {
    const hash = createHash(algorithm);
    let size = 0;
    for await (const chunk of createReadStream(path, { signal: ctx.signal })) {
      hash.update(chunk);
      size += chunk.length;
      ctx.publish({ bytes: bytes + size });
    }
    bytes += size;
    return hash.digest('hex');
  };

  ctx.publish({ step: 'looking for files', bytes, unreadable });
  const paths: string[] = [];
  for await (const path of filesBelow(top)) {
    paths.push(path);
    ctx.publish({ found: paths.length });
  }

  ctx.publish({ step: 'hashing' });
  const lines: string[] = [];
  for (const [index, path] of paths.entries()) {
    try {
      lines.push(`${await digestOf(path)}  ${relative(top, path)}`);
    } catch (error) {
      leaveOut(error);
    }
    ctx.progress(index + 1, paths.length, 'files');
    ctx.publish({ bytes, unreadable });
  }

  // The order in which a directory lists its files differs between machines; the digest does not.
  lines.sort();
  const digest = createHash(algorithm).update(lines.join('\n')).digest('hex');
  return { files: lines.length, bytes, unreadable, algorithm, digest };
});
