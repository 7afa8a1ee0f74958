"""Requests as bytes, without a client: what no client would send."""

import socket
import struct

from common import QUICK

HANDSHAKE, AUTHENTICATE = 17, 36


def text(said):
    return struct.pack(">h", len(said)) + said.encode()


NULL = struct.pack(">h", -1)
# By name: the number of the request, a version, and a body without topics.
REQUESTS = {
    "Produce": (0, 3, NULL + struct.pack(">hii", 1, 1000, 0)),
    "Fetch": (1, 4, struct.pack(">iiiibi", -1, 0, 0, 1 << 20, 0, 0)),
    "ListOffsets": (2, 1, struct.pack(">ii", -1, 0)),
    "Metadata": (3, 4, struct.pack(">i?", -1, False)),
    "FindCoordinator": (10, 0, text("group")),
    "InitProducerId": (22, 0, NULL + struct.pack(">i", 1000)),
}


class Bare:
    """A connection."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), QUICK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, key, version, body):
        """The answer; None if the server ends the connection instead."""
        request = struct.pack(">hhi", key, version, 1) + text("bare") + body
        self.socket.sendall(struct.pack(">i", len(request)) + request)
        head = self._read(4)
        return head and self._read(struct.unpack(">i", head)[0])

    def log_in(self, name, secret):
        self.ask(HANDSHAKE, 1, text("PLAIN"))
        said = f"\0{name}\0{secret}".encode()
        return self.ask(AUTHENTICATE, 0, struct.pack(">i", len(said)) + said)

    def _read(self, count):
        read = b""
        while len(read) < count:
            try:
                more = self.socket.recv(count - len(read))
            except ConnectionError:
                return None
            if not more:
                return None
            read += more
        return read
