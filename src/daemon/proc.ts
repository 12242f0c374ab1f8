/**
 * Reads /proc: what a process is, whose run it is of, who its children are. Synchronous on purpose: a look is a few
 * microseconds a process, and must not be torn by a turn of the loop.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { runMarker } from './shim/protocol.ts';

/** The fields of /proc/PID/stat that are looked at (proc_pid_stat(5)). */
export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly threads: number;
  readonly startTime: number;
  /** User and system time of the process itself, in clock ticks. */
  readonly cpuTicks: number;
  readonly residentPages: number;
}

const buffer = Buffer.allocUnsafe(256 * 1024);
const marker = Buffer.from(`${runMarker}=`);
const shownCommandLength = 200;

/** A file of /proc, or `null`; the bytes are only good until the next call. Short ones come whole in one read. */
export const readProc = (path: string, isShort: boolean): Buffer | null => {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    // Without a descriptor to look with nothing is proven: neither that it is there nor that it is gone.
    if (['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return null;
  }
  try {
    let length = 0;
    while (length < buffer.length) {
      const read = readSync(fd, buffer, length, buffer.length - length, null);
      length += read;
      if (read === 0 || isShort) break;
    }
    return buffer.subarray(0, length);
  } catch {
    return null;
  } finally {
    closeSync(fd);
  }
};

/** From the third field on, the state. */
const readStatFields = (path: string): readonly string[] | null => {
  const bytes = readProc(path, true);
  if (bytes === null || bytes.length === 0) return null;
  // The program's name may hold anything, also ") ": what counts comes after its last parenthesis.
  return bytes.toString('latin1', bytes.lastIndexOf(0x29) + 2).split(' ');
};

export const readStat = (pid: number): ProcessStat | null => {
  const fields = readStatFields(`/proc/${pid}/stat`);
  if (fields === null) return null;
  const field = (number: number): number => Number(fields[number - 3]);
  return {
    pid,
    state: fields[0] ?? '?',
    parent: field(4),
    group: field(5),
    session: field(6),
    threads: field(20),
    startTime: field(22),
    cpuTicks: field(14) + field(15),
    residentPages: field(24),
  };
};

/** A leader that has ended is shown as Z also while other threads of its process live on, in the kernel for one. */
export const isGone = ({ state, threads }: Pick<ProcessStat, 'state' | 'threads'>): boolean =>
  state === 'X' || (state === 'Z' && threads <= 1);

/**
 * Where to look at what a process is: its own directory, or that of a thread which keeps it alive. A leader that has ended
 * has neither arguments nor an environment any more.
 */
export const placeOf = ({ pid, state }: Pick<ProcessStat, 'pid' | 'state'>): string => {
  const own = `/proc/${pid}`;
  if (state !== 'Z') return own;
  try {
    const threads = readdirSync(`${own}/task`).map((thread) => `${own}/task/${thread}`);
    return threads.find((thread) => !/[ZX]/.test(stateIn(thread))) ?? own;
  } catch {
    return own;
  }
};

export const stateIn = (place: string): string => readStatFields(`${place}/stat`)?.[0] ?? '';

const instant = new Int32Array(new SharedArrayBuffer(4));
/** Preempted in the middle of it, on a busy machine, it takes a while. */
const execLooks = 50;

/**
 * In the middle of an exec a process shows no environment: it is looked at again. The kernel says where its code ends only
 * once the rest of it is all there, also where its environment begins and ends (load_elf_binary(), proc_pid_stat(5)).
 */
const readEnvironment = (place: string): Buffer | null => {
  for (let look = 1; ; look += 1) {
    const bytes = readProc(`${place}/environ`, false);
    if (bytes === null || bytes.length > 0 || look === execLooks) return bytes;
    const fields = readStatFields(`${place}/stat`);
    const [endOfCode = '0', start, end] = [27, 50, 51].map((number) => fields?.[number - 3]);
    if (endOfCode === '0') {
      // A kernel thread never has an environment, nor a program to be executed.
      if (!hasProgram(place)) return null;
      Atomics.wait(instant, 0, 0, 1);
    } else if (start === end) return null;
  }
};

const hasProgram = (place: string): boolean => {
  try {
    return readlinkSync(`${place}/exe`) !== '';
  } catch {
    return false;
  }
};

/** The run whose marker the process carries in its environment, as it was at its exec. */
export const runOf = (stat: ProcessStat): string | null => {
  const bytes = readEnvironment(placeOf(stat));
  if (bytes === null) return null;
  for (let at = bytes.indexOf(marker); at !== -1; at = bytes.indexOf(marker, at + 1)) {
    if (at > 0 && bytes[at - 1] !== 0) continue;
    const end = bytes.indexOf(0, at);
    return bytes.toString('utf8', at + marker.length, end === -1 ? bytes.length : end);
  }
  return null;
};

export const commandOf = (stat: ProcessStat): string => {
  const bytes = readProc(`${placeOf(stat)}/cmdline`, true);
  const words = bytes === null ? '' : bytes.toString('utf8').replaceAll('\0', ' ').trim();
  const shown = words === '' ? `[pid ${stat.pid}]` : words;
  return shown.length > shownCommandLength ? `${shown.slice(0, shownCommandLength)}…` : shown;
};

export const listPids = (): readonly number[] => {
  try {
    return readdirSync('/proc')
      .filter((entry) => entry.charCodeAt(0) <= 0x39)
      .map(Number)
      .filter(Number.isSafeInteger);
  } catch {
    return [];
  }
};

const childrenOfThread = (pid: number, thread: number | string): readonly number[] => {
  const bytes = readProc(`/proc/${pid}/task/${thread}/children`, false);
  return bytes === null || bytes.length === 0 ? [] : bytes.toString('latin1').trim().split(' ').map(Number);
};

/** Direct children, of all threads of the process: each is listed with the thread that made it. */
export const childrenOf = ({ pid, threads }: Pick<ProcessStat, 'pid' | 'threads'>): readonly number[] => {
  if (threads === 1) return childrenOfThread(pid, pid);
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => childrenOfThread(pid, thread));
  } catch {
    return [];
  }
};

export const numberIn = (path: string, pattern: RegExp): number | null => {
  const found = pattern.exec(readProc(path, false)?.toString('latin1') ?? '')?.[1];
  return found === undefined ? null : Number(found);
};
