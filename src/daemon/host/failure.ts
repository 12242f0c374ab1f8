/** Whatever was thrown, as the error of an exit: named, bounded, and never a reason to throw again. */
import { inspect } from 'node:util';
import type { Exit } from './wire.ts';

export type ErrorExit = Extract<Exit, { kind: 'error' }>;

const maxMessageBytes = 16 * 1024;
const maxStackBytes = 64 * 1024;

export const errorExit = (thrown: unknown): ErrorExit => {
  try {
    if (thrown instanceof Error || isErrorLike(thrown)) {
      return {
        kind: 'error',
        name: clip(String(thrown.name), 256),
        message: clip(String(thrown.message), maxMessageBytes),
        stack: typeof thrown.stack === 'string' ? clip(thrown.stack, maxStackBytes) : null,
      };
    }
  } catch {
    // A getter of the error threw: then it is shown like any other value.
  }
  const message = clip(`something that is not an Error was thrown: ${show(thrown)}`, maxMessageBytes);
  return { kind: 'error', name: 'Error', message, stack: null };
};

/** For people, with stack and causes. */
export const show = (thrown: unknown): string => {
  try {
    return inspect(thrown);
  } catch {
    return '(it cannot be shown)';
  }
};

/** Errors of another realm or thread. */
const isErrorLike = (value: unknown): value is { name: unknown; message: unknown; stack: unknown } =>
  typeof value === 'object' && value !== null && 'message' in value && 'name' in value && 'stack' in value;

const clip = (text: string, bytes: number): string => {
  if (text.length <= bytes / 3 || Buffer.byteLength(text) <= bytes) return text;
  const kept = Buffer.from(text).subarray(0, bytes - 3);
  return `${kept.toString('utf8').replace(/\uFFFD$/, '')}…`;
};
