/** Answers that stay below the frame limit: how large a worker's view is, and how much of a history fits. */
import { limits } from '../shared/limits.ts';
import type { RunView } from '../shared/worker.ts';
import { isOpen, type Run, type WorkerRecord } from './core/model.ts';
import { runViewOf } from './core/view.ts';

/** With room for its envelope. */
export const maxPageBytes = limits.maxFrameBytes - 4096;

/** Of a worker without anything in it that a user can make long. */
const plainViewBytes = 1600;

/** An upper bound: only what is long is encoded to be measured, the texts of the rest count as their worst case. */
export const approximateBytes = (worker: WorkerRecord, showEnv: boolean, shown: object): number => {
  const { run, spec } = worker;
  const mayBeLong =
    showEnv ||
    run?.state != null ||
    run?.result != null ||
    (run?.exit != null && 'message' in run.exit) ||
    worker.leftovers.length > 0 ||
    Object.keys(spec.env).length > 0;
  if (mayBeLong) return Buffer.byteLength(JSON.stringify(shown));
  const words = spec.kind === 'command' ? spec.command : [spec.module, spec.export];
  const texts = [...words, spec.cwd ?? '', run?.startedBy?.via ?? '', run?.stoppedBy?.via ?? '', worker.reason ?? ''];
  let bytes = plainViewBytes + Buffer.byteLength(JSON.stringify(spec.params));
  // A character may take six bytes as JSON (\u0000).
  for (const text of texts) bytes += 6 * text.length + 3;
  return bytes;
};

/** As many as fit into a page: results are long, and what cannot be sent is not read. */
export const newestRuns = (newest: Run | null, past: Iterable<Run>, limit: number): readonly RunView[] => {
  const runs: RunView[] = [];
  let bytes = 0;
  /** `false`: there is no room for more. */
  const add = (run: Run): boolean => {
    const view = runViewOf(run);
    bytes += Buffer.byteLength(JSON.stringify(view)) + 1;
    if (runs.length > 0 && bytes > maxPageBytes) return false;
    runs.push(view);
    return runs.length < limit;
  };
  // Its end may not be written yet.
  if (newest !== null && !isOpen(newest) && !add(newest)) return runs;
  for (const run of past) {
    if (isOpen(run) || run.generation === runs[0]?.generation) continue;
    if (!add(run)) break;
  }
  return runs;
};
