#!/bin/bash
# Writes a file to stdout, so many bytes at a time, and says how long that took, in µs, in a file that appears at once.
# timed-writer.sh FILE BYTES-A-WRITE ANSWER
from=$EPOCHREALTIME
dd if="$1" bs="$2" status=none
to=$EPOCHREALTIME
echo $((${to/./} - ${from/./})) > "$3.new"
mv "$3.new" "$3"
