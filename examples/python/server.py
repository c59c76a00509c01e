#!/usr/bin/env python3
"""A server that greets: a line with a name comes in, a line with a greeting goes out.

It takes the socket that hob (or systemd) hands it, and makes one itself when it is started by hand. On SIGTERM it answers what
it has been asked, and ends with exit status 0.
"""

import asyncio
import os
import signal
import socket
import sys

FIRST = 3  # of the descriptors that are handed over, sd_listen_fds(3)


def listener():
    """The socket to accept from: the one that was handed over, if it is meant for this process."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0":
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(name, None)  # it is not meant for our children
        os.set_inheritable(FIRST, False)
        return socket.socket(fileno=FIRST)
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7777").rpartition(":")
    sock = socket.create_server((host, int(port)))
    print("listening on %s port %d" % sock.getsockname()[:2], flush=True)
    return sock


class Greeter:
    def __init__(self):
        self.count = 0
        self.clients = {}  # the reader of each connection, by the task that serves it

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.clients[task] = reader
        try:
            while line := await reader.readline():
                self.count += 1
                name = line.decode(errors="replace").strip()
                writer.write(f"hello, {name}: greeting {self.count} of pid {os.getpid()}\n".encode())
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # it has gone, or its line has no end
        finally:
            del self.clients[task]
            writer.close()

    def finish(self):
        """Ends every connection after the answers to what has already come. Who serves them is returned."""
        for reader in self.clients.values():
            reader.feed_eof()
        return list(self.clients)


async def main():
    greeter = Greeter()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(greeter.serve, sock=listener())
    await stop.wait()
    server.close()
    await asyncio.gather(*greeter.finish())


if __name__ == "__main__":
    asyncio.run(main())
