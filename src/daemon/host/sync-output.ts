/**
 * A thread's stdout and stderr, written at once to descriptors of its own: Node hands a thread's output to the main
 * thread only when its loop turns, which shows nothing of a busy one and loses it when it is terminated.
 */
import type { Writable } from 'node:stream';
import { writeFully } from './wire.ts';

type Done = (error?: Error | null) => void;
interface Piece {
  readonly chunk: string | Uint8Array;
  readonly encoding: BufferEncoding;
}

export const writeAtOnce = (stream: Writable, fd: number): void => {
  const write = (pieces: readonly Piece[], done: Done): void => {
    try {
      for (const { chunk, encoding } of pieces) {
        writeFully(fd, typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
      }
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    done();
  };
  stream._write = (chunk: string | Uint8Array, encoding, done) => write([{ chunk, encoding }], done);
  stream._writev = (pieces, done) => write(pieces, done);
};
