#!/bin/sh
# counts-lines.mjs as a command: DIRECTORY BURST PAUSE LINES CODE STOP-CODE HEEDS. Numbered, checksummed lines, each first
# in a file of its own. It ends between two lines, never within one: then only a kill leaves a line that was not printed.
directory=$1 burst=$2 pause=$3 most=$4 code=$5 stop_code=$6 heeds=$7
exec 5>>"$directory/$WORKERD_RUN"
asked=
if [ "$heeds" = true ]; then trap 'asked=1' TERM; else trap '' TERM; fi
leave() {
  echo "end code $1" >&5
  exit "$1"
}
echo begin >&5
n=0
while :; do
  until=$((n + burst))
  while [ $n -lt $until ]; do
    n=$((n + 1))
    case $((n % 5)) in
    0) pad=............................................................................. ;;
    1) pad=é ;;
    2) pad= ;;
    *) pad=-----------------------------  ;;
    esac
    line="$n $WORKERD_GENERATION $pad $(((n * 31 + WORKERD_GENERATION * 17) % 9973))"
    if [ $((n % 7)) -eq 0 ]; then
      echo "E $line" >&5
      echo "E $line" >&2
    else
      echo "O $line" >&5
      echo "O $line"
    fi
    [ $n -eq $most ] && leave "$code"
  done
  echo "pub $n" >&5
  echo "{\"state\":{\"n\":$n}}" >&3
  [ -n "$asked" ] && leave "$stop_code"
  # Killed with its group, it would be mentioned on stderr.
  { sleep "$pause"; } 2>/dev/null
  [ -n "$asked" ] && leave "$stop_code"
done
