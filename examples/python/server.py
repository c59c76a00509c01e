#!/usr/bin/env python3
"""A server that takes its socket over, as sd_listen_fds(3) has it, and greets whoever sends a name.

Started by hand it binds an address itself: server.py 127.0.0.1:7000
"""

import os
import signal
import socket
import socketserver
import sys
import threading

FIRST = 3  # SD_LISTEN_FDS_START


def passed():
    """The socket that was passed to this very process, or None."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # not for those that this one starts
    return socket.socket(fileno=FIRST)


def listen():
    sock = passed()
    if sock is None:
        if len(sys.argv) != 2:
            sys.exit("server.py: no socket was passed; give it an address: server.py 127.0.0.1:7000")
        host, _, port = sys.argv[1].rpartition(":")
        sock = socket.create_server((host, int(port)))
    return sock


class Greeter(socketserver.StreamRequestHandler):
    greeted = 0
    lock = threading.Lock()

    def handle(self):
        for line in self.rfile:
            with Greeter.lock:
                Greeter.greeted += 1
                n = Greeter.greeted
            self.wfile.write(f"hello {line.decode().strip()}, you are number {n} (pid {os.getpid()})\n".encode())


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """socketserver's own servers bind; this one has its socket already."""

    daemon_threads = False  # server_close waits for the answers under way

    def __init__(self, sock):
        super().__init__(sock.getsockname(), Greeter)
        self.socket = sock

    def fileno(self):
        return self.socket.fileno()

    def get_request(self):
        return self.socket.accept()

    def shutdown_request(self, request):
        try:
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has hung up
        request.close()


server = Server(listen())
# shutdown waits for the loop, which runs in this thread: so from another one.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
