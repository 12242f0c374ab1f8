#!/usr/bin/env python3
"""Counts to a total in Python, with nothing but the standard library: state and progress go to fd 3 as lines of JSON.

    workerctl start -n counter-py -- python3 -u examples/counter.py          to 100, one step a second
    workerctl start -n counter-py -- python3 -u examples/counter.py 20 0.5   to 20, two steps a second
    workerctl watch counter-py
    workerctl stop counter-py                                     sends TERM, which is handled below

-u, because Python keeps what it prints to itself for a while where that is no terminal; then the log lags behind.
"""

import json
import os
import signal
import sys
import threading

total = int(sys.argv[1]) if len(sys.argv) > 1 else 100
step = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0

fd = os.environ.get("WORKERD_FD")
control = os.fdopen(int(fd), "w", buffering=1) if fd else None  # a line at a time; by hand there is none

stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
signal.signal(signal.SIGINT, lambda *_: stopping.set())


def tell(**line):
    if control:
        control.write(json.dumps(line) + "\n")


def main():
    counter = 0
    tell(ready=True)  # where it was started with --ready
    while counter < total and not stopping.wait(step):
        counter += 1
        tell(state={"counter": counter, "square": counter * counter})
        tell(progress={"done": counter, "total": total, "unit": "steps"})
        print("counter:", counter)
    print("stopped at" if stopping.is_set() else "done at", counter)


main()
