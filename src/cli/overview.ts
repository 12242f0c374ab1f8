/** `workerctl --help`: the whole on one screen. */
export const overview = `workerctl - start, watch and stop the same workers from any shell

Usage: workerctl VERB [options] ...

Start and stop
  start      start a worker: a module, a command, or one that is known by name
  run        the same in the foreground: its output, its exit code
  stop       stop workers; returns when nothing of them is left
  restart    stop and start them
  enable     start them with the daemon (disable: do not)
  rm         forget stopped workers, with history and logs

See
  status     all workers as a table, one in full (also: ls, ps, or no verb at all)
  watch      the same, live
  logs       what they wrote; -f goes on
  wait       until they have ended, or are running or ready
  history    past runs of a worker

Speak to them
  signal     a signal to a worker's process group
  send       a line to its standard input or message channel
  publish    set live state, from inside a worker or for one

The daemon
  daemon     all that workerd does: workerctl daemon start --detach
  rpc        call a method of the daemon

Everywhere: --json, -q/--quiet, --color auto|always|never, --home DIR, --socket PATH, --no-autostart
Names may be globs ('web-*'); durations carry units (500ms, 10s, 5m, 2h).

A minute to your first worker:
  $ workerctl start -n clock -- sh -c 'while date; do sleep 1; done'
  $ workerctl logs -f clock
  $ workerctl stop clock

workerctl VERB --help has the flags of a verb and examples.
`;
