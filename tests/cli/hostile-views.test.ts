/** H04: whatever a daemon says of a worker, in whichever member: no view of it steers a terminal. */
import { describe, expect, it } from 'vitest';
import { blockText } from '../../src/cli/render/block.ts';
import { eventText } from '../../src/cli/render/event.ts';
import { historyText } from '../../src/cli/render/history.ts';
import { endedText, reasonText, runningText } from '../../src/cli/render/outcome.ts';
import { makeStyle } from '../../src/cli/render/style.ts';
import { tableText } from '../../src/cli/render/table.ts';
import { jsonText } from '../../src/cli/render/text.ts';
import type { Exit, RunView, WorkerView } from '../../src/shared/worker.ts';
import { steers } from '../helpers/terminal.ts';

const evil = 'a\x1b[2J\x1b]0;t\x07\x7f\u009b2J\u202e\r\u2066\ud800b';
const actor = { uid: 1, pid: 2, via: evil };
const exits: readonly Exit[] = [
  { kind: 'signal', signal: evil },
  { kind: 'spawn-failed', errno: evil, message: evil },
  { kind: 'error', name: evil, message: evil, stack: `${evil}\n    at ${evil}\n    at x ${evil}` },
  { kind: 'lost', reason: evil },
  { kind: 'returned' },
];
const at = '2026-01-02T03:04:05.678Z';
const viewWith = (exit: Exit, phase: WorkerView['phase'], kind: 'command' | 'process'): WorkerView => ({
  ...{ name: evil, kind, phase, ready: false, enabled: true, generation: 3, pid: 1, threadId: 1 },
  ...{ startedAt: at, endedAt: at, nextStartAt: at, restarts: 2, exit, reason: evil },
  ...{
    state: { [evil]: evil, list: [evil], progress: { done: 1, total: 3, unit: evil } },
    stateAt: at,
    stateRevision: 1,
  },
  ...{ result: { [evil]: evil }, leftovers: [{ pid: 1, command: evil }], cpuPercent: 1, memoryBytes: 1 },
  ...{ startedBy: actor, stoppedBy: actor },
  spec: {
    ...(kind === 'command' ? { kind, command: [evil, evil] } : { kind, module: evil, export: evil }),
    ...{ params: { [evil]: evil }, env: { [evil]: evil }, inheritEnv: true, cwd: evil, umask: null, user: evil },
    ...{ restart: { policy: 'no' as const }, graceMs: 1, stopSignal: 'SIGTERM', stdin: false },
    ...{ ready: null, log: { maxBytes: 1024, files: 1 } },
  },
});

describe.each([true, false])('with colours: %s', (colours) => {
  const style = makeStyle({ colours, unicode: true });
  const now = Date.parse(at) + 1000;
  for (const exit of exits) {
    for (const phase of ['running', 'failed', 'exited', 'stopped', 'backoff'] as const) {
      for (const kind of ['command', 'process'] as const) {
        it(`${exit.kind}, ${phase}, ${kind}`, () => {
          const view = viewWith(exit, phase, kind);
          const { generation, reason, state, result, startedBy, stoppedBy } = view;
          const run: RunView = {
            generation,
            startedAt: at,
            endedAt: at,
            exit,
            reason,
            state,
            result,
            startedBy,
            stoppedBy,
          };
          const event = { subscription: evil, cursor: evil, at, name: evil, generation };
          for (const width of [null, 1, 5, 40, 200]) {
            const texts = [
              tableText([view], { style, now, width }),
              blockText(view, { style, now, width, lastLines: [{ stream: 'stderr', text: evil }], showEnv: true }),
              historyText([run], { style, width, now }),
              endedText('stopped', view),
              runningText('running', view),
              reasonText(view),
              jsonText(view),
              eventText({ ...event, type: 'phase', worker: view }, { style, now, nameWidth: 5 }) ?? '',
              eventText({ ...event, type: 'snapshot', worker: view }, { style, now, nameWidth: 5 }) ?? '',
              eventText(
                { ...event, type: 'state', state: view.state ?? {}, stateRevision: 1 },
                { style, now, nameWidth: 5 },
              ) ?? '',
              eventText(
                { ...event, type: 'log', stream: 'stdout', line: evil, partial: false },
                { style, now, nameWidth: 5 },
              ) ?? '',
              eventText({ ...event, type: 'removed' }, { style, now, nameWidth: 5 }) ?? '',
            ];
            for (const text of texts) expect(steers(Buffer.from(text)), text).toBeNull();
          }
        });
      }
    }
  }
});
