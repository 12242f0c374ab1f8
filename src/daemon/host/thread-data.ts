/** What a thread host hands to a thread at its birth. */
import type { Launch } from './wire.ts';

export interface ThreadData {
  readonly launch: Launch;
  /**
   * Opened, and all but `down` closed, by the host: a thread that opened them would have them closed twice at its end
   * (once by the event loop's handle, once by Node's tracking), the second time perhaps under another thread.
   */
  readonly descriptors: { readonly out: number; readonly err: number; readonly up: number; readonly down: number };
  /** 1 once `down` is the thread's event loop's to close. */
  readonly downTaken: Int32Array;
}
