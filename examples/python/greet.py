#!/usr/bin/env python3
"""greet NAME: prints a greeting of this directory's server, which is started when there is none."""

import os
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# The whole of the daemon's life: hob starts it for the first connection, one for all callers, and stops it 10 s after the last.
SERVER = ["--idle", "10s", "--", sys.executable, os.path.join(HERE, "server.py")]


def connect():
    """A connection to the server, whoever has started it."""
    call = subprocess.run(["hob", "sock", "greet", *SERVER], stdout=subprocess.PIPE, text=True)
    if call.returncode != 0:
        sys.exit(call.returncode)  # hob has said why
    address = call.stdout.strip()
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address[len("unix:"):])
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: greet.py NAME")
    with connect() as sock:
        sock.settimeout(30)  # hob keeps the socket of a server that fails, for the next one
        sock.sendall(sys.argv[1].encode() + b"\n")
        try:
            answer = sock.makefile().readline()
        except OSError:
            answer = ""
    print(answer or sys.exit('greet.py: no answer, see "hob logs greet"'), end="")


if __name__ == "__main__":
    main()
