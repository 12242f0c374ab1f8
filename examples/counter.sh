#!/bin/sh
# Counts in plain sh: live state goes to fd 3, a line of JSON each.
#
#   workerctl start -n counter-sh -- ./examples/counter.sh        one step a second
#   workerctl start -n counter-sh -- ./examples/counter.sh 0.2    five
#   workerctl watch counter-sh
#   workerctl stop counter-sh                                     sends TERM, which ends it below

fd=${WORKERD_FD:-}
step=${1:-1}
counter=0
sleeper=

publish() {
  # By hand, without workerd, there is no fd 3.
  [ -z "$fd" ] || echo "{\"state\":{\"counter\":$counter}}" >&3
}

finish() {
  [ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null
  echo "stopped at $counter"
  exit 0
}
trap finish TERM INT

while :; do
  publish
  echo "counter: $counter"
  # In the background, so that TERM is heard at once: sh runs a trap only between two commands.
  sleep "$step" &
  sleeper=$!
  wait "$sleeper"
  counter=$((counter + 1))
done
