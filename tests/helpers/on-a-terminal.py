"""Runs a program with a terminal of its own as stdin, stdout and stderr: all that reaches it goes to stdout, as it is.

Ends with the program's exit code; a SIGINT to this is a Ctrl-C typed there.
"""
import fcntl
import os
import pty
import signal
import struct
import sys
import termios

columns = int(os.environ.get("PTY_COLUMNS", "200"))
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
signal.signal(signal.SIGINT, lambda *_: os.write(terminal, b"\x03"))
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    os.write(1, data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
