/** What a verb had begun when the daemon was replaced, told to whoever waits for it. Pure. */
import { WorkerdError } from '../shared/errors.ts';

interface Begun {
  readonly name: string;
  readonly outcome: string;
  readonly generation: number;
}

/** Where the daemon is replaced meanwhile, whoever waits is told what was begun, to go on with the next one. */
export const begun = <T>(waiting: Promise<T>, accepted: Begun): Promise<T> =>
  waiting.catch((error: unknown) => {
    throw replaced(error, { accepted }) ?? error;
  });

/** The same, where all of it is to be asked anew. */
export const unbegun = <T>(waiting: Promise<T>): Promise<T> =>
  waiting.catch((error: unknown) => {
    throw replaced(error, {}) ?? error;
  });

const replaced = (error: unknown, details: object): WorkerdError | null =>
  error instanceof WorkerdError && error.data['restarting'] === true
    ? new WorkerdError(error.code, error.message, { restarting: true, ...details })
    : null;
