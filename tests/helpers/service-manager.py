#!/usr/bin/env python3
"""Plays the service manager, with the standard library alone: binds NOTIFY_SOCKET and says what it is told.

    service-manager.py NOTIFY_SOCKET DAEMON_SOCKET

One line of JSON on stdout per event:
    {"event":"bound"}                                the notify socket is there
    {"event":"answers","refusals":N}                 the daemon's socket answered for the first time, after N tries
    {"event":"told","fields":{"READY":"1",…},"answers":true,"pid":4711}
                                                     a message came; did the daemon answer at that moment?
It looks at the daemon's socket every 5 ms until that first answers, and again at each message. Whether the daemon
answers is asked with a request, not by a connection alone: the kernel accepts those before anybody serves them.
"""

import json
import os
import socket
import struct
import sys

notify_path, daemon_path = sys.argv[1:3]
look_every_s = 0.005
answer_within_s = 5


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def answers():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(answer_within_s)
        try:
            client.connect(daemon_path)
            client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"daemon.info"}\n')
            return b'"result"' in client.makefile("rb").readline()
        except OSError:
            return False


def sender(ancillary):
    pid = None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = struct.unpack("3i", data)[0]
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            # A barrier: the sender waits until its descriptor is closed.
            for (descriptor,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
                os.close(descriptor)
    return pid


def main():
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    notify.bind(notify_path)
    say("bound")
    refusals = 0
    answered = False
    while True:
        notify.settimeout(None if answered else look_every_s)
        try:
            message, ancillary, _, _ = notify.recvmsg(4096, 1024)
        except socket.timeout:
            if answers():
                answered = True
                say("answers", refusals=refusals)
            else:
                refusals += 1
            continue
        now = answers()
        pid = sender(ancillary)
        lines = message.decode().split("\n")
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
        if fields != {"BARRIER": "1"}:
            say("told", fields=fields, answers=now, pid=pid)


main()
