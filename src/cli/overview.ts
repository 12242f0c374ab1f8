/** `workerctl --help`: the whole on one screen. */
import type { OverviewPage } from './help.ts';

export const overview: OverviewPage = {
  title: 'workerctl - start, watch and stop the same workers from any shell',
  usage: 'workerctl VERB [options] ...',
  sections: [
    [
      'Start and stop',
      [
        ['start', 'start a worker: a module, a command, or one that is known by name'],
        ['run', 'the same in the foreground: its output, its exit code'],
        ['stop', 'stop workers; returns when nothing of them is left'],
        ['restart', 'stop and start them'],
        ['enable', 'start them with the daemon (disable: do not)'],
        ['rm', 'forget stopped workers, with history and logs'],
      ],
    ],
    [
      'See',
      [
        ['status', 'all workers as a table, one in full (also: ls, ps, or no verb at all)'],
        ['watch', 'the same, live'],
        ['logs', 'what they wrote; -f goes on'],
        ['wait', 'until they have ended, or are running or ready'],
        ['history', 'past runs of a worker'],
      ],
    ],
    [
      'Speak to them',
      [
        ['signal', "a signal to a worker's process group"],
        ['send', 'a line to its standard input or message channel'],
        ['publish', 'set live state, from inside a worker or for one'],
      ],
    ],
    [
      'The daemon',
      [
        ['daemon', 'all that workerd does: workerctl daemon start --detach'],
        ['doctor', 'what is wrong around it, and what to do'],
        ['rpc', 'call a method of the daemon'],
      ],
    ],
  ],
  notes: [
    'Everywhere: --json, -q/--quiet, --color auto|always|never, --home DIR, --socket PATH, --no-autostart',
    "Names may be globs ('web-*'); durations carry units (500ms, 10s, 5m, 2h).",
    'Exit codes: 0 done, 1 failed, 2 wrong use, 3 not running (status), 4 no such worker, 77 no permission, 124 time ran out, 125 no daemon, 130 Ctrl-C; run and wait pass on those of the worker.',
  ],
  example: {
    title: 'A minute to your first worker:',
    lines: [
      "workerctl start -n clock -- sh -c 'while date; do sleep 1; done'",
      'workerctl logs -f clock',
      'workerctl stop clock',
    ],
  },
  last: 'workerctl VERB --help has the flags of a verb and examples.',
};
