"""Looks at everything below a directory, over and over, and tells each entry that was ever open to others.

    python3 watch-modes.py DIRECTORY        until its stdin ends; then the number of rounds

A line an entry: its mode in octal, and its path. Files that are gone between two looks of one round are passed over.
"""
import os
import select
import stat
import sys

WIDEST = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o600, stat.S_IFSOCK: 0o600, stat.S_IFIFO: 0o600}


def look(path, told):
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError:
            continue
        widest = WIDEST.get(stat.S_IFMT(mode), 0o777)
        if mode & 0o7777 & ~widest and (entry.path, mode) not in told:
            told.add((entry.path, mode))
            print(oct(stat.S_IMODE(mode)), entry.path, flush=True)
        if stat.S_ISDIR(mode):
            look(entry.path, told)


rounds = 0
told = set()
print("watching", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    look(sys.argv[1], told)
    rounds += 1
print("rounds", rounds, flush=True)
